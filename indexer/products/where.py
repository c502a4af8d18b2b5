"""Conditions on attributes: {"price": {"lt": 50}, "brand": ["a", "b"], "in_stock": true}, all of which must
hold; and on categories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Codes, Mask
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import OPERATORS, rows_matching
from vitrine.indexer.products.table import Table


def rows_of_categories(wanted: Collection[str], categories: Sequence[str], codes: Codes) -> Mask:
    """Return (n,) bool: the rows of these categories. categories: (C,) names; codes: (n,) index of a name."""
    names = set(wanted)
    mask: Mask = np.array([name in names for name in categories], bool)[codes]
    return mask


def matching_rows(tables: Iterable[tuple[int, Table]], where: Mapping[str, Any]) -> Mask:
    """Return (n,) bool: the rows, live or not, that satisfy every condition.

    tables: with the row each begins at. A scalar means eq, a list means in, an object holds operators. A
    table that lacks an attribute has only nulls there. Raises QueryError naming an attribute that no product
    has, or a value of another type than its column.
    """
    conditions, parts = list(_conditions(where)), [table for _, table in tables]
    known = {name for table in parts for name in table.attribute_names}
    for attribute, _, _ in conditions:
        if attribute not in known:
            has = f"; there are: {', '.join(sorted(known))}" if known else ""
            raise QueryError(f"where: no product has an attribute {attribute!r}{has}", field="where")
    return np.concatenate([_in_table(table, conditions) for table in parts])


def _in_table(table: Table, conditions: list[tuple[str, str, Any]]) -> Mask:
    mask = np.ones(len(table), bool)
    for attribute, operator, value in conditions:
        if attribute in table.attribute_names:
            mask &= rows_matching(table.attribute(attribute), attribute, operator, value)
        else:
            mask &= operator == "exists" and value is False
    return mask


def _conditions(where: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for attribute, condition in where.items():
        if isinstance(condition, Mapping):
            if not condition:
                known = ", ".join(OPERATORS)
                raise QueryError(
                    f"where: attribute {attribute!r}: give an operator of {known}", field="where"
                )
            yield from ((attribute, operator, value) for operator, value in condition.items())
        elif isinstance(condition, (list, tuple)):
            yield attribute, "in", list(condition)
        elif condition is None:
            yield attribute, "exists", False
        else:
            yield attribute, "eq", condition
