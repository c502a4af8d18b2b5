"""Tests of vitrine.indexer.config: the path of the index folder, its layout, and sizes in bytes."""

from pathlib import Path

import pytest

from vitrine.indexer.config import DEFAULT_INDEX, Layout, parse_bytes, resolve_index_folder


def test_a_given_path_overrides_the_variable_and_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITRINE_INDEX", raising=False)
    assert resolve_index_folder() == Path(DEFAULT_INDEX)
    monkeypatch.setenv("VITRINE_INDEX", "/srv/index")
    assert resolve_index_folder() == Path("/srv/index")
    assert resolve_index_folder("here") == Path("here")


def test_every_path_of_the_layout_is_inside_the_index_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    names = [name for name, value in vars(Layout).items() if isinstance(value, property)]
    paths = {getattr(layout, name) for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tmp_path}


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("500 MB", 500_000_000), ("4GiB", 4 * 2**30), ("1.5k", 1500), (" 2 tib ", 2 * 2**40)],
)
def test_sizes_are_parsed_with_decimal_and_binary_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "4 XB", "0", "0.1b", "1 2"])
def test_text_that_is_no_size_above_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)
