"""Where vectors are searched: the snapshot's own FAISS index, or a Milvus outside the process.

Whatever the store, the answer is the same: the rows allowed by the view's mask, scored by the one scoring
function, equal scores by id. Shape letters: n rows, D dimension, Q queries, K results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vitrine.indexer.arrays import FloatMatrix, Mask
from vitrine.indexer.recipes import Neighbours
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.service.queries.filters import Filters

if TYPE_CHECKING:
    from vitrine.service.queries.view import View


class Searcher(Protocol):
    """Searches one snapshot and what was uploaded since. Thread-safe."""

    name: str

    def search(
        self,
        view: View,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None,
    ) -> Neighbours:
        """Return the k most similar allowed rows of the view, as View.search says.

        allowed: (n,) bool, the truth. filters: what is known of how `allowed` came about, a hint. Raises
        StoreUnavailable.
        """

    def keep_up(self, view: View, folder: IndexFolder) -> None:
        """Bring the changes of the view into the store. Called now and then. Raises StoreUnavailable."""


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
