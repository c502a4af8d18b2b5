"""Training set and sample of the adaptation, and stratified folds for its validation.

Shape letters: N products, n sampled products, D dimension, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import Labels, Rows
from vitrine.indexer.transform.transform import signed_sqrt
from vitrine.indexer.vectors.metrics import LabelledVectors, category_labels
from vitrine.indexer.vectors.ranking import VectorReader

# A category with fewer items is no class: a mean must rest on at least two, half of them.
CLASS_ITEMS_MIN = 4
SAMPLE_ROWS_MAX = 32_768
# 40 MiB of float32, so that fitting takes no more memory than the embedding before it.
SAMPLE_VALUES_MAX = 10 * 2**20
SEED = 20_240


@dataclass(frozen=True)
class TrainingSet:
    """Products to fit a transform on.

    read_vectors: returns the (n, D) unit vectors of rows, in the model's space. categories: names. codes:
    (N,) the category of each product. items: (N,) numbers that are equal for pictures of one item.
    """

    read_vectors: VectorReader
    categories: Sequence[str]
    codes: Labels
    items: Labels

    def __len__(self) -> int:
        """Return N."""
        return len(self.codes)

    @property
    def counts(self) -> dict[str, int]:
        """Number of products by category, empty categories left out."""
        counts = np.bincount(self.codes, minlength=len(self.categories))
        return {name: int(count) for name, count in zip(self.categories, counts, strict=True) if count}

    @property
    def labels(self) -> Labels:
        """(N,) the codes, with -1 for products without a category."""
        return category_labels(self.categories, self.codes)


@dataclass(frozen=True)
class Sample:
    """Sampled products with their classes 0..C-1, -1 for none.

    raw: vectors of the model. rooted: the same rows after `signed_sqrt`.
    """

    raw: LabelledVectors
    rooted: LabelledVectors
    class_count: int

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.raw.vectors.shape[1])

    def take(self, rows: Rows) -> Sample:
        """Return the given rows."""
        return Sample(self.raw.take(rows), self.rooted.take(rows), self.class_count)


def draw_sample(training_set: TrainingSet) -> Sample:
    """Read all products, or a fixed random sample that fits in memory.

    The categories with at least CLASS_ITEMS_MIN items become classes, numbered by size, then by code.
    """
    rng = np.random.default_rng(SEED)
    dimension = training_set.read_vectors(np.arange(min(len(training_set), 1))).shape[1]
    max_rows = min(SAMPLE_ROWS_MAX, SAMPLE_VALUES_MAX // dimension)
    rows = np.arange(len(training_set))
    if len(rows) > max_rows:
        rows = np.sort(rng.choice(len(rows), max_rows, replace=False))
    labels, items = training_set.labels[rows], training_set.items[rows]
    frequent = frequent_labels(labels, items)
    class_by_label = np.full(len(training_set.categories) + 1, -1, np.int32)
    class_by_label[frequent] = np.arange(len(frequent), dtype=np.int32)
    vectors = training_set.read_vectors(rows)
    raw = LabelledVectors(vectors, class_by_label[labels], items)
    return Sample(raw, raw.with_vectors(signed_sqrt(vectors)), len(frequent))


def frequent_labels(labels: Labels, items: Labels) -> list[int]:
    """Return the labels with at least CLASS_ITEMS_MIN different items, most items first."""
    pairs = np.unique(np.stack([labels, items]), axis=1)
    distinct, counts = np.unique(pairs[0], return_counts=True)
    ranked = sorted(zip(-counts, distinct, strict=True))
    return [int(label) for count, label in ranked if label >= 0 and -count >= CLASS_ITEMS_MIN]


def stratified_folds(labels: Labels, items: Labels, folds: int, seed: int = SEED) -> Labels:
    """Return (n,) the fold 0..folds-1 of each row, as scikit-learn's StratifiedGroupKFold splits.

    The items of each label are spread evenly over the folds, in random order; all rows of an item are in one
    fold.
    """
    rng = np.random.default_rng(seed)
    _, first_rows, item_of_row = np.unique(items, return_index=True, return_inverse=True)
    item_folds = np.zeros(len(first_rows), np.int32)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels[first_rows] == label))
        item_folds[members] = (np.arange(len(members)) + int(rng.integers(folds))) % folds
    row_folds: Labels = item_folds[item_of_row]
    return row_folds
