"""The product table of a snapshot: columns, look-ups by id, and changed copies.

Shape letters: N rows, n selected rows, C categories, G groups.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.schema import CORE_COLUMNS, CORE_SCHEMA, Product

# Up to this many rows are read value by value: Arrow's `take` has a fixed cost of about as many reads.
_MAX_SCALAR_READS = 24


class Table:
    """Immutable product table of N rows; row i describes vector i. Thread-safe."""

    def __init__(self, arrow: pa.Table) -> None:
        """Raise SnapshotCorrupt if a core column is missing or has another type."""
        for column in CORE_SCHEMA:
            if column.name not in arrow.column_names or arrow.schema.field(column.name).type != column.type:
                raise SnapshotCorrupt(f"the table has no column {column.name!r} of type {column.type}")
        self.arrow = arrow.combine_chunks()
        self.attribute_names = tuple(name for name in arrow.column_names if name not in CORE_COLUMNS)
        self._columns = {name: _as_single_array(self.arrow.column(name)) for name in arrow.column_names}

    @classmethod
    def read(cls, path: Path) -> Table:
        """Open a table.parquet. Raises SnapshotCorrupt if it cannot be read."""
        try:
            # pq.read_table would import pandas if it is installed.
            with pq.ParquetFile(path, memory_map=True) as file:
                return cls(file.read())
        except (pa.ArrowException, OSError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable Parquet table: {error}") from error

    @classmethod
    def from_products(cls, products: Sequence[Product]) -> Table:
        """Build a table from Product records; row numbers follow their order."""
        core = {
            "row": range(len(products)),
            "id": [p.id for p in products],
            "name": [p.name for p in products],
            "category": [p.category for p in products],
            "group": [p.group for p in products],
            "image": [p.image for p in products],
            "sha256": [p.sha256 for p in products],
            "width": [p.width_px for p in products],
            "height": [p.height_px for p in products],
            "deleted_at": [p.deleted_at for p in products],
        }
        arrays = [pa.array(core[column.name], column.type) for column in CORE_SCHEMA]
        names = list(CORE_SCHEMA.names)
        for name in dict.fromkeys(name for p in products for name in p.attributes):
            arrays.append(_attribute_array([p.attributes.get(name) for p in products]))
            names.append(name)
        return cls(pa.Table.from_arrays(arrays, names=names))

    def write(self, path: Path) -> None:
        """Write table.parquet (zstd; strings are dictionary-encoded where that is smaller)."""
        pq.write_table(self.arrow, path, compression="zstd", row_group_size=131_072)

    def __len__(self) -> int:
        """Return N."""
        return int(self.arrow.num_rows)

    @cached_property
    def id_order(self) -> Rows:
        """(N,) rows sorted by id (code points), which is also the order of rows with equal scores."""
        order: Rows = pc.sort_indices(self._columns["id"]).to_numpy().astype(np.int64)
        return order

    @cached_property
    def id_rank(self) -> Rows:
        """(N,) rank of each row in the order of ids: the inverse of `id_order`."""
        rank = np.empty(len(self), np.int64)
        rank[self.id_order] = np.arange(len(self))
        return rank

    def row_of(self, product_id: str) -> int | None:
        """Return the row of an id, or None. A binary search, so no dictionary of N strings is kept."""
        key, order, ids = product_id.encode("utf-8", "surrogatepass"), self.id_order, self._encoded_ids
        rank = bisect_left(order, key, key=ids.__getitem__)
        if rank < len(order) and ids[order[rank]] == key:
            return int(order[rank])
        return None

    @cached_property
    def _encoded_ids(self) -> _Utf8Column:
        return _Utf8Column(self._columns["id"])

    def rows_of(self, ids: Sequence[str]) -> Rows:
        """Return the (n,) rows of n ids, -1 for an unknown id, in one pass over the table."""
        indices = pc.index_in(pa.array(ids, pa.string()), value_set=self._columns["id"])
        rows: Rows = indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return rows

    def id_at(self, row: int) -> str:
        """Return the id of a row."""
        return str(self._columns["id"][row].as_py())

    def ids(self, rows: Iterable[int] | None = None) -> list[str]:
        """Return the ids of the given rows, in their order; of all rows by default."""
        column = self._columns["id"]
        if rows is None:
            return list(column.to_pylist())
        return [column[int(row)].as_py() for row in rows]

    def column(self, name: str) -> list[Any]:
        """Return a whole column as N Python values. Meant for small columns."""
        return list(self._columns[name].to_pylist())

    def columns(self, names: Sequence[str], rows: Rows) -> list[list[Any]]:
        """Return n Python values of each named column, those at the n `rows`."""
        if len(rows) <= _MAX_SCALAR_READS:
            row_list = rows.tolist()
            return [[self._columns[name][row].as_py() for row in row_list] for name in names]
        indices = pa.array(rows, pa.int64())
        return [self._columns[name].take(indices).to_pylist() for name in names]

    def product(self, row: int) -> Product:
        """Return one row as a Product. Raises IndexError outside 0..N-1."""
        cells = {name: column[row].as_py() for name, column in self._columns.items()}
        return Product(
            id=cells["id"],
            name=cells["name"],
            category=cells["category"],
            group=cells["group"],
            image=cells["image"],
            sha256=cells["sha256"],
            width_px=cells["width"],
            height_px=cells["height"],
            deleted_at=cells["deleted_at"],
            attributes={name: cells[name] for name in self.attribute_names},
        )

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """(C,) category names, sorted."""
        return tuple(sorted(self._columns["category"].unique().to_pylist()))

    @property
    def category_count(self) -> int:
        """Number of categories, without the empty name of products that have none."""
        return sum(map(bool, self.categories))

    @cached_property
    def category_codes(self) -> Codes:
        """(N,) index of each row's category in `categories`."""
        names = pa.array(self.categories, pa.string())
        return _int32(pc.index_in(self._columns["category"], value_set=names))

    @cached_property
    def group_codes(self) -> Codes:
        """(N,) index of each row's group in `groups`, -1 for a product without a group."""
        return self._encoded_groups[1]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """(G,) group names in the order of their first rows."""
        return tuple(self._encoded_groups[0])

    @cached_property
    def _encoded_groups(self) -> tuple[list[str], Codes]:
        return encode_strings(self._columns["group"])

    @cached_property
    def deleted(self) -> Mask:
        """(N,) True for products that were deleted when the snapshot was made."""
        mask: Mask = self._columns["deleted_at"].is_valid().to_numpy(zero_copy_only=False)
        return mask

    def tombstones(self) -> dict[str, dt.datetime]:
        """Return the deletion time of each deleted product, by id."""
        stamps = self._columns["deleted_at"]
        return {self.id_at(row): stamps[row].as_py() for row in np.flatnonzero(self.deleted).tolist()}

    def attribute(self, name: str) -> pa.Array:
        """Return one attribute column as an Arrow array. Raises KeyError for an unknown name."""
        if name not in self.attribute_names:
            raise KeyError(name)
        return self._columns[name]

    def drop_rows(self, rows: Rows) -> Table:
        """Return a copy without the given rows; the others keep their order and are renumbered from 0."""
        remaining = np.setdiff1d(np.arange(len(self)), rows)
        table = Table(self.arrow.take(pa.array(remaining)))
        return table._with_column("row", list(range(len(remaining))))

    def with_deletions(self, deleted_at: Mapping[int, dt.datetime | None]) -> Table:
        """Return a copy with other tombstones. deleted_at: by row; None restores a product."""
        stamps = self._columns["deleted_at"].to_pylist()
        for row, stamp in deleted_at.items():
            stamps[row] = stamp
        return self._with_column("deleted_at", stamps)

    def with_categories(self, categories: Mapping[int, str]) -> Table:
        """Return a copy with other categories. categories: names by row."""
        if not categories:
            return self
        names = self._columns["category"].to_pylist()
        for row, name in categories.items():
            names[row] = name
        return self._with_column("category", names)

    def _with_column(self, name: str, values: list[Any]) -> Table:
        position = self.arrow.column_names.index(name)
        column = CORE_SCHEMA.field(name)
        return Table(self.arrow.set_column(position, column, pa.array(values, column.type)))


class _Utf8Column:
    """UTF-8 values of a text column without nulls, read from Arrow's buffers.

    That is faster than creating Arrow scalars. UTF-8 bytes sort in the order of code points.
    """

    def __init__(self, array: pa.Array) -> None:
        """array: (N,) of pa.string()."""
        _, offsets, data = array.buffers()
        self._offsets = np.frombuffer(offsets or bytes(4), np.int32)[array.offset :]
        self._data = memoryview(data or b"")

    def __getitem__(self, row: int) -> bytes:
        """Return the value of a row."""
        return bytes(self._data[self._offsets[row] : self._offsets[row + 1]])


def _as_single_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 0:
        return pa.array([], column.type)
    array = column.chunk(0)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def encode_strings(column: pa.Array | pa.ChunkedArray) -> tuple[list[str], Codes]:
    """Return the distinct values of N strings, and the (N,) index of each string among them, -1 for null."""
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_pylist(), _int32(encoded.indices.fill_null(-1))


def _int32(array: pa.Array) -> Codes:
    codes: Codes = array.to_numpy(zero_copy_only=False).astype(np.int32)
    return codes


def _attribute_array(values: list[Any]) -> pa.Array:
    """Infer the type of a column; values of more than one type become strings."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
