"""CSV as shops really save it: any of the usual separators and encodings, decimal commas, codes like 007.

Knows nothing of what the columns mean, but that some are text whatever they look like.
"""

import codecs
import logging
import re
from collections.abc import Sequence
from textwrap import shorten

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vitrine.indexer.errors import SourceError

_log = logging.getLogger(__name__)

# The whole file is one block of pyarrow's, since a row cannot be longer than its block.
_MAX_BLOCK_BYTES = 2**31 - 2
_LOOK_BYTES = 1 << 16
_LEADING_ZERO = r"^[+-]?0\d"
# Up to this share of a column, cells that are no number are taken for mistakes in a column of numbers.
MAX_STRAYS = 0.1


def parse_csv(data: bytes, label: str, texts: Sequence[str]) -> pa.Table:
    """Read a CSV file with a header line; columns named in `texts` are text, the others typed.

    Numbers written with leading zeros (bar codes, postcodes) stay text. An empty attribute is null. What
    keeps a column of numbers from being one is logged.
    Raises SourceError, pyarrow.ArrowInvalid.
    """
    data = _without_separator_line(_utf8(data, label))
    delimiter = _delimiter(data)
    comma = delimiter == ";" and _has_decimal_commas(data)
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(texts, pa.string()), decimal_point="," if comma else "."
    )
    table = _read(data, delimiter, convert)
    if re.search(rb'(?:^|[\n"\t,;|])[+-]?0\d', data):
        table = _keep_leading_zeros(table, data, delimiter)
    table = _without_blank_rows(table)
    for place, column in enumerate(table.schema):
        if column.type == pa.string() and column.name not in texts:
            values = table.column(place)
            if stray := _stray_among_numbers(values, "," if comma else "."):
                _log.warning("%s: the column %r is text, not numbers: %s", label, column.name.strip(), stray)
            filled = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            table = table.set_column(place, column, filled)
    return table


def _stray_among_numbers(values: pa.ChunkedArray, point: str) -> str:
    """Say what makes values text of which nine in ten, or more, are numbers; empty for any others."""
    empty = pc.is_in(values, value_set=pa.array(["", *pa_csv.ConvertOptions().null_values]))
    number = pc.match_substring_regex(values, rf"^\s*[+-]?(\d+[{point}]?\d*|[{point}]\d+)([eE][+-]?\d+)?\s*$")
    strays = pc.invert(pc.or_(empty, number))
    count = pc.sum(strays).as_py() or 0
    if not 0 < count <= (len(values) - pc.sum(empty).as_py()) * MAX_STRAYS:
        return ""
    if pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
        return ""
    row = pc.index(strays, True).as_py()
    others = f" and {count - 1} more rows have no number either" if count > 1 else ""
    return f"row {row + 1} has {shorten(values[row].as_py(), 40)!r}{others}; leave such cells empty"


def _without_blank_rows(table: pa.Table) -> pa.Table:
    """Drop the rows of separators alone that spreadsheets leave below their last one."""
    filled = pa.chunked_array([pa.repeat(False, len(table))])
    for values in table.columns:
        if values.type == pa.string():
            filled = pc.or_(filled, pc.not_equal(values, ""))
        elif not pa.types.is_null(values.type):
            filled = pc.or_(filled, pc.is_valid(values))
        if pc.all(filled).as_py():
            return table
    return table.filter(filled)


def _read(data: bytes, delimiter: str, convert: pa_csv.ConvertOptions) -> pa.Table:
    block = min(len(data) + 1, _MAX_BLOCK_BYTES)
    # Without threads pyarrow names the row that is at fault.
    options = pa_csv.ReadOptions(block_size=block, use_threads=False)
    parse = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    return pa_csv.read_csv(pa.BufferReader(data), options, parse, convert)


def _keep_leading_zeros(table: pa.Table, data: bytes, delimiter: str) -> pa.Table:
    names = [column.name for column in table.schema if pa.types.is_integer(column.type)]
    if not names:
        return table
    as_text = dict.fromkeys(names, pa.string())
    written = _read(data, delimiter, pa_csv.ConvertOptions(include_columns=names, column_types=as_text))
    for name in names:
        if pc.any(pc.match_substring_regex(written[name], _LEADING_ZERO)).as_py():
            table = table.set_column(table.schema.get_field_index(name), name, written[name])
    return table


def _utf8(data: bytes, label: str) -> bytes:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16").encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in data:
        raise SourceError(f"{label}: not a readable csv manifest: it is not text")
    try:
        codecs.lookup("utf-8").decode(data)
    except UnicodeDecodeError:
        _log.warning("%s is not UTF-8: read as Windows-1252", label)
        return data.decode("cp1252").encode()
    return data


def _without_separator_line(data: bytes) -> bytes:
    """Drop the line `sep=;` that Excel writes and reads."""
    return re.sub(rb'\A"?sep=.?"?\r?\n', b"", data)


def _delimiter(data: bytes) -> str:
    """The separator seen most often in the header line, outside quotes; a comma where there is none."""
    header = re.sub(rb'"[^"]*"', b"", data[:_LOOK_BYTES]).lstrip(b"\r\n").split(b"\n", 1)[0]
    return max((",", ";", "\t", "|"), key=lambda mark: header.count(mark.encode()))


def _has_decimal_commas(data: bytes) -> bool:
    look = data[:_LOOK_BYTES]
    commas = re.findall(rb'(?<=[;"\n])-?\d+,\d+(?=[;"\r\n])', look)
    points = re.findall(rb'(?<=[;"\n])-?\d+\.\d+(?=[;"\r\n])', look)
    return len(commas) > len(points)
