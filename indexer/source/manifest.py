"""CSV, Parquet and JSONL manifests to one typed table. Knows nothing of pictures, ids or defaults."""

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
from vitrine.indexer.source.csv import parse_csv

ManifestKind = Literal["csv", "parquet", "jsonl"]

# The columns Vitrine itself reads from a manifest: always text.
FIELDS = ("id", "name", "category", "group", "image")

# Columns of a snapshot's table that a manifest cannot fill.
RESERVED = frozenset({"row", "sha256", "width", "height", "deleted_at"})

_SUFFIXES: Mapping[str, ManifestKind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_MAX_BLOCK_BYTES = 2**31 - 2


def manifest_kind(name: str) -> ManifestKind | None:
    """Tell the kind of manifest by the end of its name, before any .gz; None for anything else."""
    match = re.search(r"\.\w+$", name.lower().removesuffix(".gz"))
    return _SUFFIXES.get(match[0]) if match else None


def parse_manifest(data: bytes, label: str, columns: Mapping[str, str]) -> pa.Table:
    """Read a manifest's bytes: those of FIELDS that it has, as text, then its attributes with their types.

    label: the manifest's name, whose ending tells its kind, for messages. columns: FIELD: NAME renames.
    A column with a reserved name may be renamed to anything, others only to one of FIELDS.
    Raises SourceError: not readable, no `image`, no column or no field of a name asked for, a column given
    twice, an attribute with a reserved name.
    """
    kind = manifest_kind(label)
    texts = [columns.get(field, field) for field in FIELDS]
    try:
        if label.lower().endswith(".gz"):
            data = gzip.decompress(data)
        if kind == "parquet":
            table = pa_parquet.ParquetFile(io.BytesIO(data)).read()
        elif kind == "jsonl":
            table = _parse_jsonl(data, label, texts)
        else:
            table = parse_csv(data, label, texts)
    except (pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{label}: not a readable {kind} manifest: {reason}") from error
    return _with_fields(_without_index(table, label), label, columns)


def _parse_jsonl(data: bytes, label: str, texts: Sequence[str]) -> pa.Table:
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        return pa.table({"image": pa.array([], pa.string())})
    _check_lines(data, label)
    options = pa_json.ReadOptions(block_size=min(len(data) + 1, _MAX_BLOCK_BYTES), use_threads=False)
    table = pa_json.read_json(pa.BufferReader(data), options)
    # Texts that all look like dates were taken for dates: read those again as they are written.
    dates = {
        column.name: pa.string()
        for column in table.schema
        if column.name in texts and pa.types.is_temporal(column.type)
    }
    if dates:
        parse = pa_json.ParseOptions(explicit_schema=pa.schema(dates))
        table = pa_json.read_json(pa.BufferReader(data), options, parse)
    return table


def _check_lines(data: bytes, label: str) -> None:
    """Refuse a line that is not one JSON object: some, like `null`, crash pyarrow 26 and the process."""
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                raise ValueError("one JSON object a line is expected")
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{label}: not a readable jsonl manifest: line {number}: {error}") from error


def _without_index(table: pa.Table, label: str) -> pa.Table:
    """Trim the column names, and drop pandas' index and the nameless empty columns of spreadsheets."""
    names = [name.strip() for name in table.column_names]
    table = table.rename_columns(names)
    keep = [
        place
        for place, name in enumerate(names)
        if not re.fullmatch(r"__index_level_\d+__", name)
        and (name or table.column(place).null_count < len(table))
    ]
    table = table.select(keep)
    for name in table.column_names:
        if not name:
            raise SourceError(f"{label}: a column without a name has values; name it or remove it")
        if table.column_names.count(name) > 1:
            raise SourceError(f"{label}: the column {name!r} is there twice")
    return table


def _with_fields(table: pa.Table, label: str, columns: Mapping[str, str]) -> pa.Table:
    """Rename as asked, make FIELDS text and put them first."""
    _check_columns(table.column_names, label, columns)
    chosen: dict[str, pa.ChunkedArray] = {}
    for field in FIELDS:
        name = columns.get(field, field)
        if name in table.column_names:
            chosen[field] = _text(table[name], label, name)
    taken = {*columns.values(), *columns.keys(), *FIELDS}
    for field, name in columns.items():
        if field not in FIELDS:
            chosen[field] = _plain(table[name])
    for name in table.column_names:
        if name not in taken:
            chosen[name] = _plain(table[name])
    for name in chosen:
        if name in RESERVED:
            raise SourceError(
                f"{label}: the column {name!r} has a name that Vitrine uses itself;"
                f" rename it, for instance with --column shop_{name}={name}"
            )
    return pa.table(chosen)


def _check_columns(names: Sequence[str], label: str, columns: Mapping[str, str]) -> None:
    there = shorten(", ".join(names), 200) or "none"
    for field, name in columns.items():
        if name not in names:
            raise SourceError(f"{label}: no column {name!r} for --column {field}={name} (columns: {there})")
        if field not in FIELDS and (meant := get_close_matches(field.casefold(), FIELDS, n=1, cutoff=0.8)):
            raise SourceError(
                f"{label}: --column {field}={name}: there is no field {field!r}, perhaps {meant[0]!r}; "
                f"the fields are {', '.join(FIELDS)}"
            )
    if "image" not in columns and "image" not in names:
        folded = {name.casefold(): name for name in names}
        close = get_close_matches("image", list(folded), n=1, cutoff=0.6)
        guess = shorten(folded[close[0]], 40) if close else "NAME"
        raise SourceError(
            f"{label}: no column 'image' (columns: {there}); say which one it is with --column image={guess}"
        )


def _text(values: pa.ChunkedArray, label: str, name: str) -> pa.ChunkedArray:
    """Numbers and dates become text as they print; lists and objects are refused."""
    values = _plain(values)
    try:
        if pa.types.is_floating(values.type):  # how pandas stores integers beside missing values
            whole = pc.all(pc.equal(pc.floor(values), values)).as_py()
            values = values.cast(pa.int64()) if whole else values
        text = values.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowException as error:
        raise SourceError(
            f"{label}: the column {name!r} is {values.type}, which cannot be read as text"
        ) from error
    return text


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in the simplest type for them: no dictionaries, one kind of text, typed nulls.

    NaN and infinities become null: JSON has no word for them.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    values = values if kind == values.type else values.cast(kind)
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(values)).as_py():
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, kind))
    return values
