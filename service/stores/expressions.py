"""Translation of filters to Milvus expressions that match every row the filters allow, and perhaps more.

Conditions that Milvus cannot evaluate exactly (texts it does not store, dates, nulls) are left out: the row
mask removes rows that an expression matches in excess, but nothing brings back a row that it misses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vitrine.indexer.milvus.collection import stored_number, stored_text
from vitrine.service.queries.searcher import Filters

LIVE = "deleted == false"
_ORDER = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
# Longer lists are left to the mask: parsing them takes more time than they save.
_MAX_LIST = 1000


def expression_of(filters: Filters | None) -> str:
    """Return the expression for the live rows that the filters allow."""
    parts = [LIVE]
    if filters is not None:
        for names in filters.categories:
            parts += _in_list("category", names)
        for attribute, condition in filters.where.items():
            if stored_text(attribute) is not None:
                parts += _condition(f"attributes[{quoted(attribute)}]", condition)
    return " and ".join(parts)


def quoted(text: str) -> str:
    """Return a text as a quoted literal. Only for printable texts, the only ones `stored_text` returns."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _in_list(column: str, names: Iterable[str]) -> list[str]:
    texts = [stored_text(name) for name in dict.fromkeys(names)]
    if len(texts) > _MAX_LIST or any(text is None for text in texts):
        return []
    return [f"{column} in [{', '.join(quoted(text) for text in texts if text is not None)}]"]


def _condition(column: str, condition: Any) -> list[str]:
    if isinstance(condition, Mapping):
        return [
            part for operator, value in condition.items() for part in _comparison(column, operator, value)
        ]
    if isinstance(condition, (list, tuple)):
        return _comparison(column, "in", condition)
    return _comparison(column, "eq", condition)


def _comparison(column: str, operator: str, value: Any) -> list[str]:
    """Return one comparison as expressions: eq and in for every type, order for numbers only."""
    if operator == "in":
        literals = [_literal(item) for item in value] if isinstance(value, (list, tuple)) else [None]
        if not literals or len(literals) > _MAX_LIST or any(literal is None for literal in literals):
            return []
        return ["(" + " or ".join(f"{column} == {literal}" for literal in literals) + ")"]
    if operator == "eq":
        literal = _literal(value)
        return [] if literal is None else [f"{column} == {literal}"]
    number = stored_number(value)
    if operator not in _ORDER or number is None:
        return []
    return [f"{column} {_ORDER[operator]} {_number(number)}"]


def _literal(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    number, text = stored_number(value), stored_text(value)
    if number is not None:
        return _number(number)
    return None if text is None else quoted(text)


def _number(number: float) -> str:
    """Return a float literal, which needs a decimal point to differ from an integer."""
    return f"{number:.1f}" if number.is_integer() and abs(number) < 1e15 else repr(number)
