"""The arithmetic of retrieval: precision, recall and average precision of rankings by inner product.

Knows arrays only. Shape letters: Q queries, N rows of the gallery, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleVector, FloatMatrix, Labels

KS = (1, 5, 10)
ROUNDING = 1e-5
_BLOCK_CELLS = 2**20


def labels_of(categories: Sequence[str], codes: Labels) -> Labels:
    """Return (n,) the codes of categories, -1 where the name is blank: no category. codes: (n,)."""
    blank = [code for code, name in enumerate(categories) if not name.strip()]
    return np.where(np.isin(codes, blank), -1, codes).astype(np.int32)


@dataclass(frozen=True)
class Labelled:
    """Vectors (N, D) with the label of each, -1 for none, and the item it shows.

    Two rows of one item (the same product, or pictures of one group) never judge each other.
    """

    vectors: FloatMatrix
    labels: Labels
    items: Labels

    def take(self, rows: np.ndarray[Any, Any]) -> Labelled:
        """Return some of the rows."""
        return Labelled(self.vectors[rows], self.labels[rows], self.items[rows])

    def take_labels(self, rows: np.ndarray[Any, Any]) -> Labelled:
        """Return some of the rows without their vectors."""
        return Labelled(self.vectors[:0], self.labels[rows], self.items[rows])

    def with_vectors(self, vectors: FloatMatrix) -> Labelled:
        """Return the same rows in another space."""
        return Labelled(vectors, self.labels, self.items)


@dataclass(frozen=True)
class Retrieval:
    """What each judged query found. Queries without a label, or alone in theirs, are not judged.

    labels, average_precision, reciprocal_rank: (Q,). precision, recall: (Q, len(ks)). nearest: (Q,) label of
    the nearest neighbour, -1 where it has none.
    """

    ks: tuple[int, ...]
    labels: Labels
    precision: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    recall: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    average_precision: DoubleVector
    reciprocal_rank: DoubleVector
    nearest: Labels

    def __len__(self) -> int:
        """Return Q."""
        return len(self.labels)

    def precision_at(self, k: int) -> DoubleVector:
        """Return (Q,) the share of the first k that have the query's label."""
        return self.precision[:, self.ks.index(k)]

    def summary(self) -> dict[str, float]:
        """Return the means over queries; empty when none could be judged."""
        if not len(self):
            return {}
        means = {f"precision_at_{k}": self.precision[:, i].mean() for i, k in enumerate(self.ks)}
        means |= {f"recall_at_{k}": self.recall[:, i].mean() for i, k in enumerate(self.ks)}
        means["map"] = self.average_precision.mean()
        return {name: round(float(value), 4) for name, value in means.items()}


def judge(queries: Labelled, gallery: Labelled, ks: Sequence[int] = KS) -> Retrieval:
    """Rank the gallery for each query by inner product and compare labels.

    A row of the query's own item is passed over. precision@k divides by k even where fewer rows are left.
    Equal scores keep the order of the gallery.
    """
    parts = []
    size = max(1, _BLOCK_CELLS // max(len(gallery.labels), 1))
    for start in range(0, len(queries.labels), size):
        block = queries.take(np.arange(start, min(start + size, len(queries.labels))))
        parts.append(judge_scores(block.vectors @ gallery.vectors.T, block, gallery, ks))
    return join(parts, ks)


def join(parts: Sequence[Retrieval], ks: Sequence[int] = KS) -> Retrieval:
    """Return several judgements as one, in their order."""
    none = (np.zeros(0, np.int32), np.zeros((0, len(ks))), np.zeros((0, len(ks))))
    parts = parts or [Retrieval(tuple(ks), none[0], none[1], none[2], np.zeros(0), np.zeros(0), none[0])]
    return Retrieval(
        tuple(ks),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.precision for part in parts]),
        np.concatenate([part.recall for part in parts]),
        np.concatenate([part.average_precision for part in parts]),
        np.concatenate([part.reciprocal_rank for part in parts]),
        np.concatenate([part.nearest for part in parts]),
    )


def judge_scores(
    scores: FloatMatrix, queries: Labelled, gallery: Labelled, ks: Sequence[int] = KS
) -> Retrieval:
    """Judge by scores (Q, N) that are already there; `judge` says how."""
    size = max(1, _BLOCK_CELLS // max(len(gallery.labels), 1))
    blocks = [slice(start, start + size) for start in range(0, len(scores), size)]
    asked = [(scores[rows], queries.labels[rows], queries.items[rows]) for rows in blocks]
    return join([_judge_block(*block, gallery, ks) for block in asked], ks)


def _judge_block(
    scores: FloatMatrix, labels: Labels, items: Labels, gallery: Labelled, ks: Sequence[int]
) -> Retrieval:
    own = items[:, None] == gallery.items[None, :]
    order = np.argsort(np.where(own, np.inf, -scores), axis=1, kind="stable")
    hit = (gallery.labels[order] == labels[:, None]) & ~np.take_along_axis(own, order, 1)
    relevant = hit.sum(axis=1)
    judged = (relevant > 0) & (labels >= 0)
    order, hit, relevant = order[judged], hit[judged], relevant[judged]
    found = np.cumsum(hit, axis=1)
    places = np.arange(1, hit.shape[1] + 1)
    cut = [min(k, hit.shape[1]) - 1 for k in ks]
    first = hit.argmax(axis=1) if len(hit) else np.zeros(0, np.int64)
    return Retrieval(
        tuple(ks),
        labels[judged],
        found[:, cut] / np.array(ks),
        found[:, cut] / np.maximum(relevant, 1)[:, None],
        (found / places * hit).sum(axis=1) / np.maximum(relevant, 1),
        1.0 / (1 + first),
        gallery.labels[order[:, 0]] if len(order) else np.zeros(0, np.int32),
    )


def places_in(scores: FloatMatrix, targets: np.ndarray[Any, Any]) -> Labels:
    """Return (Q,) how many rows have a higher score than each query's target row; 0 is first.

    A row that rounding alone puts ahead, such as a copy of the target, does not count.
    """
    own = scores[np.arange(len(scores)), targets] + ROUNDING
    places: Labels = (scores > own[:, None]).sum(axis=1).astype(np.int32)
    return places
