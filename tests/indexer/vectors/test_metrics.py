"""Tests of vitrine.indexer.vectors.metrics against rankings evaluated by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vitrine.indexer.arrays import unit
from vitrine.indexer.vectors.metrics import LabelledVectors, category_labels, evaluate_retrieval, target_ranks


def labelled(vectors: np.ndarray, labels: list[int], items: list[int] | None = None) -> LabelledVectors:
    item_numbers = np.arange(len(labels)) if items is None else np.array(items)
    return LabelledVectors(
        vectors.astype(np.float32), np.array(labels, np.int32), item_numbers.astype(np.int32)
    )


def on_a_circle(degrees: list[float]) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_metrics_agree_with_a_ranking_evaluated_by_hand() -> None:
    products = labelled(on_a_circle([0, 10, 25, 45]), [0, 1, 0, 0])
    metrics = evaluate_retrieval(products, products, ks=(1, 2, 3))
    # From 0 degrees the labels are 1, 0, 0: relevant at ranks 2 and 3.
    assert metrics.precision[0].tolist() == [0, 0.5, pytest.approx(2 / 3)]
    assert metrics.recall[0].tolist() == [0, 0.5, 1]
    assert metrics.average_precision[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.reciprocal_rank[0] == 0.5
    assert metrics.nearest_labels[0] == 1
    assert len(metrics) == 3, "the only product of its category is not evaluated"


def test_rows_of_one_item_are_not_compared() -> None:
    products = labelled(on_a_circle([0, 1, 30, 60]), [0, 0, 1, 0], items=[5, 5, 6, 7])
    metrics = evaluate_retrieval(products, products, ks=(1,))
    assert metrics.nearest_labels.tolist() == [1, 1, 1]
    assert metrics.precision_at(1).tolist() == [0, 0, 0]


def test_products_without_a_label_are_searched_but_not_evaluated() -> None:
    products = labelled(on_a_circle([0, 5, 10]), [0, -1, 0])
    metrics = evaluate_retrieval(products, products, ks=(1, 5))
    assert len(metrics) == 2
    assert metrics.nearest_labels.tolist() == [-1, -1]
    assert metrics.precision_at(5).tolist() == [0.2, 0.2]


def test_the_summary_is_empty_if_no_query_is_evaluated() -> None:
    empty = labelled(np.zeros((0, 2)), [])
    assert evaluate_retrieval(empty, empty).summary() == {}
    unrelated = labelled(on_a_circle([0, 90]), [0, 1])
    assert evaluate_retrieval(unrelated, unrelated).summary() == {}


def test_metrics_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    products = labelled(unit(rng.normal(size=(40, 6)).astype(np.float32)), rng.integers(0, 3, 40).tolist())
    whole = evaluate_retrieval(products, products)
    monkeypatch.setattr("vitrine.indexer.vectors.metrics._BLOCK_CELLS", 90)
    in_blocks = evaluate_retrieval(products, products)
    np.testing.assert_array_equal(in_blocks.average_precision, whole.average_precision)


def test_a_copy_of_the_target_does_not_lower_its_rank() -> None:
    scores = np.array([[0.9, 0.9 + 1e-7, 0.3], [0.2, 0.8, 0.5]], np.float32)
    assert target_ranks(scores, np.array([0, 2])).tolist() == [0, 1]


def test_a_blank_category_name_is_no_label() -> None:
    codes = np.array([0, 1, 2, 1], np.int32)
    assert category_labels(("a", " ", "c"), codes).tolist() == [0, -1, 2, -1]
