"""A view without files, over arrays and searched by brute force: what the queries are tested on."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from vitrine.indexer.products.table import Product, Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.state.compiled_rules import Rowed, Rulings
from vitrine.indexer.state.rules import NO_RULES, Rules
from vitrine.indexer.vectors.scoring import Neighbours
from vitrine.service.queries.view import View

DELETED = dt.datetime(2025, 1, 2, tzinfo=dt.UTC)


class ArrayView:
    """The first `base` products are a snapshot's, the others uploads; `born_dead` it had deleted."""

    def __init__(
        self, products: list[Product], vectors: np.ndarray, live: Any, base: int, born_dead: Sequence[int]
    ) -> None:
        products = [
            dataclasses.replace(product, deleted_at=DELETED if row in born_dead else None)
            for row, product in enumerate(products)
        ]
        self.all = products
        self.matrix = np.ascontiguousarray(vectors, np.float32)
        self.live = np.asarray(live, bool)
        parts = [(0, products[:base])] + ([(base, products[base:])] if base < len(products) else [])
        self.tables = tuple((offset, Table.from_products(part)) for offset, part in parts)
        self.texts = tuple((offset, TextIndex.build(table)) for offset, table in self.tables)
        self.categories = tuple(sorted({product.category for product in products}))
        self.category_codes = np.array([self.categories.index(p.category) for p in products], np.int32)
        groups = sorted({p.group for p in products if p.group is not None})
        self.group_codes = np.array([groups.index(p.group) if p.group else -1 for p in products], np.int32)
        self.n, self.dimension = self.matrix.shape
        self.base = base
        self.moved: dict[int, str] = {}
        self.confidence: Confidence | None = None
        self.memo: dict[Hashable, Any] = {}
        self.snapshot_memo: dict[Hashable, Any] = {}
        self.searches = 0
        self.rules: Rules = NO_RULES

    def changed(self, live: Any) -> ArrayView:
        """Return a later view of the same snapshot."""
        born_dead = np.flatnonzero(self.tables[0][1].deleted).tolist()
        later = ArrayView(self.all, self.matrix, live, self.base, born_dead)
        later.snapshot_memo = self.snapshot_memo
        return later

    @property
    def rulings(self) -> Rulings:
        return Rulings.of(self.rules, Rowed(self.tables, self.categories, self.category_codes))

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
        for start in range(0, self.base, size):
            yield start, self.matrix[start : min(start + size, self.base)]
        if self.base < self.n:
            yield self.base, self.matrix[self.base :]

    def search(
        self, queries: np.ndarray, k: int, *, allowed: Any = None, exact: bool = False, filters: Any = None
    ) -> Neighbours:
        self.searches += 1
        rows = np.flatnonzero(self.live if allowed is None else allowed)
        scores, found = [], []
        for query in queries:
            cosines = np.clip(np.vecdot(self.matrix[rows], query), -1, 1)
            order = sorted(range(len(rows)), key=lambda i: (-cosines[i], self.all[rows[i]].id))[:k]
            found.append(rows[order])
            scores.append(cosines[order])
        return Neighbours(np.array(scores, np.float32), np.array(found, np.int64).reshape(len(queries), -1))

    def cached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def cached_for_snapshot(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.snapshot_memo:
            self.snapshot_memo[key] = make()
        return self.snapshot_memo[key]


def view_of(
    products: list[Product],
    vectors: np.ndarray,
    live: Any = None,
    base: int | None = None,
    born_dead: Sequence[int] = (),
) -> View:
    """Return products and their vectors (n, D) as a view; by default all are live and of the snapshot."""
    if live is None:
        live = [row not in born_dead for row in range(len(products))]
    return cast(View, ArrayView(products, vectors, live, len(products) if base is None else base, born_dead))


def later(view: View, live: Any) -> View:
    """Return the view after changes: the same snapshot and uploads, other products live."""
    return cast(View, cast(ArrayView, view).changed(live))


def product(
    product_id: str, name: str = "", category: str = "things", group: str | None = None, **attributes: Any
) -> Product:
    """Return a product with the fields that a query looks at."""
    return Product(product_id, name or product_id, category, group, "x.jpg", "00", 1, 1, None, attributes)
