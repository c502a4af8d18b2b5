"""A MilvusClient in memory, for tests without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

DATA_TYPES = SimpleNamespace(INT64=5, VARCHAR=21, BOOL=1, JSON=23, FLOAT_VECTOR=101)


class FakeClient:
    """The methods of MilvusClient that Vitrine calls. Collections are dictionaries of entities by row."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.collections: dict[str, dict[int, dict[str, Any]]] = {}
        self.aliases: dict[str, str] = {}
        self.index_type = ""
        self.failures_left = 0
        self.calls: list[str] = []
        self.closed_count = 0

    def _count(self, method: str) -> None:
        self.calls.append(method)
        if self.failures_left:
            self.failures_left -= 1
            raise RuntimeError("no route to host\nsecond line")

    def has_collection(self, name: str, **_: Any) -> bool:
        self._count("has_collection")
        return name in self.collections or name in self.aliases

    def list_collections(self, **_: Any) -> list[str]:
        return list(self.collections)

    def create_schema(self, **_: Any) -> Any:
        return SimpleNamespace(add_field=lambda *_, **__: None)

    def create_collection(self, name: str, **_: Any) -> None:
        self.collections[name] = {}

    def drop_collection(self, name: str, **_: Any) -> None:
        del self.collections[name]

    def upsert(self, name: str, entities: list[dict[str, Any]], **_: Any) -> None:
        self._count("upsert")
        self.collections[name] |= {entity["row"]: entity for entity in entities}

    def query(self, name: str, ids: list[int], **_: Any) -> list[dict[str, Any]]:
        return [self.collections[name][row] for row in ids if row in self.collections[name]]

    def prepare_index_params(self, **_: Any) -> Any:
        return SimpleNamespace(add_index=self._add_index)

    def _add_index(self, _field: str, *, index_type: str, **__: Any) -> None:
        self.index_type = index_type

    def flush(self, name: str, **_: Any) -> None: ...

    def create_index(self, name: str, parameters: Any, **_: Any) -> None: ...

    def load_collection(self, name: str, **_: Any) -> None: ...

    def search(self, name: str, *, data: list[Any], limit: int, **_: Any) -> list[list[dict[str, Any]]]:
        live = [entity for entity in self.collections[name].values() if not entity["deleted"]]
        results = []
        for query in data:
            scored = [
                {"row": entity["row"], "distance": float(np.dot(query, entity["vector"]))} for entity in live
            ]
            results.append(sorted(scored, key=lambda hit: -hit["distance"])[:limit])
        return results

    def describe_alias(self, name: str, **_: Any) -> dict[str, str]:
        return {"collection_name": self.aliases[name]}

    def create_alias(self, collection: str, alias: str, **_: Any) -> None:
        self.aliases[alias] = collection

    alter_alias = create_alias

    def close(self) -> None:
        self.closed_count += 1
