"""Tests of vitrine.indexer.transform.sample: sampling of large catalogues and stratified folds."""

import numpy as np
import pytest

from tests.indexer.transform.training_sets import CATEGORIES, features, training_set
from vitrine.indexer.transform.sample import draw_sample, frequent_labels, stratified_folds


def test_a_large_catalogue_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.indexer.transform.sample.SAMPLE_ROWS_MAX", 60)
    sample = draw_sample(training_set(*features()))
    assert len(sample.raw.labels) == 60
    assert sample.class_count == CATEGORIES


def test_a_label_needs_enough_different_items() -> None:
    labels = np.repeat([0, 1, 2, -1], [4, 8, 6, 5]).astype(np.int32)
    items = np.arange(len(labels), dtype=np.int32)
    items[12:18] = 12  # six pictures of one item
    assert frequent_labels(labels, items) == [1, 0]


def test_folds_keep_the_pictures_of_an_item_together_and_labels_balanced() -> None:
    labels = np.repeat(np.arange(4), 30).astype(np.int32)
    items = (np.arange(120) // 3).astype(np.int32)
    folds = stratified_folds(labels, items, 5)
    for item in range(40):
        assert len(set(folds[items == item].tolist())) == 1
    counts = np.array([np.bincount(folds[labels == label], minlength=5) for label in range(4)])
    assert counts.min() >= 3
