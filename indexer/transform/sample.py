"""Which products the adaptation is learnt from, and how they are split to check it.

Shape letters: n sampled products, D dimension, C kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Labels
from vitrine.indexer.transform.transform import even_out
from vitrine.indexer.vectors.metrics import LabelledVectors, category_labels

# A kind is learnt from at least so many products: half of them is the least that a mean can stand on.
KIND_FROM = 4
SAMPLE_ROWS_MAX = 32_768
# 40 MiB: learning is to take no more memory than embedding did before it.
SAMPLE_VALUES_MAX = 10 * 2**20
SEED = 20_240


@dataclass(frozen=True)
class Catalogue:
    """What there is to learn from. read: rows to (n, D) unit vectors of the model, before any transform.

    categories: names; codes: (N,) the category of each product. items: (N,) equal for pictures of one thing.
    """

    read: Callable[[np.ndarray[Any, Any]], FloatMatrix]
    categories: Sequence[str]
    codes: Labels
    items: Labels

    def __len__(self) -> int:
        """Return N."""
        return len(self.codes)

    @property
    def counts(self) -> dict[str, int]:
        """Products by category."""
        found = np.bincount(self.codes, minlength=len(self.categories))
        return {name: int(count) for name, count in zip(self.categories, found, strict=True) if count}

    @property
    def labels(self) -> Labels:
        """(N,) the codes, -1 where a product has no category."""
        return category_labels(self.categories, self.codes)


@dataclass(frozen=True)
class Sample:
    """Evened-out vectors (`transform.even_out`) with kinds 0..C-1, -1 for products of no kind.

    raw: the same products as the model sees them.
    """

    raw: LabelledVectors
    even: LabelledVectors
    kinds: int

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.raw.vectors.shape[1])

    def take(self, rows: np.ndarray[Any, Any]) -> Sample:
        """Return some of the products."""
        return Sample(self.raw.take(rows), self.even.take(rows), self.kinds)


def draw_sample(catalogue: Catalogue) -> Sample:
    """Read the products to learn from: all of them, or a fixed random choice that fits in memory.

    The categories with at least KIND_FROM items become kinds, numbered by size, then name.
    """
    rng = np.random.default_rng(SEED)
    dimension = catalogue.read(np.arange(min(len(catalogue), 1))).shape[1]
    most = min(SAMPLE_ROWS_MAX, SAMPLE_VALUES_MAX // dimension)
    rows = np.arange(len(catalogue))
    if len(rows) > most:
        rows = np.sort(rng.choice(len(rows), most, replace=False))
    labels, items = catalogue.labels[rows], catalogue.items[rows]
    kinds = kinds_of(labels, items)
    numbered = np.full(len(catalogue.categories) + 1, -1, np.int32)
    numbered[kinds] = np.arange(len(kinds), dtype=np.int32)
    vectors = catalogue.read(rows)
    raw = LabelledVectors(vectors, numbered[labels], items)
    return Sample(raw, raw.with_vectors(even_out(vectors)), len(kinds))


def kinds_of(labels: Labels, items: Labels) -> list[int]:
    """Return the labels that at least KIND_FROM different items have, those of most items first."""
    pairs = np.unique(np.stack([labels, items]), axis=1)
    found, counts = np.unique(pairs[0], return_counts=True)
    ranked = sorted(zip(-counts, found, strict=True))
    return [int(label) for count, label in ranked if label >= 0 and -count >= KIND_FROM]


def deal(labels: Labels, items: Labels, hands: int, seed: int = SEED) -> Labels:
    """Split into `hands` parts: (n,) the part of each row.

    The items of each label are dealt out in turn, all rows of an item into one hand.
    """
    rng = np.random.default_rng(seed)
    _, one_of, item = np.unique(items, return_index=True, return_inverse=True)
    hand = np.zeros(len(one_of), np.int32)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels[one_of] == label))
        hand[members] = (np.arange(len(members)) + int(rng.integers(hands))) % hands
    dealt: Labels = hand[item]
    return dealt
