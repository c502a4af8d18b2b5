"""Parser of CSV, Parquet and JSONL manifests: one typed table, before defaults and checks of products."""

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from textwrap import shorten
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import pyarrow.parquet as pa_parquet

from vitrine.indexer.errors import SourceError
from vitrine.indexer.products.schema import COMPUTED_COLUMNS, SOURCE_FIELDS
from vitrine.indexer.source.csv import parse_csv

ManifestFormat = Literal["csv", "parquet", "jsonl"]

_FORMAT_BY_SUFFIX: Mapping[str, ManifestFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_MAX_BLOCK_BYTES = 2**31 - 2


def manifest_format(name: str) -> ManifestFormat | None:
    """Return the format of a manifest by the suffix of its name, before any .gz; None for other files."""
    match = re.search(r"\.\w+$", name.lower().removesuffix(".gz"))
    return _FORMAT_BY_SUFFIX.get(match[0]) if match else None


def parse_manifest(data: bytes, label: str, columns: Mapping[str, str]) -> pa.Table:
    """Parse the bytes of a manifest.

    label: the manifest's name, for messages; its suffix is the format. columns: column names by field or
    attribute; the column is renamed.
    Returns the SOURCE_FIELDS that the manifest has, as text, then its attributes with their types.
    Raises SourceError if the manifest is not readable, has no `image`, lacks a column of `columns`, has two
    columns of one name, or has an attribute with the name of a computed column.
    """
    format = manifest_format(label)
    text_columns = [columns.get(field, field) for field in SOURCE_FIELDS]
    try:
        if label.lower().endswith(".gz"):
            data = gzip.decompress(data)
        if format == "parquet":
            table = pa_parquet.ParquetFile(io.BytesIO(data)).read()
        elif format == "jsonl":
            table = _parse_jsonl(data, label, text_columns)
        else:
            table = parse_csv(data, label, text_columns)
    except (pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{label}: not a readable {format} manifest: {reason}") from error
    return _select_columns(_clean_columns(table, label), label, columns)


def _parse_jsonl(data: bytes, label: str, text_columns: Sequence[str]) -> pa.Table:
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        return pa.table({"image": pa.array([], pa.string())})
    _check_lines(data, label)
    options = pa_json.ReadOptions(block_size=min(len(data) + 1, _MAX_BLOCK_BYTES), use_threads=False)
    table = pa_json.read_json(pa.BufferReader(data), options)
    # A text column in which every value looks like a date is inferred as dates: read it again as text.
    inferred_dates = {
        column.name: pa.string()
        for column in table.schema
        if column.name in text_columns and pa.types.is_temporal(column.type)
    }
    if inferred_dates:
        parse_options = pa_json.ParseOptions(explicit_schema=pa.schema(inferred_dates))
        table = pa_json.read_json(pa.BufferReader(data), options, parse_options)
    return table


def _check_lines(data: bytes, label: str) -> None:
    """Raise SourceError for a line that is not one JSON object: some, like `null`, crash pyarrow 26."""
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                raise ValueError("expected one JSON object per line")
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{label}: not a readable jsonl manifest: line {number}: {error}") from error


def _clean_columns(table: pa.Table, label: str) -> pa.Table:
    """Strip the column names; drop pandas' index columns and empty columns without a name."""
    names = [name.strip() for name in table.column_names]
    table = table.rename_columns(names)
    positions = [
        position
        for position, name in enumerate(names)
        if not re.fullmatch(r"__index_level_\d+__", name)
        and (name or table.column(position).null_count < len(table))
    ]
    table = table.select(positions)
    for name in table.column_names:
        if not name:
            raise SourceError(f"{label}: a column without a name has values; name it or remove it")
        if table.column_names.count(name) > 1:
            raise SourceError(f"{label}: the column {name!r} occurs twice")
    return table


def _select_columns(table: pa.Table, label: str, columns: Mapping[str, str]) -> pa.Table:
    """Return the table with `columns` renamed and SOURCE_FIELDS, as text, first."""
    _check_columns(table.column_names, label, columns)
    selected: dict[str, pa.ChunkedArray] = {}
    for field in SOURCE_FIELDS:
        name = columns.get(field, field)
        if name in table.column_names:
            selected[field] = _to_text(table[name], label, name)
    used_names = {*columns.values(), *columns.keys(), *SOURCE_FIELDS}
    for field, name in columns.items():
        if field not in SOURCE_FIELDS:
            selected[field] = _simplify_type(table[name])
    for name in table.column_names:
        if name not in used_names:
            selected[name] = _simplify_type(table[name])
    for name in selected:
        if name in COMPUTED_COLUMNS:
            raise SourceError(
                f"{label}: the column {name!r} has a name that Vitrine uses itself;"
                f" rename it, for instance with --column shop_{name}={name}"
            )
    return pa.table(selected)


def _check_columns(names: Sequence[str], label: str, columns: Mapping[str, str]) -> None:
    existing = shorten(", ".join(names), 200) or "none"
    for field, name in columns.items():
        if name not in names:
            raise SourceError(
                f"{label}: no column {name!r} for --column {field}={name} (columns: {existing})"
            )
        similar = get_close_matches(field.casefold(), SOURCE_FIELDS, n=1, cutoff=0.8)
        if field not in SOURCE_FIELDS and similar:
            raise SourceError(
                f"{label}: --column {field}={name}: there is no field {field!r}, perhaps {similar[0]!r}; "
                f"the fields are {', '.join(SOURCE_FIELDS)}"
            )
    if "image" not in columns and "image" not in names:
        name_by_folded = {name.casefold(): name for name in names}
        similar = get_close_matches("image", list(name_by_folded), n=1, cutoff=0.6)
        guess = shorten(name_by_folded[similar[0]], 40) if similar else "NAME"
        raise SourceError(
            f"{label}: no column 'image' (columns: {existing}); give its name with --column image={guess}"
        )


def _to_text(values: pa.ChunkedArray, label: str, name: str) -> pa.ChunkedArray:
    """Cast a column to text, whole floats as integers. Raises SourceError for lists and objects."""
    values = _simplify_type(values)
    try:
        if pa.types.is_floating(values.type):  # pandas stores integers with missing values as floats
            is_whole = pc.all(pc.equal(pc.floor(values), values)).as_py()
            values = values.cast(pa.int64()) if is_whole else values
        text = values.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowException as error:
        raise SourceError(
            f"{label}: the column {name!r} is {values.type}, which cannot be read as text"
        ) from error
    return text


def _simplify_type(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values without dictionary encoding; all text types, and a column of nulls, become string.

    NaN and infinities become null, because JSON cannot represent them.
    """
    data_type = values.type
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if (
        pa.types.is_null(data_type)
        or pa.types.is_large_string(data_type)
        or pa.types.is_string_view(data_type)
    ):
        data_type = pa.string()
    values = values if data_type == values.type else values.cast(data_type)
    if pa.types.is_floating(data_type) and not pc.all(pc.is_finite(values)).as_py():
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, data_type))
    return values
