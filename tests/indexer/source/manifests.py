"""Parsing of manifests that tests write as text, rows or Arrow tables."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from vitrine.indexer.source.manifest import parse_manifest

NO_RENAMES: Mapping[str, str] = {}


def read_csv(text: str | bytes, columns: Mapping[str, str] = NO_RENAMES) -> pa.Table:
    return parse_manifest(text.encode() if isinstance(text, str) else text, "shop.csv", columns)


def read_jsonl(*rows: Mapping[str, Any]) -> pa.Table:
    return parse_manifest("\n".join(json.dumps(row) for row in rows).encode(), "shop.jsonl", NO_RENAMES)


def read_parquet(table: pa.Table) -> pa.Table:
    out = io.BytesIO()
    pa_parquet.write_table(table, out)
    return parse_manifest(out.getvalue(), "shop.parquet", NO_RENAMES)


def column_types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}
