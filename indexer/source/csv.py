"""Parser of CSV manifests: detects the delimiter, the encoding and decimal commas, and infers types.

Codes with leading zeros, such as 007, stay text.
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

# The whole file is read as one block of pyarrow, because a row cannot be longer than a block.
_MAX_BLOCK_BYTES = 2**31 - 2
_SAMPLE_BYTES = 1 << 16
_LEADING_ZERO = r"^[+-]?0\d"
# Up to this share of non-numeric cells, a column is assumed to be meant as numbers, and a warning is logged.
MAX_NON_NUMERIC_SHARE = 0.1


def parse_csv(data: bytes, label: str, text_columns: Sequence[str]) -> pa.Table:
    """Parse a CSV file with a header line; the types of columns other than `text_columns` are inferred.

    label: name of the file, for messages. Numbers written with leading zeros (bar codes, postcodes) stay
    text. An empty attribute is null. A column that would be numeric but for a few cells is logged.
    Raises SourceError, pyarrow.ArrowInvalid.
    """
    data = _drop_separator_line(_to_utf8(data, label))
    delimiter = _detect_delimiter(data)
    decimal_point = "," if delimiter == ";" and _has_decimal_commas(data) else "."
    column_types = dict.fromkeys(text_columns, pa.string())
    convert_options = pa_csv.ConvertOptions(column_types=column_types, decimal_point=decimal_point)
    table = _read(data, delimiter, convert_options)
    if re.search(rb'(?:^|[\n"\t,;|])[+-]?0\d', data):
        table = _restore_leading_zeros(table, data, delimiter)
    table = _drop_blank_rows(table)
    for position, column in enumerate(table.schema):
        if column.type == pa.string() and column.name not in text_columns:
            values = table.column(position)
            if problem := _describe_non_numeric_cells(values, decimal_point):
                _log.warning(
                    "%s: the column %r is text, not numbers: %s", label, column.name.strip(), problem
                )
            filled = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            table = table.set_column(position, column, filled)
    return table


def _describe_non_numeric_cells(values: pa.ChunkedArray, decimal_point: str) -> str:
    """Describe the non-numeric cells of a column if they are few, else return ""."""
    is_empty = pc.is_in(values, value_set=pa.array(["", *pa_csv.ConvertOptions().null_values]))
    number = rf"^\s*[+-]?(\d+[{decimal_point}]?\d*|[{decimal_point}]\d+)([eE][+-]?\d+)?\s*$"
    is_text = pc.invert(pc.or_(is_empty, pc.match_substring_regex(values, number)))
    count = pc.sum(is_text).as_py() or 0
    if not 0 < count <= (len(values) - pc.sum(is_empty).as_py()) * MAX_NON_NUMERIC_SHARE:
        return ""
    if pc.any(pc.match_substring_regex(values, _LEADING_ZERO)).as_py():
        return ""
    row = pc.index(is_text, True).as_py()
    others = f" and {count - 1} more rows have no number either" if count > 1 else ""
    return f"row {row + 1} has {shorten(values[row].as_py(), 40)!r}{others}; leave such cells empty"


def _drop_blank_rows(table: pa.Table) -> pa.Table:
    """Drop rows without any value, as spreadsheets write them below the last row."""
    filled = pa.chunked_array([pa.repeat(False, len(table))])
    for values in table.columns:
        if values.type == pa.string():
            filled = pc.or_(filled, pc.not_equal(values, ""))
        elif not pa.types.is_null(values.type):
            filled = pc.or_(filled, pc.is_valid(values))
        if pc.all(filled).as_py():
            return table
    return table.filter(filled)


def _read(data: bytes, delimiter: str, convert_options: pa_csv.ConvertOptions) -> pa.Table:
    block_size = min(len(data) + 1, _MAX_BLOCK_BYTES)
    # Without threads, error messages of pyarrow contain the row number.
    read_options = pa_csv.ReadOptions(block_size=block_size, use_threads=False)
    parse_options = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    return pa_csv.read_csv(pa.BufferReader(data), read_options, parse_options, convert_options)


def _restore_leading_zeros(table: pa.Table, data: bytes, delimiter: str) -> pa.Table:
    """Replace integer columns by their text where a value has a leading zero."""
    names = [column.name for column in table.schema if pa.types.is_integer(column.type)]
    if not names:
        return table
    column_types = dict.fromkeys(names, pa.string())
    texts = _read(data, delimiter, pa_csv.ConvertOptions(include_columns=names, column_types=column_types))
    for name in names:
        if pc.any(pc.match_substring_regex(texts[name], _LEADING_ZERO)).as_py():
            table = table.set_column(table.schema.get_field_index(name), name, texts[name])
    return table


def _to_utf8(data: bytes, label: str) -> bytes:
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


def _drop_separator_line(data: bytes) -> bytes:
    """Drop a first line `sep=;`, an extension of Excel."""
    return re.sub(rb'\A"?sep=.?"?\r?\n', b"", data)


def _detect_delimiter(data: bytes) -> str:
    """Return the most frequent separator in the header line, outside quotes; a comma if it has none."""
    header = re.sub(rb'"[^"]*"', b"", data[:_SAMPLE_BYTES]).lstrip(b"\r\n").split(b"\n", 1)[0]
    return max((",", ";", "\t", "|"), key=lambda separator: header.count(separator.encode()))


def _has_decimal_commas(data: bytes) -> bool:
    """Return True if the first numbers in the file have decimal commas more often than points."""
    sample = data[:_SAMPLE_BYTES]
    commas = re.findall(rb'(?<=[;"\n])-?\d+,\d+(?=[;"\r\n])', sample)
    points = re.findall(rb'(?<=[;"\n])-?\d+\.\d+(?=[;"\r\n])', sample)
    return len(commas) > len(points)
