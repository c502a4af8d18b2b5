"""The product table of a snapshot: columns, look-ups and conditions. Knows nothing of vectors or of HTTP.

With `source` the only importer of pyarrow. Shape letters: N rows, n asked rows, C categories, G groups.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import SnapshotCorrupt

TIMESTAMP = pa.timestamp("us", tz="UTC")
CORE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("image", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("deleted_at", TIMESTAMP),
    ]
)
RESERVED = frozenset(CORE_SCHEMA.names)
# Up to so many rows are read value by value: Arrow's way of taking many costs as much to begin with.
_FEW_ROWS = 24


@dataclass(frozen=True, slots=True)
class Product:
    """One row: one picture of one thing for sale. `image` is an absolute path or a URL."""

    id: str
    name: str
    category: str
    group: str | None
    image: str
    sha256: str
    width_px: int
    height_px: int
    deleted_at: dt.datetime | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Table:
    """An immutable product table of N rows; row i is vector i. Thread-safe: it is only read."""

    def __init__(self, arrow: pa.Table) -> None:
        """Raise SnapshotCorrupt when a core column is missing or has another type."""
        for column in CORE_SCHEMA:
            if column.name not in arrow.column_names or arrow.schema.field(column.name).type != column.type:
                raise SnapshotCorrupt(f"the table has no column {column.name!r} of type {column.type}")
        self.arrow = arrow.combine_chunks()
        self.attribute_names = tuple(name for name in arrow.column_names if name not in RESERVED)
        self._columns = {name: _one_chunk(self.arrow.column(name)) for name in arrow.column_names}

    @classmethod
    def read(cls, path: Path) -> Table:
        """Open a table.parquet. Raises SnapshotCorrupt when it is not one."""
        try:
            with pq.ParquetFile(path, memory_map=True) as file:  # pq.read_table would import pandas, if there
                return cls(file.read())
        except (pa.ArrowException, OSError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable Parquet table: {error}") from error

    @classmethod
    def from_products(cls, products: Sequence[Product]) -> Table:
        """Build a table from product objects; row numbers follow their order."""
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
        """Write table.parquet (zstd; strings as dictionaries where that is smaller)."""
        pq.write_table(self.arrow, path, compression="zstd", row_group_size=131_072)

    def __len__(self) -> int:
        """Return N."""
        return int(self.arrow.num_rows)

    @cached_property
    def id_order(self) -> Rows:
        """(N,) rows sorted by id (code-point order, the order of ties)."""
        order: Rows = pc.sort_indices(self._columns["id"]).to_numpy().astype(np.int64)
        return order

    @cached_property
    def id_rank(self) -> Rows:
        """(N,) the place of each row when sorted by id: how equal scores are ordered."""
        rank = np.empty(len(self), np.int64)
        rank[self.id_order] = np.arange(len(self))
        return rank

    def row_of(self, product_id: str) -> int | None:
        """Return the row of an id, or None. Binary search: no dictionary of N strings is kept."""
        wanted, order, ids = product_id.encode("utf-8", "surrogatepass"), self.id_order, self._id_bytes
        place = bisect_left(order, wanted, key=ids.__getitem__)
        if place < len(order) and ids[order[place]] == wanted:
            return int(order[place])
        return None

    @cached_property
    def _id_bytes(self) -> _TextBytes:
        return _TextBytes(self._columns["id"])

    def rows_of(self, ids: Sequence[str]) -> Rows:
        """Return the rows of many ids at once, -1 for an unknown one. Costs a pass over the table."""
        found = pc.index_in(pa.array(ids, pa.string()), value_set=self._columns["id"])
        rows: Rows = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
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
        """Return a whole column as Python values; for columns that are known to be small."""
        return list(self._columns[name].to_pylist())

    def columns(self, names: Sequence[str], rows: Rows) -> list[list[Any]]:
        """Return (n,) Python values of each named column at `rows`: many at once are quickest."""
        if len(rows) <= _FEW_ROWS:
            few = rows.tolist()
            return [[column[row].as_py() for row in few] for column in map(self._columns.__getitem__, names)]
        places = pa.array(rows, pa.int64())
        return [self._columns[name].take(places).to_pylist() for name in names]

    def product(self, row: int) -> Product:
        """Return one row as an object. Raises IndexError outside 0..N-1."""
        cell = {name: column[row].as_py() for name, column in self._columns.items()}
        return Product(
            id=cell["id"],
            name=cell["name"],
            category=cell["category"],
            group=cell["group"],
            image=cell["image"],
            sha256=cell["sha256"],
            width_px=cell["width"],
            height_px=cell["height"],
            deleted_at=cell["deleted_at"],
            attributes={name: cell[name] for name in self.attribute_names},
        )

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """(C,) category names, sorted."""
        return tuple(sorted(self._columns["category"].unique().to_pylist()))

    @property
    def category_count(self) -> int:
        """How many categories there are; having none is not one."""
        return sum(map(bool, self.categories))

    @cached_property
    def category_codes(self) -> Codes:
        """(N,) index of each row's category in `categories`."""
        names = pa.array(self.categories, pa.string())
        return _int32(pc.index_in(self._columns["category"], value_set=names))

    @cached_property
    def group_codes(self) -> Codes:
        """(N,) number of each row's group, -1 where a product has none."""
        encoded = self._columns["group"].dictionary_encode()
        return _int32(encoded.indices.fill_null(-1))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """(G,) group names by their number in `group_codes`."""
        return tuple(self._columns["group"].dictionary_encode().dictionary.to_pylist())

    @cached_property
    def deleted(self) -> Mask:
        """(N,) True where a product was deleted when the snapshot was made."""
        mask: Mask = self._columns["deleted_at"].is_valid().to_numpy(zero_copy_only=False)
        return mask

    def tombstones(self) -> dict[str, dt.datetime]:
        """Return when each deleted product was deleted, by id."""
        stamps = self._columns["deleted_at"]
        return {self.id_at(row): stamps[row].as_py() for row in np.flatnonzero(self.deleted).tolist()}

    def attribute(self, name: str) -> pa.Array:
        """Return one attribute column as Arrow data. Raises KeyError for a name the table lacks."""
        if name not in self.attribute_names:
            raise KeyError(name)
        return self._columns[name]

    def without(self, rows: Rows) -> Table:
        """Return a copy without these rows; the others keep their order and are numbered anew."""
        kept = np.setdiff1d(np.arange(len(self)), rows)
        remaining = self.arrow.take(pa.array(kept))
        return Table(
            remaining.set_column(0, CORE_SCHEMA.field("row"), pa.array(range(len(kept)), pa.int64()))
        )

    def with_deletions(self, deleted_at: Mapping[int, dt.datetime | None]) -> Table:
        """Return a copy in which the named rows have these tombstones (None restores)."""
        stamps = self._columns["deleted_at"].to_pylist()
        for row, at in deleted_at.items():
            stamps[row] = at
        return self._with_column("deleted_at", stamps)

    def with_categories(self, categories: Mapping[int, str]) -> Table:
        """Return a copy in which the named rows have these categories."""
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


class _TextBytes:
    """A text column without nulls as UTF-8, read from Arrow's own memory: an object of Arrow's costs more.

    UTF-8 sorts as the code points do.
    """

    def __init__(self, array: pa.Array) -> None:
        """array: (N,) of pa.string()."""
        _, ends, data = array.buffers()
        self._ends = np.frombuffer(ends or bytes(4), np.int32)[array.offset :]
        self._data = memoryview(data or b"")

    def __getitem__(self, row: int) -> bytes:
        """Return the value of a row."""
        return bytes(self._data[self._ends[row] : self._ends[row + 1]])


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 0:
        return pa.array([], column.type)
    array = column.chunk(0)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _int32(array: pa.Array) -> Codes:
    codes: Codes = array.to_numpy(zero_copy_only=False).astype(np.int32)
    return codes


def _attribute_array(values: list[Any]) -> pa.Array:
    """Infer a type; values of several kinds in one column become strings."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def join_products(first: pa.Table, second: pa.Table) -> pa.Table:
    """Return the product columns of two sources as one; an attribute of two types becomes text."""
    for name in set(first.column_names) & set(second.column_names):
        if first.schema.field(name).type != second.schema.field(name).type:
            first, second = _as_text(first, name), _as_text(second, name)
    return pa.concat_tables([first, second], promote_options="default")


def assemble_table(
    products: pa.Table,
    rows: Rows,
    *,
    images: Sequence[str],
    sha256: np.ndarray[Any, Any],
    sizes_px: np.ndarray[Any, Any],
    deleted_at: Mapping[str, dt.datetime],
) -> Table:
    """Build a snapshot's table from a source's columns.

    rows: (N,) which rows of `products`, in the order they get. images (N,), sha256 (N, 32) uint8 and sizes_px
    (N, 2) are in that order already. deleted_at: tombstones by id.
    """
    chosen = products.take(pa.array(rows))
    ids = chosen.column("id").to_pylist()
    core = {
        "row": np.arange(len(rows), dtype=np.int64),
        "id": chosen.column("id"),
        "name": chosen.column("name"),
        "category": chosen.column("category"),
        "group": chosen.column("group"),
        "image": images,
        "sha256": [bytes(digest).hex() for digest in sha256],
        "width": sizes_px[:, 0].astype(np.int32),
        "height": sizes_px[:, 1].astype(np.int32),
        "deleted_at": [deleted_at.get(product_id) for product_id in ids],
    }
    columns = {field.name: _typed(core[field.name], field.type) for field in CORE_SCHEMA}
    for name in chosen.column_names:
        if name not in RESERVED:
            columns[name] = chosen.column(name)
    return Table(pa.table(columns))


def encode_column(products: pa.Table, name: str, rows: Rows) -> tuple[list[str], Codes]:
    """Return the different values of a text column at some rows, and (len(rows),) their numbers; -1 null."""
    encoded = products.column(name).take(pa.array(rows)).combine_chunks().dictionary_encode()
    encoded = encoded if isinstance(encoded, pa.DictionaryArray) else encoded.combine_chunks()
    return encoded.dictionary.to_pylist(), _int32(encoded.indices.fill_null(-1))


def sort_rows_by_id(products: pa.Table, rows: Rows) -> Rows:
    """Return `rows` ordered by their id (code points)."""
    order = pc.sort_indices(products.column("id").take(pa.array(rows)))
    sorted_rows: Rows = rows[order.to_numpy()]
    return sorted_rows


def write_failures(path: Path, failures: Iterable[tuple[str, str, str]]) -> None:
    """Write failures.parquet from (id, image, reason) triples."""
    ids, images, reasons = zip(*failures, strict=True) if failures else ((), (), ())
    columns = {"id": ids, "image": images, "reason": reasons}
    pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), path)


def read_failures(path: Path) -> list[dict[str, str]]:
    """Return the rows of a failures.parquet: id, image, reason."""
    rows: list[dict[str, str]] = pq.read_table(path).to_pylist()
    return rows


def _typed(values: Any, kind: pa.DataType) -> Any:
    return values.cast(kind) if isinstance(values, pa.ChunkedArray) else pa.array(values, kind)


def _as_text(table: pa.Table, name: str) -> pa.Table:
    position = table.column_names.index(name)
    return table.set_column(position, name, table.column(name).cast(pa.string()))
