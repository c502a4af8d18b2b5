"""Conditions on one attribute column: which rows satisfy `price < 50`. Beside table and source, an importer
of pyarrow.

A null satisfies only `exists: false`. Numbers compare with numbers, text with text, booleans with booleans;
times and dates with ISO 8601 text. A list satisfies what one of its values does; `ne` and `not_in`, what all
of them do.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrine.indexer.arrays import Mask
from vitrine.indexer.errors import QueryError

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "lte": pc.less_equal,
    "gt": pc.greater,
    "gte": pc.greater_equal,
}
_LISTS = ("in", "not_in")
_OPPOSITES = {"ne": "eq", "not_in": "in"}
OPERATORS = (*_COMPARE, *_LISTS, "exists")


def rows_matching(column: pa.Array, attribute: str, operator: str, value: Any) -> Mask:
    """Return (N,) bool: the rows whose value satisfies the condition.

    Raises QueryError naming the attribute for an unknown operator or a value of another type than the
    column's.
    """
    if operator == "exists":
        if not isinstance(value, bool):
            raise _error(attribute, "exists takes true or false")
        return _mask(column.is_valid() if value else column.is_null())
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _in_lists(column, attribute, operator, value)
    if operator in _LISTS:
        if not isinstance(value, (list, tuple)):
            raise _error(attribute, f"{operator} takes a list")
        return _listed(column, attribute, operator, value)
    if operator not in _COMPARE:
        raise _error(attribute, f"{operator!r} is not one of {', '.join(OPERATORS)}")
    if operator not in ("eq", "ne") and pa.types.is_boolean(column.type):
        raise _error(attribute, f"true and false have no order, so {operator} does not apply")
    return _mask(_COMPARE[operator](*_comparable(column, _checked(column.type, attribute, value))))


def _in_lists(column: pa.Array, attribute: str, operator: str, value: Any) -> Mask:
    opposite = _OPPOSITES.get(operator)
    found = np.zeros(len(column), bool)
    matching = rows_matching(column.flatten(), attribute, opposite or operator, value)
    found[pc.list_parent_indices(column).to_numpy()[matching]] = True
    return ~found & _mask(column.is_valid()) if opposite else found


def _listed(column: pa.Array, attribute: str, operator: str, values: Any) -> Mask:
    found = np.zeros(len(column), bool)
    for value in values:
        found |= _mask(pc.equal(*_comparable(column, _checked(column.type, attribute, value))))
    return found if operator == "in" else ~found & _mask(column.is_valid())


def _comparable(column: pa.Array, value: Any) -> tuple[pa.Array, pa.Scalar]:
    """Let an integer column meet a fraction, and any number one that is beyond its type."""
    if isinstance(value, float) and pa.types.is_integer(column.type):
        return column.cast(pa.float64(), safe=False), pa.scalar(value)
    try:
        return column, pa.scalar(value, column.type)
    except (pa.ArrowInvalid, OverflowError):
        return column.cast(pa.float64(), safe=False), pa.scalar(float(value))


def _checked(kind: pa.DataType, attribute: str, value: Any) -> Any:
    """Return the value as Arrow compares it. Raises QueryError where the types do not meet."""
    if pa.types.is_boolean(kind):
        wanted, fits = "true or false", isinstance(value, bool)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        wanted, fits = "a number", isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits and math.isfinite(value)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        wanted, fits = "text", isinstance(value, str)
    elif pa.types.is_temporal(kind):
        return _moment(kind, attribute, value)
    else:
        raise _error(attribute, f"its type {kind} cannot be compared")
    if not fits:
        raise _error(attribute, f"it is compared with {wanted}, not with {value!r}")
    return value


def _moment(kind: pa.DataType, attribute: str, value: Any) -> dt.date | dt.datetime | dt.time:
    try:
        if pa.types.is_date(kind):
            return dt.date.fromisoformat(value)
        if pa.types.is_time(kind):
            return dt.time.fromisoformat(value)
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _error(attribute, f"it is compared with an ISO 8601 date, not with {value!r}") from None
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return moment if getattr(kind, "tz", None) else moment.replace(tzinfo=None)


def _mask(answer: pa.Array) -> Mask:
    mask: Mask = answer.fill_null(False).to_numpy(zero_copy_only=False).astype(bool, copy=False)
    return mask


def _error(attribute: str, what: str) -> QueryError:
    return QueryError(f"where: attribute {attribute!r}: {what}", field="where")
