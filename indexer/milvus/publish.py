"""Publishing to Milvus: load a snapshot into a collection of its own, then switch the alias to it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.collection import Alias, Collection, to_entity
from vitrine.indexer.milvus.connection import Connection
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot

_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class PublishReport:
    """Result of publishing. loaded: products sent, 0 if the collection existed already.

    The field names are those of `publish --json`.
    """

    snapshot: str
    store: str
    collection: str
    products: int
    loaded: int
    dropped: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `publish --json` prints."""
        return dataclasses.asdict(self)


def publish_to_store(folder: IndexFolder, address: StoreAddress, progress: Progress) -> PublishReport:
    """Load the current snapshot of a folder into a store and switch the alias to it.

    If the store has the snapshot already, as after a rollback, only the alias is switched. Collections of
    snapshots that the folder no longer has are dropped. Later changes are sent by the service. Raises
    SnapshotError, StoreUnavailable; the alias is then unchanged.
    """
    started = time.monotonic()
    snapshot = folder.open()
    connection = Connection(address)
    alias, collection = Alias(connection), Collection(connection, address.collection_name(snapshot.name))
    loaded = 0
    try:
        with folder.publishing():
            if collection.read_sequence() is None:
                loaded = _load(collection, snapshot, progress)
            alias.switch_to(collection.name)
            published = {snapshot.name, *folder.snapshot_names()}
            collections = alias.collections()
            dropped = sorted(collections.keys() - published)
            for name in dropped:
                Collection(connection, collections[name]).drop()
    finally:
        connection.close()
    products, seconds = len(snapshot.table), round(time.monotonic() - started, 3)
    return PublishReport(snapshot.name, str(address), collection.name, products, loaded, dropped, seconds)


def _load(collection: Collection, snapshot: Snapshot, progress: Progress) -> int:
    """Fill a new collection; one that an earlier attempt left incomplete is dropped first."""
    collection.drop()
    table, deleted = snapshot.table, snapshot.table.deleted
    collection.create(snapshot.manifest.dimension)
    progress.start(len(table), f"products into {collection.name}")
    for start in range(0, len(table), _BLOCK_ROWS):
        vectors = np.asarray(snapshot.vectors[start : start + _BLOCK_ROWS], np.float32)
        collection.insert(
            [
                to_entity(row, table.product(row), vector, deleted=bool(deleted[row]))
                for row, vector in enumerate(vectors, start)
            ]
        )
        progress.advance(len(vectors))
    collection.load(len(table))
    collection.record_sequence(snapshot.manifest.uploads_sequence, snapshot.manifest.dimension)
    progress.done()
    return len(table)
