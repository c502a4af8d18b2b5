"""Vector stores of the service: the snapshot's own FAISS index, or a Milvus outside the process.

Every store gives the same answers: the rows allowed by the view's mask, scored by the one scoring function,
equal scores by id.
"""

from __future__ import annotations

from typing import Protocol

from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.service.queries.searcher import Searcher


class Store(Protocol):
    """Opens searchers, and says which snapshot is live."""

    def live_name(self, folder: IndexFolder) -> str | None:
        """Return the snapshot that is to be served, None while there is none. Raises SnapshotError."""

    def attach(self, snapshot: Snapshot) -> Searcher:
        """Return the searcher of a snapshot. Raises SnapshotError when the store does not have it."""

    def close(self) -> None:
        """Give connections back."""


def open_store(uri: str) -> Store:
    """Return the store of a setting: "faiss", or a milvus:// URI. Connects to nothing. Raises InputError."""
    if uri == "faiss":
        from vitrine.service.stores.embedded import EmbeddedStore

        return EmbeddedStore()
    from vitrine.service.stores.milvus import MilvusStore

    return MilvusStore.of(uri)
