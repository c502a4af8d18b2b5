"""Retrieval metrics of rankings by inner product: precision, recall and average precision.

Shape letters: Q queries, N rows of the gallery, D dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import DoubleMatrix, DoubleVector, FloatMatrix, Labels, Rows
from vitrine.indexer.vectors.scoring import ROUNDING

KS = (1, 5, 10)
_BLOCK_CELLS = 2**20


def category_labels(categories: Sequence[str], codes: Labels) -> Labels:
    """Return (n,) category codes with -1 for blank names, which mean no category. codes: (n,)."""
    blank = [code for code, name in enumerate(categories) if not name.strip()]
    return np.where(np.isin(codes, blank), -1, codes).astype(np.int32)


@dataclass(frozen=True)
class LabelledVectors:
    """Vectors (N, D) with the label (-1 for none) and the item number of each.

    Rows of one item (the same product, or pictures of one group) are never compared with each other.
    """

    vectors: FloatMatrix
    labels: Labels
    items: Labels

    def take(self, rows: Rows) -> LabelledVectors:
        """Return the given rows."""
        return LabelledVectors(self.vectors[rows], self.labels[rows], self.items[rows])

    def take_labels(self, rows: Rows) -> LabelledVectors:
        """Return the given rows without their vectors."""
        return LabelledVectors(self.vectors[:0], self.labels[rows], self.items[rows])

    def with_vectors(self, vectors: FloatMatrix) -> LabelledVectors:
        """Return the same rows with other vectors."""
        return LabelledVectors(vectors, self.labels, self.items)


@dataclass(frozen=True)
class RetrievalMetrics:
    """Metrics of each evaluated query. A query without a label, or alone with its label, is not evaluated.

    labels, average_precision, reciprocal_rank: (Q,). precision, recall: (Q, len(ks)). nearest_labels: (Q,)
    label of the nearest neighbour, -1 if it has none.
    """

    ks: tuple[int, ...]
    labels: Labels
    precision: DoubleMatrix
    recall: DoubleMatrix
    average_precision: DoubleVector
    reciprocal_rank: DoubleVector
    nearest_labels: Labels

    def __len__(self) -> int:
        """Return Q."""
        return len(self.labels)

    def precision_at(self, k: int) -> DoubleVector:
        """Return (Q,) the share of the first k hits that have the query's label."""
        return self.precision[:, self.ks.index(k)]

    def summary(self) -> dict[str, float]:
        """Return the means over queries by name; empty if no query was evaluated."""
        if not len(self):
            return {}
        means = {f"precision_at_{k}": self.precision[:, i].mean() for i, k in enumerate(self.ks)}
        means |= {f"recall_at_{k}": self.recall[:, i].mean() for i, k in enumerate(self.ks)}
        means["map"] = self.average_precision.mean()
        return {name: round(float(value), 4) for name, value in means.items()}


def evaluate_retrieval(
    queries: LabelledVectors, gallery: LabelledVectors, ks: Sequence[int] = KS
) -> RetrievalMetrics:
    """Rank the gallery for each query by inner product and return the metrics.

    Gallery rows of the query's own item are left out. precision@k divides by k even if fewer rows are left.
    Equal scores keep the order of the gallery.
    """
    parts = []
    step = _block_queries(gallery)
    for start in range(0, len(queries.labels), step):
        block = queries.take(np.arange(start, min(start + step, len(queries.labels))))
        parts.append(evaluate_scores(block.vectors @ gallery.vectors.T, block, gallery, ks))
    return concatenate_metrics(parts, ks)


def evaluate_scores(
    scores: FloatMatrix, queries: LabelledVectors, gallery: LabelledVectors, ks: Sequence[int] = KS
) -> RetrievalMetrics:
    """Return the metrics of given scores, (Q, N); the rules are those of `evaluate_retrieval`."""
    step = _block_queries(gallery)
    blocks = [slice(start, start + step) for start in range(0, len(scores), step)]
    parts = [
        _evaluate_block(scores[rows], queries.labels[rows], queries.items[rows], gallery, ks)
        for rows in blocks
    ]
    return concatenate_metrics(parts, ks)


def concatenate_metrics(parts: Sequence[RetrievalMetrics], ks: Sequence[int] = KS) -> RetrievalMetrics:
    """Return the metrics of several sets of queries as one, in their order."""
    labels, matrix = np.zeros(0, np.int32), np.zeros((0, len(ks)))
    parts = parts or [RetrievalMetrics(tuple(ks), labels, matrix, matrix, np.zeros(0), np.zeros(0), labels)]
    return RetrievalMetrics(
        tuple(ks),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.precision for part in parts]),
        np.concatenate([part.recall for part in parts]),
        np.concatenate([part.average_precision for part in parts]),
        np.concatenate([part.reciprocal_rank for part in parts]),
        np.concatenate([part.nearest_labels for part in parts]),
    )


def _block_queries(gallery: LabelledVectors) -> int:
    """Return the number of queries to score at a time."""
    return max(1, _BLOCK_CELLS // max(len(gallery.labels), 1))


def _evaluate_block(
    scores: FloatMatrix, labels: Labels, items: Labels, gallery: LabelledVectors, ks: Sequence[int]
) -> RetrievalMetrics:
    is_own_item = items[:, None] == gallery.items[None, :]
    order = np.argsort(np.where(is_own_item, np.inf, -scores), axis=1, kind="stable")
    is_relevant = gallery.labels[order] == labels[:, None]
    is_relevant &= ~np.take_along_axis(is_own_item, order, 1)
    relevant = is_relevant.sum(axis=1)
    evaluated = (relevant > 0) & (labels >= 0)
    order, is_relevant, relevant = order[evaluated], is_relevant[evaluated], relevant[evaluated]
    true_positives = np.cumsum(is_relevant, axis=1)
    ranks = np.arange(1, is_relevant.shape[1] + 1)
    cutoffs = [min(k, is_relevant.shape[1]) - 1 for k in ks]
    first_relevant = is_relevant.argmax(axis=1) if len(is_relevant) else np.zeros(0, np.int64)
    return RetrievalMetrics(
        tuple(ks),
        labels[evaluated],
        true_positives[:, cutoffs] / np.array(ks),
        true_positives[:, cutoffs] / np.maximum(relevant, 1)[:, None],
        (true_positives / ranks * is_relevant).sum(axis=1) / np.maximum(relevant, 1),
        1.0 / (1 + first_relevant),
        gallery.labels[order[:, 0]] if len(order) else np.zeros(0, np.int32),
    )


def target_ranks(scores: FloatMatrix, targets: Rows) -> Labels:
    """Return (Q,) the number of rows with a higher score than each query's target row; 0 is first.

    scores: (Q, N). targets: (Q,). A row that is ahead by no more than ROUNDING, such as a copy of the
    target, does not count.
    """
    target_scores = scores[np.arange(len(scores)), targets] + ROUNDING
    ranks: Labels = (scores > target_scores[:, None]).sum(axis=1).astype(np.int32)
    return ranks
