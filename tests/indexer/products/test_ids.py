"""Valid and invalid product ids."""

import pytest

from vitrine.indexer.products.ids import MAX_ID_LENGTH, invalid_id_reason


@pytest.mark.parametrize("id", ["x" * MAX_ID_LENGTH, "007", "é" * 200, "a b:c.d", "🙂", "...", "日本"])
def test_ids_of_any_script_are_valid(id: str) -> None:
    assert invalid_id_reason(id) is None


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("", "empty"),
        ("x" * (MAX_ID_LENGTH + 1), "at most 200 characters, this one has 201"),
        (".", "cannot be '.'"),
        ("..", "cannot be '..'"),
        ("a/b", "cannot contain '/'"),
        ("a\0b", "printable"),
        ("a\ud800b", "printable"),
    ],
)
def test_an_invalid_id_has_a_reason(id: str, reason: str) -> None:
    assert reason in (invalid_id_reason(id) or "")
