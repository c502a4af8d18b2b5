"""The Product record and the Arrow schema of the product table.

A table has the core columns of CORE_SCHEMA, then one column per attribute, with a type of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

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
CORE_COLUMNS = frozenset(CORE_SCHEMA.names)
# Core columns that a source provides, always as text.
SOURCE_FIELDS = ("id", "name", "category", "group", "image")
# Core columns that the build computes.
COMPUTED_COLUMNS = CORE_COLUMNS - set(SOURCE_FIELDS)


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the table: one picture of one thing for sale.

    category: "" for none. image: absolute path or URL. sha256: hex digest of the image file. attributes: by
    column name.
    """

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
