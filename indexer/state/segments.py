"""The rows of a catalogue: a snapshot's, then those uploaded since. Ignores what is deleted.

Rows 0..N-1 are the snapshot's, N..N+U-1 the uploads. Shape letters: n = N + U rows, D dimension,
C categories, G groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, Rows
from vitrine.indexer.products.table import Product, Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.snapshot import Snapshot


class Uploads:
    """Products that came in since the snapshot: a small table with its vectors, searched exactly."""

    def __init__(self, products: Sequence[Product], vectors: FloatMatrix) -> None:
        """products: U. vectors: (U, D) float32 in the snapshot's space."""
        self.products = tuple(products)
        self.vectors = vectors
        self.rows = {product.id: row for row, product in enumerate(self.products)}

    @cached_property
    def table(self) -> Table:
        """The products as a table."""
        return Table.from_products(self.products)

    @cached_property
    def text(self) -> TextIndex:
        """The words of their names, ids and categories."""
        return TextIndex.build(self.table)

    def with_product(self, product: Product, vector: FloatMatrix) -> Uploads:
        """Return uploads with one product more; vector: (1, D)."""
        return Uploads([*self.products, product], np.concatenate([self.vectors, vector]))


@dataclass(frozen=True)
class Segments:
    """A snapshot and the uploads beside it, read as one list of rows.

    moved: the category of each row that has another one than its table says.
    """

    snapshot: Snapshot
    uploads: Uploads
    moved: Mapping[int, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """D."""
        return self.snapshot.manifest.dimension

    @property
    def base_rows(self) -> int:
        """N: the rows of the snapshot; later rows are uploads."""
        return len(self.snapshot.table)

    @property
    def n(self) -> int:
        """All rows."""
        return self.base_rows + len(self.uploads.products)

    @cached_property
    def tables(self) -> tuple[tuple[int, Table], ...]:
        """The tables with the row each begins at."""
        base = ((0, self.snapshot.table),)
        return (*base, (self.base_rows, self.uploads.table)) if self.uploads.products else base

    @cached_property
    def texts(self) -> tuple[tuple[int, TextIndex], ...]:
        """The text indexes with the row each begins at."""
        base = ((0, self.snapshot.text),)
        return (*base, (self.base_rows, self.uploads.text)) if self.uploads.products else base

    @cached_property
    def moved_text(self) -> tuple[Rows, TextIndex]:
        """The rows that were moved, and the words they have now; `texts` has their words of before."""
        rows = np.array(sorted(self.moved), np.int64)
        words: list[tuple[str, str, int]] = []
        for offset, table in self.tables:
            here = rows[(rows >= offset) & (rows < offset + len(table))]
            words += zip(*table.columns(("id", "name"), here - offset), here.tolist(), strict=True)
        products = [
            Product(product_id, name, self.moved[row], None, "", "", 0, 0) for product_id, name, row in words
        ]
        return rows, TextIndex.build(Table.from_products(products))

    def row_of(self, product_id: str) -> int | None:
        """Return the row of an id; None for an unknown id."""
        row = self.snapshot.table.row_of(product_id)
        if row is None and product_id in self.uploads.rows:
            return self.base_rows + self.uploads.rows[product_id]
        return row

    def id_at(self, row: int) -> str:
        """Return the id of a row."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows].id
        return self.snapshot.table.id_at(row)

    def product(self, row: int) -> Product:
        """Return one row as an object, its tombstone as its table has it."""
        product = self.as_stored(row)
        return dataclasses.replace(product, category=self.moved[row]) if row in self.moved else product

    def as_stored(self, row: int) -> Product:
        """Return one row as its table has it."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows]
        return self.snapshot.table.product(row)

    def stored_category(self, row: int) -> str:
        """Return the category of a row as its table has it."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows].category
        table = self.snapshot.table
        return table.categories[int(table.category_codes[row])]

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) names, sorted; also of categories whose products are all deleted."""
        return self._categorised[0]

    @property
    def category_codes(self) -> Codes:
        """(n,) index of each row's category in `categories`."""
        return self._categorised[1]

    @cached_property
    def _categorised(self) -> tuple[tuple[str, ...], Codes]:
        names = sorted(
            {name for _, table in self.tables for name in table.categories} | {*self.moved.values()}
        )
        number = {name: code for code, name in enumerate(names)}
        parts = []
        for _, table in self.tables:
            translate = np.array([number[name] for name in table.categories], np.int32)
            parts.append(translate[table.category_codes])
        codes = np.concatenate(parts)
        if not self.moved:
            return tuple(names), codes
        for row, name in self.moved.items():
            codes[row] = number[name]
        used, places = np.unique(codes, return_inverse=True)  # a category that all were moved from is none
        return tuple(names[code] for code in used), places.astype(np.int32)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """(G,) group names by their number in `group_codes`."""
        return tuple(dict.fromkeys(name for _, table in self.tables for name in table.groups))

    @cached_property
    def group_codes(self) -> Codes:
        """(n,) number of each row's group, -1 where a product has none."""
        number = {name: code for code, name in enumerate(self.groups)}
        parts = []
        for _, table in self.tables:
            translate = np.array([*(number[name] for name in table.groups), -1], np.int32)
            parts.append(translate[table.group_codes])
        return np.concatenate(parts)

    def vectors(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> FloatMatrix:
        """Return the vectors of rows: (len(rows), D) float32, unit rows, in the snapshot's space."""
        wanted = np.asarray(rows, np.int64)
        if not self.uploads.products or (wanted < self.base_rows).all():
            return np.asarray(self.snapshot.vectors[wanted], np.float32)
        found = np.empty((len(wanted), self.dimension), np.float32)
        in_base = wanted < self.base_rows
        found[in_base] = self.snapshot.vectors[wanted[in_base]]
        found[~in_base] = self.uploads.vectors[wanted[~in_base] - self.base_rows]
        return found

    def blocks(self, size: int = 8192) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield (first row, (b, D) float32) over all rows, in order; b <= size."""
        for start in range(0, self.base_rows, size):
            yield start, np.asarray(self.snapshot.vectors[start : start + size], np.float32)
        if self.uploads.products:
            yield self.base_rows, self.uploads.vectors
