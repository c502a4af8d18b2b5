"""Validation of products that are added through the service. Independent of HTTP and of pictures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.ids import MAX_ID_LENGTH, invalid_id_reason
from vitrine.indexer.products.schema import CORE_COLUMNS
from vitrine.indexer.products.text_index import fold
from vitrine.service.queries.view import View

MAX_TEXT = 500  # characters
MAX_ATTRIBUTES = 100
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to add, without its picture. Without an `id`, one is generated from the name."""

    name: str
    category: str
    id: str | None = None
    group: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def validated(self, view: View) -> NewProduct:
        """Return the product with stripped texts and with attributes in the types of the catalogue's columns.

        Raises QueryError naming the field.
        """
        if self.id is not None and (problem := invalid_id_reason(self.id)):
            raise QueryError(problem, field="id")
        return NewProduct(
            name=_validated_text("name", self.name),
            category=validated_category(self.category),
            id=self.id,
            group=_validated_text("group", self.group) if self.group else None,
            attributes=_validated_attributes(self.attributes, view),
        )


def validated_category(name: str) -> str:
    """Return the name of a category, stripped; "" for no category. Raises QueryError."""
    return _validated_text("category", name) if name.strip() else ""


def generate_id(product: NewProduct, sha256: str, is_taken: Callable[[str], bool]) -> str:
    """Return an id that is not taken, made from the name and the picture's digest."""
    words = re.sub(r"[^a-z0-9]+", "-", fold(product.name)).strip("-") or "product"
    stem = f"{words[: MAX_ID_LENGTH - 20]}-{sha256[:8]}"
    number, candidate = 1, stem
    while is_taken(candidate):
        number += 1
        candidate = f"{stem}-{number}"
    return candidate


def request_digest(*parts: object) -> str:
    """Return a digest of a request, to compare requests with the same Idempotency-Key.

    Digests are stored in the journal: the repr of the parts must not change.
    """
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _validated_text(name: str, value: str) -> str:
    text = value.strip()
    if not text:
        raise QueryError(f"{name} cannot be empty", field=name)
    if len(text) > MAX_TEXT:
        raise QueryError(f"{name} has at most {MAX_TEXT} characters, not {len(text)}", field=name)
    if not text.isprintable():
        raise QueryError(f"{name} must consist of printable characters", field=name)
    return text


def _validated_attributes(attributes: Mapping[str, Any], view: View) -> dict[str, Scalar]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise QueryError(f"a product has at most {MAX_ATTRIBUTES} attributes", field="attributes")
    return {name: _validated_value(name, value, view) for name, value in attributes.items()}


def _validated_value(name: str, value: Any, view: View) -> Scalar:
    """Return a value in the type of its column. A column of mixed types could not be filtered."""
    if not name or not name.isprintable() or len(name) > MAX_TEXT:
        raise QueryError(f"{name!r} cannot be the name of an attribute", field="attributes")
    if name in CORE_COLUMNS:
        raise QueryError(f"{name!r} is a field of every product, not an attribute", field="attributes")
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise QueryError(f"attribute {name!r} must be a text, a number or a boolean", field="attributes")
    if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:
        raise QueryError(f"attribute {name!r} is beyond the range of a 64-bit number", field="attributes")
    for _, table in view.state.segments.tables:
        if name in table.attribute_names and value is not None:
            value = _converted(name, value, str(table.attribute(name).type))
    validated: Scalar = value
    return validated


def _converted(name: str, value: Scalar, arrow_type: str) -> Scalar:
    """Return a value converted to the type of its column. Raises QueryError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if arrow_type.startswith(("int", "uint")) and is_number and value == int(value or 0):
        return int(value or 0)
    if arrow_type.startswith(("float", "double", "halffloat", "decimal")) and is_number:
        return float(value or 0)
    if arrow_type in ("string", "large_string") and isinstance(value, str):
        return value
    if arrow_type in ("bool", "null") and (isinstance(value, bool) or arrow_type == "null"):
        return value
    raise QueryError(f"attribute {name!r} is of type {arrow_type} in this catalogue", field="attributes")
