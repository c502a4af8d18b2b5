"""The publish gate: a finished candidate is compared with the live snapshot before the pointer moves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vitrine.indexer.errors import PublishRefused
from vitrine.indexer.snapshot.snapshot import Snapshot

QUERIES = 200
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Past any of these the pointer does not move.

    The shares are of the live products that a catalogue of at least `min_products` had. p95_ms is far above
    what any recipe needs: it catches an index that answers, but uselessly.
    """

    recall_slack: float = 0.02
    min_overlap: float = 0.5
    max_vanished: float = 0.5
    max_p95_ms: float = 500.0
    min_products: int = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured. `overlap_at_10` is None where the two cannot be compared (another model or
    transform, no product in both, no live snapshot); `vanished` is the share of live ids that the candidate
    lacks."""

    recall_at_10: float
    target_recall: float
    p95_ms: float
    overlap_at_10: float | None
    vanished: float
    live_products: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a manifest."""
        return asdict(self)


def compare_with_live(candidate: Snapshot, live: Snapshot | None, target_recall: float) -> Comparison:
    """Measure a candidate against the live snapshot on the same queries: up to 200 products of both."""
    manifest = candidate.manifest
    p95_ms = manifest.latency.get("p95_ms", 0.0)
    if live is None:
        return Comparison(manifest.recall_at_10, target_recall, p95_ms, None, 0.0, 0)
    new_rows = candidate.table.rows_of(live.table.ids())
    shared = np.flatnonzero(new_rows >= 0)
    vanished = 1.0 - len(shared) / len(new_rows) if len(new_rows) else 0.0
    overlap = None
    same_space = manifest.transform["name"] == live.manifest.transform["name"]
    if manifest.model == live.manifest.model and same_space and len(shared):
        picked = shared[np.linspace(0, len(shared) - 1, min(QUERIES, len(shared))).astype(int)]
        pairs = [(int(row), int(new_rows[row])) for row in picked]
        overlap = float(np.mean([_overlap(live, old, candidate, new) for old, new in pairs]))
    return Comparison(manifest.recall_at_10, target_recall, p95_ms, overlap, vanished, len(new_rows))


def check_publishable(found: Comparison, thresholds: Thresholds) -> None:
    """Raise PublishRefused, saying everything that is past its threshold."""
    reasons = []
    if found.recall_at_10 < found.target_recall - thresholds.recall_slack:
        reasons.append(f"recall@10 is {found.recall_at_10:.3f}, asked for was {found.target_recall:.3f}")
    if found.p95_ms > thresholds.max_p95_ms:
        reasons.append(f"95 % of queries take up to {found.p95_ms:.0f} ms")
    if found.live_products >= thresholds.min_products:
        if found.vanished > thresholds.max_vanished:
            reasons.append(f"{found.vanished:.0%} of the {found.live_products} products vanished")
        if found.overlap_at_10 is not None and found.overlap_at_10 < thresholds.min_overlap:
            reasons.append(f"only {found.overlap_at_10:.0%} of the top 10 are as in the live snapshot")
    if reasons:
        raise PublishRefused("the new snapshot was not made live: " + "; ".join(reasons))


def _overlap(live: Snapshot, old_row: int, candidate: Snapshot, new_row: int) -> float:
    """Return the share of the live top 10 that the candidate's top 10 has too, the query left out."""
    old, new = _top_ids(live, old_row), _top_ids(candidate, new_row)
    return len(old & new) / len(old) if old else 1.0


def _top_ids(snapshot: Snapshot, row: int) -> set[str]:
    query = np.asarray(snapshot.vectors[row : row + 1], np.float32)
    rows = snapshot.index.search(query, NEIGHBOURS + 1).rows[0].tolist()
    return set(snapshot.table.ids(found for found in rows if found != row))
