"""One collection: the rows of one snapshot and the uploads since, searched by inner product.

Entity `row` is row `row` of the snapshot's table; uploads follow in the order of the journal. The entity -1
is no product: it says which changes of the journal the collection holds, and is written last of all.
Shape letters: Q queries, D dimension, m matches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Rows
from vitrine.indexer.milvus.connection import ATTEMPTS, TIMEOUT_S, Connection, data_types
from vitrine.indexer.products.table import Product

STATE_ROW = -1
# What a text field takes; longer texts are not stored, and conditions on them are not sent.
TEXT_MAX_BYTES = 1024
# Milvus answers with at most so many matches of a query.
MATCHES_MAX = 16_384
# Up to so many rows a scan is quick, and finds everything.
FLAT_ROWS = 20_000
_MESSAGE_BYTES = 16 * 2**20
# Searches do not wait until the cluster's clock has passed every write, as "Strong" would have it (0.2 s).
CONSISTENCY = "Bounded"
_SLOW_S = 600.0
_VECTOR = "vector"
_EXACT_INT = 2**53


@dataclass(frozen=True, slots=True)
class Match:
    """What one query matched, best first. rows, scores: (m,), the scores as Milvus computes them."""

    rows: Rows
    scores: FloatVector


def stored_text(value: Any) -> str | None:
    """Return a text as the collection holds it; None for one that cannot be compared there."""
    fits = isinstance(value, str) and value.isprintable() and len(value.encode()) <= TEXT_MAX_BYTES
    return value if fits else None


def stored_number(value: Any) -> float | None:
    """Return a number as the collection holds it; None for one that a float does not hold exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and abs(value) > _EXACT_INT:
        return None
    return float(value) if math.isfinite(value) else None


def stored_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that conditions can be asked of in the store; nulls are left out."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        number = stored_number(value)
        stored = value if isinstance(value, bool) else stored_text(value) if number is None else number
        if stored is not None and stored_text(name) is not None:
            kept[name] = stored
    return kept


def entity(row: int, product: Product, vector: FloatVector, *, deleted: bool) -> dict[str, Any]:
    """Return a product as Milvus stores it. vector: (D,) float32, unit."""
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
    """A collection by its name. Every call raises StoreUnavailable when Milvus does not answer."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Name a collection that may not exist."""
        self._connection = connection
        self.name = name

    def exists(self) -> bool:
        """Whether there is such a collection, finished or not."""
        return bool(self._connection.call("has_collection", self.name))

    def create(self, dimension: int) -> None:
        """Make it, empty."""
        kinds = data_types()
        client_schema = self._connection.call("create_schema", auto_id=False, enable_dynamic_field=False)
        client_schema.add_field("row", kinds.INT64, is_primary=True)
        client_schema.add_field("id", kinds.VARCHAR, max_length=TEXT_MAX_BYTES)
        client_schema.add_field("category", kinds.VARCHAR, max_length=TEXT_MAX_BYTES)
        client_schema.add_field("group", kinds.VARCHAR, max_length=TEXT_MAX_BYTES)
        client_schema.add_field("deleted", kinds.BOOL)
        client_schema.add_field("attributes", kinds.JSON)
        client_schema.add_field(_VECTOR, kinds.FLOAT_VECTOR, dim=dimension)
        self._connection.call("create_collection", self.name, schema=client_schema)

    def insert(self, entities: Sequence[dict[str, Any]]) -> None:
        """Add entities, or replace those of the same rows, in messages that Milvus takes."""
        if not entities:
            return
        size = max(_MESSAGE_BYTES // (4 * len(entities[0][_VECTOR]) + 2 * TEXT_MAX_BYTES), 1)
        for start in range(0, len(entities), size):
            self._connection.call(
                "upsert", self.name, list(entities[start : start + size]), timeout=_SLOW_S, attempts=2
            )

    def finish(self, rows: int) -> None:
        """Index what was inserted, `rows` of them, and bring it into memory: minutes for a million."""
        parameters = self._connection.call("prepare_index_params")
        if rows <= FLAT_ROWS:
            parameters.add_index(_VECTOR, index_type="FLAT", metric_type="IP", params={})
        else:
            how = {"M": 32, "efConstruction": 200}
            parameters.add_index(_VECTOR, index_type="HNSW", metric_type="IP", params=how)
        self._connection.call("flush", self.name, timeout=_SLOW_S)
        self._connection.call("create_index", self.name, parameters, timeout=_SLOW_S)
        self._connection.call("load_collection", self.name, timeout=_SLOW_S)

    def drop(self) -> None:
        """Remove it, if it is there."""
        if self.exists():
            self._connection.call("drop_collection", self.name, timeout=_SLOW_S)

    def sequence(self) -> int | None:
        """Return the last change of the journal that it holds; None for one that was not finished."""
        if not self.exists():
            return None
        found = self._connection.call(
            "query", self.name, ids=[STATE_ROW], output_fields=["attributes"], consistency_level="Strong"
        )
        return int(found[0]["attributes"]["sequence"]) if found else None

    def note_sequence(self, sequence: int, dimension: int) -> None:
        """Record that every change up to `sequence` is in it. Never a match: it counts as deleted."""
        state = {"row": STATE_ROW, "id": "", "category": "", "group": "", "deleted": True}
        vector = np.zeros(dimension, np.float32)
        vector[0] = 1.0
        self.insert([{**state, "attributes": {"sequence": sequence}, _VECTOR: vector}])

    def search(self, queries: FloatMatrix, limit: int, expression: str) -> list[Match]:
        """Return the `limit` best entities that the expression admits, for each query.

        queries: (Q, D). Changes of the last seconds may be missing: bounded staleness, which does not wait
        for the clock of the cluster to tick as strong consistency does.
        """
        found = self._connection.call(
            "search",
            self.name,
            data=list(queries),
            limit=limit,
            filter=expression,
            anns_field=_VECTOR,
            search_params={"metric_type": "IP", "params": {"ef": max(2 * limit, 64)}},
            consistency_level=CONSISTENCY,
        )
        return [_match(hits) for hits in found]


def _match(hits: Iterable[Any]) -> Match:
    pairs = [(hit["row"] if "row" in hit else hit["id"], hit["distance"]) for hit in hits]
    rows = np.array([row for row, _ in pairs], np.int64)
    return Match(rows, np.array([score for _, score in pairs], np.float32))


class Alias:
    """The name under which the live collection is found."""

    def __init__(self, connection: Connection) -> None:
        """Take the alias of the connection's address."""
        self._connection = connection
        self.name = connection.address.collection

    def target(self, *, attempts: int = ATTEMPTS, timeout_s: float = TIMEOUT_S) -> str | None:
        """Return the name of the collection it stands for, None where nothing was published."""
        options: dict[str, Any] = {"attempts": attempts, "timeout": timeout_s}
        if not self._connection.call("has_collection", self.name, **options):
            return None
        found = self._connection.call("describe_alias", self.name, **options)
        return str(found["collection_name"])

    def switch_to(self, collection: str) -> None:
        """Let it stand for another collection, in one step."""
        before = self.target()
        if before == collection:
            return
        method = "create_alias" if before is None else "alter_alias"
        self._connection.call(method, collection, self.name)

    def collections(self) -> dict[str, str]:
        """Return the collections of snapshots that are there: {snapshot: collection}."""
        address = self._connection.address
        names = self._connection.call("list_collections")
        return {snapshot: name for name in names if (snapshot := address.snapshot_of(name))}
