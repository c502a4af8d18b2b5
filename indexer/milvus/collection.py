"""Milvus collections: the rows of one snapshot and later uploads, searched by inner product.

The primary key `row` is the row of the snapshot's table; uploads follow in the order of the journal. Row -1
is not a product: it stores the journal sequence that the collection contains, and is written last. Shape
letters: Q queries, D dimension, m matches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Rows
from vitrine.indexer.milvus.connection import ATTEMPTS, TIMEOUT_S, Connection, data_types
from vitrine.indexer.products.schema import Product

STATE_ROW = -1
# Maximum length of a text field. Longer texts are not stored, and conditions on them are not sent.
TEXT_MAX_BYTES = 1024
# Maximum matches of a query that Milvus returns.
MATCHES_MAX = 16_384
# Up to this many rows a flat index is fast, and it is exact.
FLAT_ROWS = 20_000
_MESSAGE_MAX_BYTES = 16 * 2**20
# "Strong" would make each search wait until the cluster's clock has passed every write (0.2 s).
CONSISTENCY = "Bounded"
_SLOW_TIMEOUT_S = 600.0
_VECTOR = "vector"
# A double represents every integer up to this one exactly.
_EXACT_INT_MAX = 2**53


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches of one query, best first. rows and scores: (m,); the scores are those of Milvus."""

    rows: Rows
    scores: FloatVector


def stored_text(value: Any) -> str | None:
    """Return a value as a text field stores it; None for a value that cannot be stored as text."""
    is_storable = isinstance(value, str) and value.isprintable() and len(value.encode()) <= TEXT_MAX_BYTES
    return value if is_storable else None


def stored_number(value: Any) -> float | None:
    """Return a value as a number field stores it; None if it is no number or not exact as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and abs(value) > _EXACT_INT_MAX:
        return None
    return float(value) if math.isfinite(value) else None


def stored_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that conditions can refer to in the store; nulls are left out."""
    storable: dict[str, Any] = {}
    for name, value in attributes.items():
        number = stored_number(value)
        stored = value if isinstance(value, bool) else stored_text(value) if number is None else number
        if stored is not None and stored_text(name) is not None:
            storable[name] = stored
    return storable


def to_entity(row: int, product: Product, vector: FloatVector, *, deleted: bool) -> dict[str, Any]:
    """Return a product as a Milvus entity. vector: (D,) float32, unit length."""
    return {
        "row": row,
        "id": product.id,
        "category": stored_text(product.category) or "",
        "group": stored_text(product.group) or "",
        "deleted": deleted,
        "attributes": stored_attributes(product.attributes),
        _VECTOR: vector,
    }


class Collection:
    """A collection of a Milvus server. All methods raise StoreUnavailable if the server does not answer."""

    def __init__(self, connection: Connection, name: str) -> None:
        """name: of the collection, which need not exist."""
        self._connection = connection
        self.name = name

    def exists(self) -> bool:
        """Return True if the collection exists, complete or not."""
        return bool(self._connection.call("has_collection", self.name))

    def create(self, dimension: int) -> None:
        """Create the collection, without entities. dimension: of the vectors."""
        types = data_types()
        schema = self._connection.call("create_schema", auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", types.INT64, is_primary=True)
        schema.add_field("id", types.VARCHAR, max_length=TEXT_MAX_BYTES)
        schema.add_field("category", types.VARCHAR, max_length=TEXT_MAX_BYTES)
        schema.add_field("group", types.VARCHAR, max_length=TEXT_MAX_BYTES)
        schema.add_field("deleted", types.BOOL)
        schema.add_field("attributes", types.JSON)
        schema.add_field(_VECTOR, types.FLOAT_VECTOR, dim=dimension)
        self._connection.call("create_collection", self.name, schema=schema)

    def insert(self, entities: Sequence[dict[str, Any]]) -> None:
        """Add entities, or replace those of the same rows, in messages of a size that Milvus accepts."""
        if not entities:
            return
        batch_size = max(_MESSAGE_MAX_BYTES // (4 * len(entities[0][_VECTOR]) + 2 * TEXT_MAX_BYTES), 1)
        for start in range(0, len(entities), batch_size):
            batch = list(entities[start : start + batch_size])
            self._connection.call("upsert", self.name, batch, timeout=_SLOW_TIMEOUT_S, attempts=2)

    def load(self, rows: int) -> None:
        """Build the index and load the collection into memory: minutes for a million rows.

        rows: number of inserted entities.
        """
        parameters = self._connection.call("prepare_index_params")
        if rows <= FLAT_ROWS:
            parameters.add_index(_VECTOR, index_type="FLAT", metric_type="IP", params={})
        else:
            graph = {"M": 32, "efConstruction": 200}
            parameters.add_index(_VECTOR, index_type="HNSW", metric_type="IP", params=graph)
        self._connection.call("flush", self.name, timeout=_SLOW_TIMEOUT_S)
        self._connection.call("create_index", self.name, parameters, timeout=_SLOW_TIMEOUT_S)
        self._connection.call("load_collection", self.name, timeout=_SLOW_TIMEOUT_S)

    def drop(self) -> None:
        """Drop the collection if it exists."""
        if self.exists():
            self._connection.call("drop_collection", self.name, timeout=_SLOW_TIMEOUT_S)

    def read_sequence(self) -> int | None:
        """Return the journal sequence that the collection contains; None if it is missing or incomplete."""
        if not self.exists():
            return None
        entities = self._connection.call(
            "query", self.name, ids=[STATE_ROW], output_fields=["attributes"], consistency_level="Strong"
        )
        return int(entities[0]["attributes"]["sequence"]) if entities else None

    def record_sequence(self, sequence: int, dimension: int) -> None:
        """Record that the collection contains all changes up to `sequence`.

        The state entity is marked as deleted, so that it never matches.
        """
        state = {"row": STATE_ROW, "id": "", "category": "", "group": "", "deleted": True}
        vector = np.zeros(dimension, np.float32)
        vector[0] = 1.0
        self.insert([{**state, "attributes": {"sequence": sequence}, _VECTOR: vector}])

    def search(self, queries: FloatMatrix, limit: int, expression: str) -> list[Matches]:
        """Return the `limit` best entities that match the expression, for each query.

        queries: (Q, D) float32. expression: a Milvus filter. Changes of the last seconds may be missing (see
        CONSISTENCY).
        """
        results = self._connection.call(
            "search",
            self.name,
            data=list(queries),
            limit=limit,
            filter=expression,
            anns_field=_VECTOR,
            search_params={"metric_type": "IP", "params": {"ef": max(2 * limit, 64)}},
            consistency_level=CONSISTENCY,
        )
        return [_to_matches(hits) for hits in results]


def _to_matches(hits: Iterable[Any]) -> Matches:
    pairs = [(hit["row"] if "row" in hit else hit["id"], hit["distance"]) for hit in hits]
    rows = np.array([row for row, _ in pairs], np.int64)
    return Matches(rows, np.array([score for _, score in pairs], np.float32))


class Alias:
    """The alias that names the collection in use."""

    def __init__(self, connection: Connection) -> None:
        """Use the alias in the address of the connection."""
        self._connection = connection
        self.name = connection.address.collection

    def target(self, *, attempts: int = ATTEMPTS, timeout_s: float = TIMEOUT_S) -> str | None:
        """Return the name of the collection behind the alias, None if nothing was published."""
        options: dict[str, Any] = {"attempts": attempts, "timeout": timeout_s}
        if not self._connection.call("has_collection", self.name, **options):
            return None
        description = self._connection.call("describe_alias", self.name, **options)
        return str(description["collection_name"])

    def switch_to(self, collection: str) -> None:
        """Point the alias to another collection, atomically."""
        before = self.target()
        if before == collection:
            return
        method = "create_alias" if before is None else "alter_alias"
        self._connection.call(method, collection, self.name)

    def collections(self) -> dict[str, str]:
        """Return the collections of snapshots in the store, by name of the snapshot."""
        address = self._connection.address
        names = self._connection.call("list_collections")
        return {snapshot: name for name in names if (snapshot := address.snapshot_name(name))}
