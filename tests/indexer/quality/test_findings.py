"""Tests of vitrine.indexer.quality.findings: keys and the stored form."""

import dataclasses

from vitrine.indexer.quality.findings import Finding

DUPLICATE = Finding("near-duplicate", ("b",), 0.9, ("a",), {"cosine": 0.97})


def test_a_finding_survives_json_under_its_stored_names() -> None:
    fields = DUPLICATE.as_json()
    assert set(fields) == {"key", "kind", "ids", "strength", "evidence", "reason"}
    assert fields["kind"] == "near-duplicate"
    assert Finding.from_json(fields) == DUPLICATE


def test_the_key_of_a_duplicate_depends_on_the_pair_only() -> None:
    swapped = dataclasses.replace(DUPLICATE, ids=("a",), evidence=("b",), strength=0.5, reason={})
    assert swapped.key == DUPLICATE.key
    assert dataclasses.replace(DUPLICATE, evidence=("c",)).key != DUPLICATE.key
    assert DUPLICATE.key == "1ae9040c0350c3e1"


def test_the_key_of_a_small_category_depends_on_its_name_only() -> None:
    small = Finding("small-category", ("a", "b"), 0.6, (), {"category": "hats", "products": 2})
    assert dataclasses.replace(small, ids=("b",), reason={"category": "hats", "products": 1}).key == small.key
