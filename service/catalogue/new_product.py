"""What a product that comes in through the service must keep to. Knows nothing of HTTP or of pictures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.ids import MAX_ID_LENGTH, id_problem
from vitrine.indexer.products.table import RESERVED
from vitrine.indexer.products.text_index import fold
from vitrine.service.queries.view import View

MAX_TEXT = 500
MAX_ATTRIBUTES = 100
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to add, its picture apart. `id` is made from the name where none is given."""

    name: str
    category: str
    id: str | None = None
    group: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def checked(self, view: View) -> NewProduct:
        """Return it with texts stripped and attributes of the types that the catalogue has.

        Raises QueryError naming the field.
        """
        if self.id is not None and (problem := id_problem(self.id)):
            raise QueryError(problem, field="id")
        return NewProduct(
            name=_text("name", self.name),
            category=checked_category(self.category),
            id=self.id,
            group=_text("group", self.group) if self.group else None,
            attributes=_checked_attributes(self.attributes, view),
        )


def checked_category(name: str) -> str:
    """Return the name of a category, stripped; "" is no category. Raises QueryError."""
    return _text("category", name) if name.strip() else ""


def free_id(product: NewProduct, sha256: str, is_taken: Callable[[str], bool]) -> str:
    """Return an id made from the name and the picture's digest that no product has."""
    words = re.sub(r"[^a-z0-9]+", "-", fold(product.name)).strip("-") or "product"
    stem = f"{words[: MAX_ID_LENGTH - 20]}-{sha256[:8]}"
    number, candidate = 1, stem
    while is_taken(candidate):
        number += 1
        candidate = f"{stem}-{number}"
    return candidate


def request_digest(*parts: object) -> str:
    """Return what tells one request from another that comes with the same Idempotency-Key."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _text(name: str, value: str) -> str:
    text = value.strip()
    if not text:
        raise QueryError(f"{name} cannot be empty", field=name)
    if len(text) > MAX_TEXT:
        raise QueryError(f"{name} has at most {MAX_TEXT} characters, this one has {len(text)}", field=name)
    if not text.isprintable():
        raise QueryError(f"{name} has printable characters only", field=name)
    return text


def _checked_attributes(attributes: Mapping[str, Any], view: View) -> dict[str, Scalar]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise QueryError(f"a product has at most {MAX_ATTRIBUTES} attributes", field="attributes")
    return {name: _checked(name, value, view) for name, value in attributes.items()}


def _checked(name: str, value: Any, view: View) -> Scalar:
    """Return the value as the column of that name holds it. A column of mixed kinds could not be filtered."""
    if not name or not name.isprintable() or len(name) > MAX_TEXT:
        raise QueryError(f"{name!r} is not a name for an attribute", field="attributes")
    if name in RESERVED:
        raise QueryError(f"{name!r} is a field of every product, not an attribute", field="attributes")
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise QueryError(f"attribute {name!r} is a text, a number or a boolean", field="attributes")
    if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:
        raise QueryError(f"attribute {name!r} is beyond what a number may be", field="attributes")
    for _, table in view.tables:
        if name in table.attribute_names and value is not None:
            value = _fitting(name, value, str(table.attribute(name).type))
    checked: Scalar = value
    return checked


def _fitting(name: str, value: Scalar, column: str) -> Scalar:
    """Return the value in the kind of a column; `column` is the name of its Arrow type."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if column.startswith(("int", "uint")) and is_number and value == int(value or 0):
        return int(value or 0)
    if column.startswith(("float", "double", "halffloat", "decimal")) and is_number:
        return float(value or 0)
    if column in ("string", "large_string") and isinstance(value, str):
        return value
    if column in ("bool", "null") and (isinstance(value, bool) or column == "null"):
        return value
    raise QueryError(f"attribute {name!r} is of type {column} in this catalogue", field="attributes")
