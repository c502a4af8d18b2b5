"""The Milvus store: a collection returns candidates, the state decides their scores and which are allowed.

Candidates are scored again by the same function as in the embedded store, and a row counts only if the mask
allows it. Changes that the collection may not show yet are scanned in process, as the embedded store scans
uploads. Every acknowledged change is therefore in the next answer, although searches do not wait for the
cluster's clock, and although Milvus may have been unavailable when the change was made.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from filelock import FileLock

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows
from vitrine.indexer.errors import SnapshotMissing, StoreUnavailable
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.collection import MATCHES_MAX, Alias, Collection, Matches, to_entity
from vitrine.indexer.milvus.connection import Connection
from vitrine.indexer.recipes.index import validate_queries
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.scoring import Neighbours, score_rows
from vitrine.service.queries.searcher import Filters, merge_top_k
from vitrine.service.stores.embedded import EMBEDDED
from vitrine.service.stores.expressions import expression_of

log = logging.getLogger(__name__)
# A bounded-staleness read may lag 5 s behind; a change written longer ago than this is visible.
VISIBLE_AFTER_S = 10.0
# Reading this many rows from the snapshot's file takes less time than a call to a server.
SCAN_ROWS = 500
# Largest difference between a score of Milvus and ours.
ROUNDING = 1e-4
# The first search asks for 2 k + _MARGIN matches, each further one for _GROWTH times as many.
_MARGIN = 16
_GROWTH = 4
_LOCK = "store.lock"


@dataclass(frozen=True)
class MilvusStore:
    """A Milvus server whose alias names the current snapshot's collection.

    scan_rows: up to this number of allowed rows, they are scanned in process instead.
    """

    connection: Connection
    scan_rows: int

    @classmethod
    def from_uri(cls, uri: str, *, scan_rows: int | None = None) -> MilvusStore:
        """Return the store of a URI, not connected yet. Raises InputError."""
        return cls(Connection(StoreAddress.parse(uri)), SCAN_ROWS if scan_rows is None else scan_rows)

    def current_name(self, folder: IndexFolder) -> str | None:
        """Return the snapshot of the collection that the alias points to. Raises SnapshotMissing."""
        collection = Alias(self.connection).target(attempts=1, timeout_s=1.0)
        if collection is None:
            return None
        name = self.connection.address.snapshot_name(collection)
        if name is None or name not in folder.snapshot_names():
            raise SnapshotMissing(
                f"{self.connection.address} points to {collection}, whose snapshot is not in {folder.root}: "
                "publish from the index folder that this service serves"
            )
        return name

    def open_searcher(self, snapshot: Snapshot) -> MilvusSearcher:
        """Return the searcher of a snapshot's collection. Raises SnapshotMissing, StoreUnavailable."""
        address = self.connection.address
        collection = Collection(self.connection, address.collection_name(snapshot.name))
        if collection.read_sequence() is None:
            raise SnapshotMissing(
                f"{address} does not hold snapshot {snapshot.name}: "
                "run `vitrine-indexer publish --store` first"
            )
        return MilvusSearcher(collection, snapshot.manifest.uploads_sequence, self.scan_rows)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class MilvusSearcher:
    """Search of one snapshot's collection."""

    name = "milvus"

    def __init__(self, collection: Collection, sequence: int, scan_rows: int) -> None:
        """sequence: the last change that the collection held when it was published."""
        self._collection = collection
        self._published_sequence = sequence
        self._scan_rows = scan_rows
        self._progress = _SyncProgress(sequence)
        self._recent_rows: tuple[tuple[int, int], Rows] = ((-1, -1), np.zeros(0, np.int64))

    def search(
        self,
        state: CatalogueState,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None = None,
    ) -> Neighbours:
        """Return the k most similar allowed rows. Raises StoreUnavailable, QueryError."""
        queries = validate_queries(queries, state.segments.dimension)
        count = int(np.count_nonzero(allowed))
        k = min(k, count)
        if exact or count <= self._scan_rows or 2 * k + _MARGIN > MATCHES_MAX:
            return EMBEDDED.search(state, queries, k, allowed=allowed, exact=True)
        recent = self._recently_changed(state)
        visible = allowed.copy()
        visible[recent] = False
        limit = 2 * k + _MARGIN
        while limit <= MATCHES_MAX:
            try:
                matches = self._collection.search(queries, limit, expression_of(filters))
            except StoreUnavailable:
                self._progress.reset(self._published_sequence)
                raise
            candidates = [
                _Candidates.from_match(state, match, query, visible)
                for match, query in zip(matches, queries, strict=True)
            ]
            if all(each.is_enough(k, limit, visible) for each in candidates):
                return _merge(state, queries, k, candidates, recent[allowed[recent]])
            if all(each.returned < limit for each in candidates):
                break  # a larger limit returns no more: the expression matches too few of the allowed rows
            limit *= _GROWTH
        return EMBEDDED.search(state, queries, k, allowed=allowed, exact=True)

    def sync_changes(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Write the changes that the collection does not hold yet, one process at a time.

        Idempotent: after a kill in the middle, the next call of any process completes it. Raises
        StoreUnavailable.
        """
        if self._progress.newest >= state.sequence:
            return
        try:
            with FileLock(folder.root / _LOCK, timeout=0):
                stored = self._collection.read_sequence()
                if stored is None:
                    raise StoreUnavailable(f"the collection {self._collection.name} is gone: publish again")
                if stored < state.sequence:
                    rows = [row for row, sequence in state.last_changes.items() if sequence > stored]
                    vectors = state.segments.vectors(rows)
                    self._collection.insert(
                        [
                            to_entity(row, state.product(row), vector, deleted=not state.live[row])
                            for row, vector in zip(rows, vectors, strict=True)
                        ]
                    )
                    self._collection.record_sequence(state.sequence, state.segments.dimension)
                    stored = state.sequence
                self._progress.record(stored)
        except OSError:
            return  # another process holds the lock, or the folder is read-only

    def _recently_changed(self, state: CatalogueState) -> Rows:
        """Return the rows, sorted, whose last change the collection may not show yet."""
        visible = self._progress.visible
        key, rows = self._recent_rows
        if key != (state.sequence, visible):
            changed = (row for row, sequence in state.last_changes.items() if sequence > visible)
            rows = np.array(sorted(changed), np.int64)
            self._recent_rows = (state.sequence, visible), rows
        return rows


class _SyncProgress:
    """Sequences of the last change that the collection holds (`newest`) and surely shows (`visible`)."""

    def __init__(self, sequence: int) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, int]] = deque()
        self._visible = self.newest = sequence

    @property
    def visible(self) -> int:
        """The sequence up to which every search shows the changes."""
        if self._waiting:
            with self._lock:
                while self._waiting and self._waiting[0][0] <= time.monotonic():
                    self._visible = max(self._visible, self._waiting.popleft()[1])
        return self._visible

    def record(self, sequence: int) -> None:
        """Record that the collection holds every change up to `sequence` from now on."""
        with self._lock:
            self.newest = max(self.newest, sequence)
            self._waiting.append((time.monotonic() + VISIBLE_AFTER_S, sequence))

    def reset(self, published: int) -> None:
        """Assume only the published changes: the server may have restarted with older data."""
        with self._lock:
            self._waiting.clear()
            self._visible = self.newest = published


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The allowed matches of one query, scored again.

    returned: the number of matches. worst: the score of the last match.
    """

    rows: Rows
    scores: FloatVector
    returned: int
    worst: float

    @classmethod
    def from_match(
        cls, state: CatalogueState, match: Matches, query: FloatVector, visible: Mask
    ) -> _Candidates:
        known = match.rows[(match.rows >= 0) & (match.rows < len(visible))]
        rows = known[visible[known]]
        worst = float(match.scores[-1]) if len(match.scores) else -1.0
        return cls(rows, score_rows(state.segments.vectors(rows), query), len(match.rows), worst)

    def is_enough(self, k: int, limit: int, visible: Mask) -> bool:
        """Return whether no row beyond the matches could be among the k best, nor tie with them."""
        available = int(np.count_nonzero(visible))
        if len(self.rows) >= available:
            return True
        if len(self.rows) < min(k, available) or not k:
            return False
        kth = float(np.partition(self.scores, len(self.scores) - k)[len(self.scores) - k])
        return self.worst < kth - ROUNDING or self.returned < limit


def _merge(
    state: CatalogueState, queries: FloatMatrix, k: int, candidates: list[_Candidates], recent: Rows
) -> Neighbours:
    """Return the k best of the candidates and of the recently changed rows."""
    vectors = state.segments.vectors(recent)
    lists = [
        (np.concatenate([each.rows, recent]), np.concatenate([each.scores, score_rows(vectors, query)]))
        for each, query in zip(candidates, queries, strict=True)
    ]
    return merge_top_k(state, lists, k)
