"""Segments: the rows of a snapshot, followed by the products uploaded since. Deletions are ignored here.

Rows 0 to N - 1 are those of the snapshot, rows N to N + U - 1 the uploads. Shape letters: n = N + U rows,
D dimension, C categories, G groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, Rows
from vitrine.indexer.products.schema import Product
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.snapshot import Snapshot


class Uploads:
    """Products uploaded since the snapshot: a small table and its vectors, which is searched exactly."""

    def __init__(self, products: Sequence[Product], vectors: FloatMatrix) -> None:
        """products: U of them. vectors: (U, D) float32, unit rows, in the space of the snapshot."""
        self.products = tuple(products)
        self.vectors = vectors
        self.row_by_id = {product.id: row for row, product in enumerate(self.products)}

    @cached_property
    def table(self) -> Table:
        """The products as a table."""
        return Table.from_products(self.products)

    @cached_property
    def text(self) -> TextIndex:
        """The text index over names, ids and categories."""
        return TextIndex.build(self.table)

    def with_product(self, product: Product, vector: FloatMatrix) -> Uploads:
        """Return the uploads with one more product. vector: (1, D)."""
        return Uploads([*self.products, product], np.concatenate([self.vectors, vector]))


@dataclass(frozen=True)
class Segments:
    """A snapshot and its uploads, read as one sequence of rows.

    moved: the present category of each row that was moved out of the category in its table.
    """

    snapshot: Snapshot
    uploads: Uploads
    moved: Mapping[int, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """The dimension D of the vectors."""
        return self.snapshot.manifest.dimension

    @property
    def base_rows(self) -> int:
        """The number N of rows of the snapshot; later rows are uploads."""
        return len(self.snapshot.table)

    @property
    def n(self) -> int:
        """The number n of rows."""
        return self.base_rows + len(self.uploads.products)

    @cached_property
    def tables(self) -> tuple[tuple[int, Table], ...]:
        """The tables, each with its first row."""
        base = ((0, self.snapshot.table),)
        return (*base, (self.base_rows, self.uploads.table)) if self.uploads.products else base

    @cached_property
    def texts(self) -> tuple[tuple[int, TextIndex], ...]:
        """The text indexes, each with its first row; moved rows have the category in their table."""
        base = ((0, self.snapshot.text),)
        return (*base, (self.base_rows, self.uploads.text)) if self.uploads.products else base

    @cached_property
    def moved_text(self) -> tuple[Rows, TextIndex]:
        """The moved rows, and their text index with the new categories."""
        rows = np.array(sorted(self.moved), np.int64)
        fields: list[tuple[str, str, int]] = []
        for offset, table in self.tables:
            in_table = rows[(rows >= offset) & (rows < offset + len(table))]
            fields += zip(*table.columns(("id", "name"), in_table - offset), in_table.tolist(), strict=True)
        products = [
            Product(product_id, name, self.moved[row], None, "", "", 0, 0) for product_id, name, row in fields
        ]
        return rows, TextIndex.build(Table.from_products(products))

    def row_of(self, product_id: str) -> int | None:
        """Return the row of an id, or None."""
        row = self.snapshot.table.row_of(product_id)
        if row is None and product_id in self.uploads.row_by_id:
            return self.base_rows + self.uploads.row_by_id[product_id]
        return row

    def id_at(self, row: int) -> str:
        """Return the id of a row."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows].id
        return self.snapshot.table.id_at(row)

    def product(self, row: int) -> Product:
        """Return the product of a row, with the category it was moved to."""
        product = self.stored_product(row)
        return dataclasses.replace(product, category=self.moved[row]) if row in self.moved else product

    def stored_product(self, row: int) -> Product:
        """Return the product of a row as its table has it."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows]
        return self.snapshot.table.product(row)

    def stored_category(self, row: int) -> str:
        """Return the category of a row in its table."""
        if row >= self.base_rows:
            return self.uploads.products[row - self.base_rows].category
        table = self.snapshot.table
        return table.categories[int(table.category_codes[row])]

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) category names, sorted, including categories whose products are all deleted."""
        return self._categories_and_codes[0]

    @property
    def category_codes(self) -> Codes:
        """(n,) the category of each row, an index into `categories`."""
        return self._categories_and_codes[1]

    @cached_property
    def _categories_and_codes(self) -> tuple[tuple[str, ...], Codes]:
        names = sorted(
            {name for _, table in self.tables for name in table.categories} | {*self.moved.values()}
        )
        code_by_name = {name: code for code, name in enumerate(names)}
        parts = []
        for _, table in self.tables:
            codes_of_table = np.array([code_by_name[name] for name in table.categories], np.int32)
            parts.append(codes_of_table[table.category_codes])
        codes = np.concatenate(parts)
        if not self.moved:
            return tuple(names), codes
        for row, name in self.moved.items():
            codes[row] = code_by_name[name]
        # Categories that all products were moved out of are dropped.
        used, new_codes = np.unique(codes, return_inverse=True)
        return tuple(names[code] for code in used), new_codes.astype(np.int32)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """(G,) group names, in the order of `group_codes`."""
        return tuple(dict.fromkeys(name for _, table in self.tables for name in table.groups))

    @cached_property
    def group_codes(self) -> Codes:
        """(n,) the group of each row, an index into `groups`, or -1 for none."""
        code_by_name = {name: code for code, name in enumerate(self.groups)}
        parts = []
        for _, table in self.tables:
            codes_of_table = np.array([*(code_by_name[name] for name in table.groups), -1], np.int32)
            parts.append(codes_of_table[table.group_codes])
        return np.concatenate(parts)

    def vectors(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> FloatMatrix:
        """Return the vectors of rows, (len(rows), D) float32, unit rows, in the space of the snapshot."""
        rows = np.asarray(rows, np.int64)
        if not self.uploads.products or (rows < self.base_rows).all():
            return np.asarray(self.snapshot.vectors[rows], np.float32)
        vectors = np.empty((len(rows), self.dimension), np.float32)
        in_snapshot = rows < self.base_rows
        vectors[in_snapshot] = self.snapshot.vectors[rows[in_snapshot]]
        vectors[~in_snapshot] = self.uploads.vectors[rows[~in_snapshot] - self.base_rows]
        return vectors

    def blocks(self, size: int = 8192) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield all rows in order, as (first row, (b, D) float32 vectors).

        size: the greatest b; the uploads are one block of any size.
        """
        for start in range(0, self.base_rows, size):
            yield start, np.asarray(self.snapshot.vectors[start : start + size], np.float32)
        if self.uploads.products:
            yield self.base_rows, self.uploads.vectors
