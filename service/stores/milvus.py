"""The Milvus store: candidates come from a collection, their order and what is allowed from the state.

Every answer is exact in what it holds: candidates are scored again by the one scoring function, and a row
counts only if the view's mask allows it. Changes that the collection may not show yet are scanned beside it,
as uploads are by the embedded store, so every acknowledged change is in the next answer although searches do
not wait for the cluster's clock, and although Milvus may have been away when the change was made.
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
from vitrine.indexer.milvus.collection import MATCHES_MAX, Alias, Collection, Match, entity
from vitrine.indexer.milvus.connection import Connection
from vitrine.indexer.recipes.index import checked_queries
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.scoring import Neighbours, score_rows
from vitrine.service.queries.searcher import Filters, merge_top_k
from vitrine.service.stores.embedded import EMBEDDED
from vitrine.service.stores.expressions import expression_of

log = logging.getLogger(__name__)
# A bounded-staleness read may lag 5 s behind; what the collection holds for longer than this, it shows.
SETTLED_AFTER_S = 10.0
# So few allowed rows are read from the snapshot's file in less time than a call to a server takes.
SCAN_ROWS = 500
# How far the scores of Milvus may lie from ours.
ROUNDING = 1e-4
_MORE = 16
_WIDER = 4
_LOCK = "store.lock"


@dataclass(frozen=True)
class MilvusStore:
    """A Milvus whose alias says which snapshot is live. scan_rows: up to so many are scanned in process."""

    connection: Connection
    scan_rows: int

    @classmethod
    def of(cls, uri: str, *, scan_rows: int | None = None) -> MilvusStore:
        """Return the store behind a URI. Connects to nothing yet. Raises InputError."""
        return cls(Connection(StoreAddress.parse(uri)), SCAN_ROWS if scan_rows is None else scan_rows)

    def live_name(self, folder: IndexFolder) -> str | None:
        """Return the snapshot of the collection that the alias stands for."""
        collection = Alias(self.connection).target(attempts=1, timeout_s=1.0)
        if collection is None:
            return None
        name = self.connection.address.snapshot_of(collection)
        if name is None or name not in folder.names():
            raise SnapshotMissing(
                f"{self.connection.address} stands for {collection}, whose snapshot is not in {folder.root}: "
                "publish from the folder that is served"
            )
        return name

    def attach(self, snapshot: Snapshot) -> MilvusSearcher:
        """Return the searcher of a snapshot's collection. Raises SnapshotMissing, StoreUnavailable."""
        address = self.connection.address
        collection = Collection(self.connection, address.collection_of(snapshot.name))
        if collection.sequence() is None:
            raise SnapshotMissing(
                f"{address} does not hold snapshot {snapshot.name}: "
                "run `vitrine-indexer publish --store` first"
            )
        return MilvusSearcher(collection, snapshot.manifest.uploads_sequence, self.scan_rows)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class MilvusSearcher:
    """Searches one snapshot's collection."""

    name = "milvus"

    def __init__(self, collection: Collection, sequence: int, scan_rows: int) -> None:
        """sequence: the change up to which the collection was filled when it was published."""
        self._collection = collection
        self._published = sequence
        self._scan_rows = scan_rows
        self._held = _Held(sequence)
        self._fresh_rows: tuple[tuple[int, int], Rows] = ((-1, -1), np.zeros(0, np.int64))

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
        queries = checked_queries(queries, state.segments.dimension)
        count = int(np.count_nonzero(allowed))
        k = min(k, count)
        if exact or count <= self._scan_rows or 2 * k + _MORE > MATCHES_MAX:
            return EMBEDDED.search(state, queries, k, allowed=allowed, exact=True)
        fresh = self._fresh(state)
        settled = allowed.copy()
        settled[fresh] = False
        asked = 2 * k + _MORE
        while asked <= MATCHES_MAX:
            try:
                matches = self._collection.search(queries, asked, expression_of(filters))
            except StoreUnavailable:
                self._held.forget(self._published)
                raise
            picks = [
                _Pick.of(state, match, query, settled) for match, query in zip(matches, queries, strict=True)
            ]
            if all(pick.is_enough(k, asked, settled) for pick in picks):
                return _merged(state, queries, k, picks, fresh[allowed[fresh]])
            if all(pick.returned < asked for pick in picks):
                break  # wider finds no more: the expression admits too little of what the mask allows
            asked *= _WIDER
        return EMBEDDED.search(state, queries, k, allowed=allowed, exact=True)

    def keep_up(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Send what changed since the collection was last brought up to date; one process at a time does.

        Repeating it changes nothing, and a kill in the middle is made good by the next call of any process.
        """
        if self._held.newest >= state.sequence:
            return
        try:
            with FileLock(folder.root / _LOCK, timeout=0):
                held = self._collection.sequence()
                if held is None:
                    raise StoreUnavailable(f"the collection {self._collection.name} is gone: publish again")
                if held < state.sequence:
                    rows = [row for row, sequence in state.changed.items() if sequence > held]
                    vectors = state.segments.vectors(rows)
                    self._collection.insert(
                        [
                            entity(row, state.product(row), vector, deleted=not state.live[row])
                            for row, vector in zip(rows, vectors, strict=True)
                        ]
                    )
                    self._collection.note_sequence(state.sequence, state.segments.dimension)
                    held = state.sequence
                self._held.note(held)
        except OSError:
            return  # another process is at it, or the folder is for reading only

    def _fresh(self, state: CatalogueState) -> Rows:
        """Return the rows, sorted, whose last change the collection may not show yet."""
        settled = self._held.settled
        kept_for, rows = self._fresh_rows
        if kept_for != (state.sequence, settled):
            rows = np.array(sorted(row for row, at in state.changed.items() if at > settled), np.int64)
            self._fresh_rows = (state.sequence, settled), rows
        return rows


class _Held:
    """Up to which change the collection holds the journal, and since when: newest now, settled longer."""

    def __init__(self, sequence: int) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, int]] = deque()
        self._settled = self.newest = sequence

    @property
    def settled(self) -> int:
        """Changes up to this one are shown by every search."""
        if self._waiting:
            with self._lock:
                while self._waiting and self._waiting[0][0] <= time.monotonic():
                    self._settled = max(self._settled, self._waiting.popleft()[1])
        return self._settled

    def note(self, sequence: int) -> None:
        """The collection holds every change up to `sequence` now."""
        with self._lock:
            self.newest = max(self.newest, sequence)
            self._waiting.append((time.monotonic() + SETTLED_AFTER_S, sequence))

    def forget(self, published: int) -> None:
        """Trust only what was published: the server may have come back with less."""
        with self._lock:
            self._waiting.clear()
            self._settled = self.newest = published


@dataclass(frozen=True, slots=True)
class _Pick:
    """The matches of one query that are allowed, scored anew. worst: the score of the last match."""

    rows: Rows
    scores: FloatVector
    returned: int
    worst: float

    @classmethod
    def of(cls, state: CatalogueState, match: Match, query: FloatVector, settled: Mask) -> _Pick:
        known = match.rows[(match.rows >= 0) & (match.rows < len(settled))]
        rows = known[settled[known]]
        worst = float(match.scores[-1]) if len(match.scores) else -1.0
        return cls(rows, score_rows(state.segments.vectors(rows), query), len(match.rows), worst)

    def is_enough(self, k: int, asked: int, settled: Mask) -> bool:
        """Whether no row that was not returned could be among the k best, nor tie with them."""
        there = int(np.count_nonzero(settled))
        if len(self.rows) >= there:
            return True
        if len(self.rows) < min(k, there) or not k:
            return False
        kth = float(np.partition(self.scores, len(self.scores) - k)[len(self.scores) - k])
        return self.worst < kth - ROUNDING or self.returned < asked


def _merged(
    state: CatalogueState, queries: FloatMatrix, k: int, picks: list[_Pick], fresh: Rows
) -> Neighbours:
    """Return the k best of what the collection returned and of the rows it may not show yet."""
    vectors = state.segments.vectors(fresh)
    lists = [
        (np.concatenate([pick.rows, fresh]), np.concatenate([pick.scores, score_rows(vectors, query)]))
        for pick, query in zip(picks, queries, strict=True)
    ]
    return merge_top_k(state, lists, k)
