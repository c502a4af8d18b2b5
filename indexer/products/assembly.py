"""Assembly of a snapshot's product table from the columns of its source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrine.indexer.arrays import Codes, Rows
from vitrine.indexer.products.schema import CORE_COLUMNS, CORE_SCHEMA
from vitrine.indexer.products.table import Table, encode_strings


def join_products(first: pa.Table, second: pa.Table) -> pa.Table:
    """Return the product columns of two sources as one table; an attribute of two types becomes text."""
    for name in set(first.column_names) & set(second.column_names):
        if first.schema.field(name).type != second.schema.field(name).type:
            first, second = _cast_to_text(first, name), _cast_to_text(second, name)
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

    rows: (N,) rows of `products`, in the order of the new table. images (N,), sha256 (N, 32) uint8 and
    sizes_px (N, 2), width and height, are in that order already. deleted_at: tombstones by id.
    """
    selected = products.take(pa.array(rows))
    ids = selected.column("id").to_pylist()
    core = {
        "row": np.arange(len(rows), dtype=np.int64),
        "id": selected.column("id"),
        "name": selected.column("name"),
        "category": selected.column("category"),
        "group": selected.column("group"),
        "image": images,
        "sha256": [bytes(digest).hex() for digest in sha256],
        "width": sizes_px[:, 0].astype(np.int32),
        "height": sizes_px[:, 1].astype(np.int32),
        "deleted_at": [deleted_at.get(product_id) for product_id in ids],
    }
    columns = {field.name: _to_arrow(core[field.name], field.type) for field in CORE_SCHEMA}
    for name in selected.column_names:
        if name not in CORE_COLUMNS:
            columns[name] = selected.column(name)
    return Table(pa.table(columns))


def encode_column(products: pa.Table, name: str, rows: Rows) -> tuple[list[str], Codes]:
    """Return the distinct values of a text column at n rows, and the (n,) code of each row, -1 for null."""
    return encode_strings(products.column(name).take(pa.array(rows)))


def sort_rows_by_id(products: pa.Table, rows: Rows) -> Rows:
    """Return `rows` in the order of their ids (by code point)."""
    order = pc.sort_indices(products.column("id").take(pa.array(rows)))
    sorted_rows: Rows = rows[order.to_numpy()]
    return sorted_rows


def _to_arrow(values: Any, data_type: pa.DataType) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values.cast(data_type)
    return pa.array(values, data_type)


def _cast_to_text(table: pa.Table, name: str) -> pa.Table:
    position = table.column_names.index(name)
    return table.set_column(position, name, table.column(name).cast(pa.string()))
