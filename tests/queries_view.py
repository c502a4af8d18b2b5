"""A View without files: what the queries need of one, over arrays, searched by brute force."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import numpy as np

from indexer.recipes import Neighbours
from indexer.table import Product, Table
from indexer.text_index import TextIndex


class ArrayView:
    """rows: the products; the first `base` of them are a snapshot's, the others uploads."""

    def __init__(
        self, products: list[Product], vectors: np.ndarray, live: Any = None, base: int = -1
    ) -> None:
        self.all = products
        self.matrix = np.ascontiguousarray(vectors, np.float32)
        self.live = np.ones(len(products), bool) if live is None else np.asarray(live, bool)
        base = len(products) if base < 0 else base
        parts = [(0, products[:base])] + ([(base, products[base:])] if base < len(products) else [])
        self.tables = tuple((offset, Table.from_products(part)) for offset, part in parts)
        self.texts = tuple((offset, TextIndex.build(table)) for offset, table in self.tables)
        self.categories = tuple(sorted({product.category for product in products}))
        self.category_codes = np.array([self.categories.index(p.category) for p in products], np.int32)
        groups = sorted({p.group for p in products if p.group is not None})
        self.group_codes = np.array([groups.index(p.group) if p.group else -1 for p in products], np.int32)
        self.n, self.dimension = self.matrix.shape
        self.memo: dict[Hashable, Any] = {}

    def row_of(self, product_id: str) -> int | None:
        return next((row for row, product in enumerate(self.all) if product.id == product_id), None)

    def id_at(self, row: int) -> str:
        return self.all[row].id

    def ids(self, rows: Iterable[int]) -> list[str]:
        return [self.all[int(row)].id for row in rows]

    def product(self, row: int) -> Product:
        return self.all[row]

    def vectors(self, rows: Any) -> np.ndarray:
        return self.matrix[np.asarray(rows, np.int64)]

    def blocks(self, size: int = 8192) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, self.n, size):
            yield start, self.matrix[start : start + size]

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        allowed: Any = None,
        exact: bool = False,
        filters: Any = None,
    ) -> Neighbours:
        mask = self.live if allowed is None else allowed
        rows = np.flatnonzero(mask)
        scores, found = [], []
        for query in queries:
            cosines = np.clip(np.einsum("nd,d->n", self.matrix[rows], query), -1, 1)
            order = sorted(range(len(rows)), key=lambda place: (-cosines[place], self.all[rows[place]].id))[
                :k
            ]
            found.append(rows[order])
            scores.append(cosines[order])
        return Neighbours(np.array(scores, np.float32), np.array(found, np.int64))

    def cached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    cached_for_snapshot = cached
