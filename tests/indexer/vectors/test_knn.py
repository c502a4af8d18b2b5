"""Neighbours of many rows at once, against a brute force of one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import clustered
from vitrine.indexer.vectors import knn as neighbourhood
from vitrine.indexer.vectors.knn import Question, nearest_to_each
from vitrine.indexer.vectors.ranking import Hits
from vitrine.indexer.vectors.scoring import score_rows


def oracle(vectors: Any, question: Question, row: int) -> tuple[list[int], list[float]]:
    found = [other for other in question.findable.tolist() if other != row]
    scores = score_rows(vectors[found], vectors[row]) if found else np.empty(0, np.float32)
    order = sorted(range(len(found)), key=lambda place: (-scores[place], question.ties[found[place]]))
    chosen = order[: question.k]
    return [found[place] for place in chosen], [float(scores[place]) for place in chosen]


def assert_exact(vectors: Any, question: Question, answers: dict[int, Hits], least: float = -2.0) -> None:
    assert sorted(answers) == sorted(question.asking.tolist())
    for row, hits in answers.items():
        rows, scores = oracle(vectors, question, row)
        kept = [place for place, score in enumerate(scores) if score >= least]
        got = [place for place, score in enumerate(hits.scores.tolist()) if score >= least]
        assert hits.rows[got].tolist() == [rows[place] for place in kept]
        assert hits.scores[got].tolist() == [scores[place] for place in kept]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 60), k=st.integers(1, 12), data=st.data())
def test_neighbours_are_those_of_brute_force(seed: int, n: int, k: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    vectors = clustered(n, 16, seed)
    copies = random.integers(0, n, n // 3)
    vectors[random.integers(0, n, n // 3)] = vectors[copies]
    asking = random.permutation(n)[: data.draw(st.integers(0, n))]
    findable = random.permutation(n)[: data.draw(st.integers(0, n))]
    least = data.draw(st.sampled_from([None, 0.5, 0.95]))
    question = Question(asking, findable, k, random.permutation(n), least)
    answers = dict(nearest_to_each(lambda rows: vectors[rows], question, block_rows=7))
    assert_exact(vectors, question, answers, -2.0 if least is None else least)


@pytest.mark.parametrize("held", [0, neighbourhood.HELD_MAX])
def test_meeting_once_or_twice_gives_the_same(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhood, "HELD_MAX", held)
    vectors, rows = clustered(300, 24, 3), np.arange(300)
    question = Question(rows, rows, 9, rows[::-1].copy())
    assert_exact(
        vectors, question, dict(nearest_to_each(lambda rows: vectors[rows], question, block_rows=64))
    )


def test_a_picture_that_hundreds_share_is_ordered_by_ties() -> None:
    """More rows tie than a pool holds: the placeholder that half a shop has."""
    vectors = clustered(900, 12, 1)
    vectors[200:800] = vectors[200]
    ties = np.random.default_rng(5).permutation(900)
    question = Question(np.arange(900), np.arange(900), 4, ties)
    answers = dict(nearest_to_each(lambda rows: vectors[rows], question, block_rows=256))
    assert_exact(vectors, question, answers)
    shared = sorted((int(ties[row]), row) for row in range(200, 800))
    assert answers[shared[9][1]].rows.tolist() == [row for _, row in shared[:4]]
