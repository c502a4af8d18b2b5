"""Publishing a snapshot to a vector store: a collection of its own, then one switch of the alias."""

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

BLOCK_ROWS = 1024


@dataclass(frozen=True)
class PublishReport:
    """What publishing did. loaded: products sent, 0 when the collection was there already."""

    snapshot: str
    store: str
    collection: str
    products: int
    loaded: int
    dropped: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `publish --json` prints them."""
        return dataclasses.asdict(self)


def publish_to_store(folder: IndexFolder, address: StoreAddress, progress: Progress) -> PublishReport:
    """Bring the live snapshot of a folder into a store and let its alias stand for it.

    A snapshot that is there already, as after a rollback, costs the switch only. Collections of snapshots
    that the folder no longer has are dropped. Changes since the snapshot are sent by the service that finds
    the collection. Raises SnapshotError, StoreUnavailable; the alias then stands for what it did.
    """
    started = time.monotonic()
    snapshot = folder.open()
    connection = Connection(address)
    alias, collection = Alias(connection), Collection(connection, address.collection_name(snapshot.name))
    loaded = 0
    try:
        with folder.publishing():
            if collection.sequence() is None:
                loaded = _load(collection, snapshot, progress)
            alias.switch_to(collection.name)
            kept = {snapshot.name, *folder.snapshot_names()}
            old = {name: found for name, found in alias.collections().items() if name not in kept}
            for name in old.values():
                Collection(connection, name).drop()
    finally:
        connection.close()
    products, seconds = len(snapshot.table), round(time.monotonic() - started, 3)
    return PublishReport(snapshot.name, str(address), collection.name, products, loaded, sorted(old), seconds)


def _load(collection: Collection, snapshot: Snapshot, progress: Progress) -> int:
    """Fill a collection from nothing; one that an earlier try left unfinished is dropped first."""
    collection.drop()
    table, deleted = snapshot.table, snapshot.table.deleted
    collection.create(snapshot.manifest.dimension)
    progress.start(len(table), f"products into {collection.name}")
    for start in range(0, len(table), BLOCK_ROWS):
        vectors = np.asarray(snapshot.vectors[start : start + BLOCK_ROWS], np.float32)
        collection.insert(
            [
                to_entity(row, table.product(row), vector, deleted=bool(deleted[row]))
                for row, vector in enumerate(vectors, start)
            ]
        )
        progress.advance(len(vectors))
    collection.finish(len(table))
    collection.record_sequence(snapshot.manifest.uploads_sequence, snapshot.manifest.dimension)
    progress.done()
    return len(table)
