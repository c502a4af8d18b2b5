"""Vector stores of the service: the snapshot's own FAISS index, or a Milvus server.

All stores give the same answers: the rows allowed by the mask, scored by the same function, equal scores
ordered by id.
"""

from __future__ import annotations

from typing import Protocol

from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.service.queries.searcher import Searcher


class Store(Protocol):
    """A vector store: decides which snapshot is current, and opens searchers."""

    def current_name(self, folder: IndexFolder) -> str | None:
        """Return the name of the snapshot to serve, None while there is none. Raises SnapshotError."""

    def open_searcher(self, snapshot: Snapshot) -> Searcher:
        """Return the searcher of a snapshot. Raises SnapshotError when the store does not have it."""

    def close(self) -> None:
        """Close all connections."""


def open_store(uri: str) -> Store:
    """Return the store of a setting: "faiss", or a milvus:// URI. Does not connect. Raises InputError."""
    if uri == "faiss":
        from vitrine.service.stores.embedded import EmbeddedStore

        return EmbeddedStore()
    from vitrine.service.stores.milvus import MilvusStore

    return MilvusStore.from_uri(uri)
