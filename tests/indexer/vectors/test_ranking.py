"""Tests of vitrine.indexer.vectors.ranking: the stages one by one. Their combinations: service/queries."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import clustered
from vitrine.indexer.vectors.ranking import (
    Hits,
    RuleEffects,
    Stages,
    best_per_group,
    diversify,
    drop_conflicting,
    drop_duplicates,
    filter_at_least,
    place_pins,
    prepend_pins,
)
from vitrine.indexer.vectors.scoring import score_rows

VECTORS = clustered(160, 12, seed=2, latent=6, clusters=8)
VECTORS[40:46] = VECTORS[40]
VECTORS[50] = VECTORS[51]
NO_HITS = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32))


def read_vectors(rows: Any) -> Any:
    return VECTORS[rows]


def ranked(rows: list[int]) -> Hits:
    """Return rows as hits in this order, with descending scores."""
    return Hits(np.array(rows, np.int64), np.linspace(1, 0, len(rows)).astype(np.float32))


def searched(rows: list[int], query: int = 0) -> Hits:
    """Return rows as hits, ranked by their score with a query row."""
    scores = score_rows(VECTORS[rows], VECTORS[query])
    order = np.argsort(-scores, kind="stable")
    return Hits(np.array(rows)[order], scores[order])


def test_filter_at_least_includes_the_minimum() -> None:
    hits = Hits(np.array([4, 5, 6]), np.array([0.5, 0.25, 0.125], np.float32))
    assert filter_at_least(hits, hits.scores, 0.25).rows.tolist() == [4, 5]
    assert filter_at_least(hits, hits.scores, 0.2500001).rows.tolist() == [4]
    assert filter_at_least(hits, np.array([0.9, 0.1, 0.0]), 0.1).rows.tolist() == [4, 5]


def test_best_per_group_keeps_hits_without_a_group() -> None:
    hits = Hits(np.array([9, 8, 7, 6, 5, 4]), np.linspace(1, 0, 6).astype(np.float32))
    assert best_per_group(hits, np.array([2, -1, 2, 0, -1, 0], np.int32)).rows.tolist() == [9, 8, 6, 5]


def test_equal_vectors_are_duplicates_at_a_threshold_of_one() -> None:
    hits = searched(list(range(40, 52)))
    rows = set(drop_duplicates(hits, read_vectors, 1.0, 100).rows.tolist())
    assert len(rows & set(range(40, 46))) == 1
    assert len(rows & {50, 51}) == 1
    assert len(drop_duplicates(hits, read_vectors, 1.0, 2)) == 2


def test_diversify_lowers_the_similarity_of_hits_and_keeps_the_best_first() -> None:
    hits = searched(list(range(1, 90)))

    def similarity(diverse: Hits) -> float:
        top = VECTORS[diverse.rows[:8]]
        return float((top @ top.T)[np.triu_indices(8, 1)].mean())

    results = [diversify(hits, read_vectors, diversity, 100) for diversity in (0.0, 0.4, 0.8)]
    assert results[0].rows.tolist() == hits.rows.tolist()
    assert similarity(results[2]) < similarity(results[1]) < similarity(results[0])
    assert all(result.rows[0] == hits.rows[0] for result in results)
    assert all(sorted(result.rows.tolist()) == sorted(hits.rows.tolist()) for result in results)


def test_every_stage_accepts_an_empty_list() -> None:
    assert len(best_per_group(NO_HITS, np.zeros(0, np.int32))) == 0
    assert len(drop_duplicates(NO_HITS, read_vectors, 0.9, 5)) == 0
    assert len(diversify(NO_HITS, read_vectors, 0.5, 100)) == 0
    assert len(filter_at_least(NO_HITS, NO_HITS.scores, 0.0)) == 0


def place_plainly(rows: list[int], pin_ranks: dict[int, int]) -> list[int]:
    """Return the rows in the order that `place_pins` must give, filled rank by rank from two queues."""
    pinned = sorted((row for row in rows if row in pin_ranks), key=lambda row: pin_ranks[row])
    others = [row for row in rows if row not in pin_ranks]
    order: list[int] = []
    while pinned or others:
        if pinned and (pin_ranks[pinned[0]] <= len(order) + 1 or not others):
            order.append(pinned.pop(0))
        else:
            order.append(others.pop(0))
    return order


@given(
    rows=st.permutations(list(range(12))),
    pin_ranks=st.dictionaries(st.integers(0, 15), st.integers(1, 20), max_size=6),
    length=st.integers(0, 12),
)
def test_pins_have_their_ranks_in_a_list_of_any_length(
    rows: list[int], pin_ranks: dict[int, int], length: int
) -> None:
    pinned = [row for row in rows if row in pin_ranks]
    others = [row for row in rows if row not in pin_ranks]
    whole = place_pins(ranked(pinned + others), pin_ranks).rows.tolist()
    assert whole == place_plainly(pinned + others, pin_ranks)
    short = place_pins(ranked(pinned + others[:length]), pin_ranks).rows.tolist()
    assert short[:length] == whole[:length]


def test_a_pin_past_the_end_comes_last_and_two_pins_of_one_rank_follow_each_other() -> None:
    assert place_pins(ranked([7, 1, 2]), {7: 9}).rows.tolist() == [1, 2, 7]
    assert place_pins(ranked([7, 8, 1, 2]), {7: 2, 8: 2}).rows.tolist() == [1, 7, 8, 2]
    assert place_pins(ranked([7, 8, 1]), {7: 2, 8: 1}).rows.tolist() == [8, 7, 1]


def test_prepended_pins_keep_their_rule_and_score_and_occur_once() -> None:
    pins = Hits(np.array([5]), np.array([0.25], np.float32), np.array(["spring"], object))
    joined = prepend_pins(ranked([4, 5, 6]), pins)
    assert joined.rows.tolist() == [5, 4, 6]
    assert joined.scores.tolist() == [0.25, 1.0, 0.0]
    assert joined.rules is not None
    assert joined.rules.tolist() == ["spring", None, None]


@settings(max_examples=80)
@given(
    rows=st.permutations(list(range(10))),
    pairs=st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), min_size=1, max_size=3),
    length=st.integers(0, 10),
)
def test_of_two_conflicting_hits_the_better_one_is_kept(
    rows: list[int], pairs: list[tuple[set[int], set[int]]], length: int
) -> None:
    def conflicts(row: int, kept: list[int]) -> bool:
        return any(
            (row in one and other & set(kept)) or (row in other and one & set(kept)) for one, other in pairs
        )

    kept: list[int] = []
    for row in rows:
        if not conflicts(row, kept):
            kept.append(row)
    masks = [(np.isin(np.arange(10), list(one)), np.isin(np.arange(10), list(other))) for one, other in pairs]
    assert drop_conflicting(ranked(rows), masks).rows.tolist() == kept
    short = drop_conflicting(ranked(rows[:length]), masks).rows.tolist()
    assert kept[: len(short)] == short


def test_the_trace_names_each_stage_with_the_number_of_hits_left() -> None:
    stages = Stages(min_score=0.1, one_per_group=True, collapse_duplicates=1.0)
    pins = Hits(np.array([60]), np.array([0.0], np.float32), np.array(["spring"], object))
    groups = np.full(160, -1, np.int32)
    groups[[1, 2]] = 7
    hits, trace = stages.apply(
        ranked([1, 2, 3, 4]), groups, read_vectors, 9, None, RuleEffects(pins, {60: 2})
    )
    assert hits.rows.tolist() == [1, 60, 3]
    assert trace == [
        ("search", 4),
        ("min_score", 3),
        ("pins", 4),
        ("one_per_group", 3),
        ("collapse_duplicates", 3),
    ]
    assert Stages(diversity=0.5).hits_needed(3) == 100
    assert Stages().hits_needed(3) == 3
