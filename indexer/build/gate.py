"""The publish gate: checks of a finished candidate against the current snapshot, before it replaces it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vitrine.indexer.errors import PublishRefused
from vitrine.indexer.snapshot.snapshot import Snapshot

QUERIES_MAX = 200
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of the publish gate. A candidate outside any of them is refused.

    min_overlap and max_vanished are shares in 0..1; they apply if the current snapshot has `min_products` or
    more. max_p95_ms is far above what any recipe needs: it catches an index too slow to be useful.
    """

    recall_slack: float = 0.02
    min_overlap: float = 0.5
    max_vanished: float = 0.5
    max_p95_ms: float = 500.0
    min_products: int = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Measurements of a candidate against the current snapshot.

    overlap_at_10: mean share of the current top 10 that the candidate's top 10 has too; None if the two
    cannot be compared (another model or transform, no shared product, no current snapshot). vanished: share
    of the ids of the current snapshot that the candidate lacks.
    """

    recall_at_10: float
    target_recall: float
    p95_ms: float
    overlap_at_10: float | None
    vanished: float
    current_products: int


def compare_with_current(candidate: Snapshot, current: Snapshot | None, target_recall: float) -> Comparison:
    """Measure a candidate against the current snapshot, with up to 200 products of both as queries."""
    manifest = candidate.manifest
    p95_ms = manifest.latency.get("p95_ms", 0.0)
    if current is None:
        return Comparison(manifest.recall_at_10, target_recall, p95_ms, None, 0.0, 0)
    new_rows = candidate.table.rows_of(current.table.ids())
    shared = np.flatnonzero(new_rows >= 0)
    vanished = 1.0 - len(shared) / len(new_rows) if len(new_rows) else 0.0
    overlap = None
    is_same_space = manifest.transform["name"] == current.manifest.transform["name"]
    if manifest.model == current.manifest.model and is_same_space and len(shared):
        sample = shared[np.linspace(0, len(shared) - 1, min(QUERIES_MAX, len(shared))).astype(int)]
        overlaps = [_top_overlap(current, int(row), candidate, int(new_rows[row])) for row in sample]
        overlap = float(np.mean(overlaps))
    return Comparison(manifest.recall_at_10, target_recall, p95_ms, overlap, vanished, len(new_rows))


def check_publishable(comparison: Comparison, thresholds: Thresholds) -> None:
    """Raise PublishRefused, with every reason, if a measurement is outside its threshold."""
    reasons = []
    if comparison.recall_at_10 < comparison.target_recall - thresholds.recall_slack:
        reasons.append(
            f"recall@10 is {comparison.recall_at_10:.3f}, below the target of {comparison.target_recall:.3f}"
        )
    if comparison.p95_ms > thresholds.max_p95_ms:
        reasons.append(f"95 % of queries take up to {comparison.p95_ms:.0f} ms")
    products = comparison.current_products
    if products >= thresholds.min_products:
        if comparison.vanished > thresholds.max_vanished:
            reasons.append(f"{comparison.vanished:.0%} of the {products} products are missing")
        if comparison.overlap_at_10 is not None and comparison.overlap_at_10 < thresholds.min_overlap:
            reasons.append(f"only {comparison.overlap_at_10:.0%} of the top 10 match the current snapshot")
    if reasons:
        raise PublishRefused("the new snapshot was not made current: " + "; ".join(reasons))


def _top_overlap(current: Snapshot, old_row: int, candidate: Snapshot, new_row: int) -> float:
    """Return the share of the current top 10 of a product that its top 10 in the candidate has too."""
    old, new = _top_ids(current, old_row), _top_ids(candidate, new_row)
    return len(old & new) / len(old) if old else 1.0


def _top_ids(snapshot: Snapshot, query_row: int) -> set[str]:
    query = np.asarray(snapshot.vectors[query_row : query_row + 1], np.float32)
    rows = snapshot.index.search(query, NEIGHBOURS + 1).rows[0].tolist()
    return set(snapshot.table.ids(row for row in rows if row != query_row))
