"""Views of products in memory, searched by brute force, for the tests of queries."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from vitrine.indexer.products.schema import Product
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.state.rules import NO_RULES, Rules
from vitrine.indexer.state.segments import Segments, Uploads
from vitrine.indexer.vectors.scoring import Neighbours
from vitrine.service.queries.view import View

DELETED = dt.datetime(2025, 1, 2, tzinfo=dt.UTC)


@dataclass(frozen=True)
class MemorySnapshot:
    """The parts of a snapshot that queries read."""

    table: Table
    vectors: np.ndarray
    text: TextIndex
    manifest: Any
    confidence: Confidence | None


class BruteForceSearcher:
    """A searcher that compares every allowed row with the query.

    searches: the number of calls so far.
    """

    name = "brute force"

    def __init__(self) -> None:
        self.searches = 0

    def search(
        self, state: CatalogueState, queries: np.ndarray, k: int, *, allowed: Any, exact: bool, filters: Any
    ) -> Neighbours:
        self.searches += 1
        rows = np.flatnonzero(allowed)
        vectors = state.segments.vectors(rows)
        ids = state.ids(rows)
        best_scores, best_rows = [], []
        for query in queries:
            cosines = np.clip(np.vecdot(vectors, query), -1, 1)
            order = sorted(range(len(rows)), key=lambda i: (-cosines[i], ids[i]))[:k]
            best_rows.append(rows[order])
            best_scores.append(cosines[order])
        return Neighbours(
            np.array(best_scores, np.float32), np.array(best_rows, np.int64).reshape(len(queries), -1)
        )

    def sync_changes(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Do nothing: the state holds every change."""


def view_from_products(
    products: Sequence[Product],
    vectors: np.ndarray,
    live: Any = None,
    base: int | None = None,
    deleted_rows: Sequence[int] = (),
    confidence: Confidence | None = None,
    rules: Rules = NO_RULES,
) -> View:
    """Return a view of products and their vectors (n, D).

    live: (n,) bool, default all. base: the number of products in the snapshot, default all; the others are
    uploads. deleted_rows: rows that are deleted in the snapshot itself.
    """
    products = [
        dataclasses.replace(product, deleted_at=DELETED if row in deleted_rows else None)
        for row, product in enumerate(products)
    ]
    if live is None:
        live = [row not in deleted_rows for row in range(len(products))]
    matrix = np.ascontiguousarray(vectors, np.float32)
    table = Table.from_products(products[:base])
    manifest = SimpleNamespace(dimension=matrix.shape[1], snapshot="memory")
    snapshot = MemorySnapshot(table, matrix[:base], TextIndex.build(table), manifest, confidence)
    uploads = Uploads(products[len(table) :], matrix[len(table) :])
    segments = Segments(cast(Snapshot, snapshot), uploads)
    state = CatalogueState(segments, 0, np.asarray(live, bool), {}, {})
    return View(state, BruteForceSearcher(), rules=rules)


def view_with_live(view: View, live: Any) -> View:
    """Return the view after deletions and restorations. live: (n,) bool."""
    return view.with_state(dataclasses.replace(view.state, live=np.asarray(live, bool)))


def search_count(view: View) -> int:
    """Return the number of searches of a view from `view_from_products`."""
    return cast(BruteForceSearcher, view.searcher).searches


def product(
    product_id: str, name: str = "", category: str = "things", group: str | None = None, **attributes: Any
) -> Product:
    """Return a product with the fields that queries read."""
    return Product(product_id, name or product_id, category, group, "x.jpg", "00", 1, 1, None, attributes)
