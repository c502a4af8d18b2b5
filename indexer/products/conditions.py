"""Conditions on the columns of product tables: attributes compared with values, and categories.

Syntax: {"price": {"lt": 50}, "brand": ["a", "b"], "in_stock": true}. A row matches if all conditions hold.

A null satisfies only `exists: false`. Numbers are compared with numbers, text with text, booleans with
booleans, times and dates with ISO 8601 text, durations with seconds. A list satisfies a condition if one of
its values does; `ne` and `not_in` require all of them to. Text and categories are equal in any Unicode form.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrine.indexer.arrays import Codes, Mask
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.table import Table

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "lte": pc.less_equal,
    "gt": pc.greater,
    "gte": pc.greater_equal,
}
_LIST_OPERATORS = ("in", "not_in")
_NEGATED = {"ne": "eq", "not_in": "in"}
_OPERATORS = (*_COMPARISONS, *_LIST_OPERATORS, "exists")
_MAX_DECIMAL_DIGITS = 76  # of Arrow's decimal256
_LIST_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def category_mask(wanted: Collection[str], categories: Sequence[str], codes: Codes) -> Mask:
    """Return (n,) bool, True for rows of the wanted categories.

    categories: (C,) names. codes: (n,) index of each row's category in `categories`.
    """
    names = {normalize("NFC", name) for name in wanted}
    mask: Mask = np.array([normalize("NFC", name) in names for name in categories], bool)[codes]
    return mask


def condition_mask(tables: Iterable[tuple[int, Table]], where: Mapping[str, Any]) -> Mask:
    """Return (n,) bool, True for rows, live or deleted, that satisfy every condition.

    tables: (first row, table) pairs. where: conditions by attribute. A scalar means `eq`, null `exists:
    false`, a list `in`; an object maps operators to values. An attribute that one table lacks is null there.
    Raises QueryError for an attribute that no table has, an unknown operator, or a value of another type than
    its column.
    """
    conditions, parts = list(_parse_conditions(where)), [table for _, table in tables]
    known = {name for table in parts for name in table.attribute_names}
    for attribute, _, _ in conditions:
        if attribute not in known:
            known_text = f"; there are: {', '.join(sorted(known))}" if known else ""
            raise QueryError(f"where: no product has an attribute {attribute!r}{known_text}", field="where")
    return np.concatenate([_table_mask(table, conditions) for table in parts])


def _parse_conditions(where: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (attribute, operator, value) triples."""
    for attribute, condition in where.items():
        if isinstance(condition, Mapping):
            if not condition:
                raise _error(attribute, f"give an operator of {', '.join(_OPERATORS)}")
            yield from ((attribute, operator, value) for operator, value in condition.items())
        elif isinstance(condition, (list, tuple)):
            yield attribute, "in", list(condition)
        elif condition is None:
            yield attribute, "exists", False
        else:
            yield attribute, "eq", condition


def _table_mask(table: Table, conditions: list[tuple[str, str, Any]]) -> Mask:
    mask = np.ones(len(table), bool)
    for attribute, operator, value in conditions:
        if attribute in table.attribute_names:
            mask &= _column_mask(table.attribute(attribute), attribute, operator, value)
        else:
            mask &= operator == "exists" and value is False
    return mask


def _column_mask(column: pa.Array, attribute: str, operator: str, value: Any) -> Mask:
    """Return (N,) bool, True for rows whose value satisfies one condition. Raises QueryError."""
    try:
        return _evaluate(column, attribute, operator, value)
    except (pa.ArrowException, UnicodeEncodeError) as error:  # a type or value that Arrow does not compare
        raise _error(attribute, f"values of type {column.type} cannot be compared with {value!r}") from error


def _evaluate(column: pa.Array, attribute: str, operator: str, value: Any) -> Mask:
    if operator == "exists":
        if not isinstance(value, bool):
            raise _error(attribute, "exists takes true or false")
        return _to_mask(column.is_valid() if value else column.is_null())
    if any(is_list(column.type) for is_list in _LIST_TYPES):
        return _list_column_mask(column, attribute, operator, value)
    if operator in _LIST_OPERATORS:
        if not isinstance(value, (list, tuple)):
            raise _error(attribute, f"{operator} takes a list")
        return _membership_mask(column, attribute, operator, value)
    if operator not in _COMPARISONS:
        raise _error(attribute, f"{operator!r} is not one of {', '.join(_OPERATORS)}")
    if operator not in ("eq", "ne") and pa.types.is_boolean(column.type):
        raise _error(attribute, f"true and false have no order, so {operator} does not apply")
    operands = _common_type(column, _parse_value(column.type, attribute, value))
    return _to_mask(_COMPARISONS[operator](*operands))


def _list_column_mask(column: pa.Array, attribute: str, operator: str, value: Any) -> Mask:
    positive = _NEGATED.get(operator)
    mask = np.zeros(len(column), bool)
    matches = _column_mask(column.flatten(), attribute, positive or operator, value)
    mask[pc.list_parent_indices(column).to_numpy()[matches]] = True
    return ~mask & _to_mask(column.is_valid()) if positive else mask


def _membership_mask(column: pa.Array, attribute: str, operator: str, values: Any) -> Mask:
    mask = np.zeros(len(column), bool)
    for value in values:
        mask |= _to_mask(pc.equal(*_common_type(column, _parse_value(column.type, attribute, value))))
    return mask if operator == "in" else ~mask & _to_mask(column.is_valid())


def _common_type(column: pa.Array, value: Any) -> tuple[pa.Array, pa.Scalar]:
    """Return the operands as one type.

    A decimal is compared exactly with the digits of the value, as a database does. Integers are compared as
    float64 with a fraction or a number out of their range, small floats in their own precision.
    """
    if pa.types.is_decimal(column.type):
        return _common_decimal(column, value)
    if isinstance(value, float) and pa.types.is_integer(column.type):
        return column.cast(pa.float64(), safe=False), pa.scalar(value)
    try:
        scalar = pa.scalar(value, column.type)
    except (pa.ArrowInvalid, OverflowError):
        return column.cast(pa.float64(), safe=False), pa.scalar(_as_float(value))
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32()), scalar.cast(pa.float32())
    return column, scalar


def _common_decimal(column: pa.Array, value: float) -> tuple[pa.Array, pa.Scalar]:
    digits = decimal.Decimal(repr(value))
    scale = max(column.type.scale, -int(digits.as_tuple().exponent), 0)
    whole = max(column.type.precision - column.type.scale, digits.adjusted() + 1, 1)
    if whole + scale > _MAX_DECIMAL_DIGITS:
        return column.cast(pa.float64(), safe=False), pa.scalar(_as_float(value))
    common = pa.decimal256(whole + scale, scale)
    return column.cast(common), pa.scalar(digits, common)


def _as_float(number: float) -> float:
    """Return a number as a float, an integer out of its range as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _parse_value(data_type: pa.DataType, attribute: str, value: Any) -> Any:
    """Return the value in the form that Arrow compares. Raises QueryError if its type does not fit."""
    if pa.types.is_boolean(data_type):
        expected, is_valid = "true or false", isinstance(value, bool)
    elif pa.types.is_integer(data_type) or pa.types.is_floating(data_type) or pa.types.is_decimal(data_type):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        expected, is_valid = "a number", is_number and (isinstance(value, int) or math.isfinite(value))
    elif pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        expected, is_valid = "text", isinstance(value, str)
    elif pa.types.is_duration(data_type):
        return _parse_duration(attribute, value)
    elif pa.types.is_date(data_type) or pa.types.is_time(data_type) or pa.types.is_timestamp(data_type):
        return _parse_time(data_type, attribute, value)
    else:
        raise _error(attribute, f"values of type {data_type} cannot be compared")
    if not is_valid:
        raise _error(attribute, f"expected {expected}, not {value!r}")
    return normalize("NFC", value) if isinstance(value, str) else value


def _parse_duration(attribute: str, value: Any) -> dt.timedelta:
    """Return a duration from a number of seconds, as answers show it. Raises QueryError."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return dt.timedelta(seconds=value)
    except (OverflowError, ValueError):
        pass
    raise _error(attribute, f"expected a number of seconds, not {value!r}")


def _parse_time(data_type: pa.DataType, attribute: str, value: Any) -> dt.date | dt.datetime | dt.time:
    """Parse ISO 8601 text; a time without an offset is in UTC. Raises QueryError."""
    try:
        if pa.types.is_date(data_type):
            return dt.date.fromisoformat(value)
        if pa.types.is_time(data_type):
            return dt.time.fromisoformat(value)
        time = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _error(attribute, f"expected an ISO 8601 date, not {value!r}") from None
    time = time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    return time if getattr(data_type, "tz", None) else time.replace(tzinfo=None)


def _to_mask(values: pa.Array) -> Mask:
    mask: Mask = values.fill_null(False).to_numpy(zero_copy_only=False).astype(bool, copy=False)
    return mask


def _error(attribute: str, problem: str) -> QueryError:
    return QueryError(f"where: attribute {attribute!r}: {problem}", field="where")
