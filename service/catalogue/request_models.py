"""Request models: the parameters of every operation, validated the same for HTTP and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from vitrine.indexer.errors import QueryError
from vitrine.indexer.quality.findings import FINDING_TYPES
from vitrine.service.queries.options import MAX_OFFSET, Names, SearchOptions, parse_json_text

Model = TypeVar("Model", bound=BaseModel)
REFERENCES = ("product", "products", "vector", "text")
BOOLEANS = frozenset({"true", "false", "1", "0"})
MAX_PAGE = 1000
MAX_BATCH = 256
MAX_POINTS = 100_000
_NUMBER = r"[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?"
_FOUR_NUMBERS = f"^({_NUMBER}(,{_NUMBER}){{3}})?$"
# Errors of well-formed values that cannot be used: HTTP 422. All others of pydantic mean malformed: 400.
_IMPOSSIBLE = frozenset(
    {
        "greater_than_equal", "less_than_equal", "greater_than", "less_than", "too_long", "too_short",
        "string_too_long", "string_too_short", "finite_number", "literal_error", "value_error",
    }
)  # fmt: skip
# Replacements for messages of pydantic that name its own types.
_MESSAGES = {
    "int_parsing": "not a whole number",
    "float_parsing": "not a number",
    "too_short": "at least {min_length}, not {actual_length}",
    "too_long": "at most {max_length}, not {actual_length}",
    "string_pattern_mismatch": "not of the form {pattern}",
    "dict_type": "not an object",
}


class Request(BaseModel):
    """Base of the request models: named values from a query string, a form, JSON or keyword arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parse_request(model: type[Model], values: Mapping[str, Any], *, is_text: bool = True) -> Model:
    """Validate values and return them as a model.

    is_text: numbers and booleans may be written as text, as in a query string; in JSON they may not.
    Raises QueryError, malformed or impossible, naming the first wrong field.
    """
    _check_scalar_types(model, values, is_text)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        message = _error_message(model, first, field)
        raise QueryError(message, field=field, malformed=first["type"] not in _IMPOSSIBLE) from None


def _error_message(model: type[BaseModel], error: ErrorDetails, field: str | None) -> str:
    if error["type"] == "extra_forbidden":
        return f"{field!r} is not a known field; the fields are: {', '.join(model.model_fields) or 'none'}"
    if error["type"] in _MESSAGES:
        text = _MESSAGES[error["type"]].format(**error.get("ctx", {}))
    else:
        text = str(error["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(map(str, error['loc']))}: {text[:1].lower()}{text[1:]}"


def _check_scalar_types(model: type[BaseModel], values: Mapping[str, Any], is_text: bool) -> None:
    """Raise QueryError for a boolean written as a number and, in JSON, for a number or boolean as text."""
    for name, value in values.items():
        types = _field_types(model).get(name, frozenset())
        if isinstance(value, str):
            is_wrong = bool(types & {int, float, bool}) and not is_text
            is_wrong |= types == {bool} and value.lower() not in BOOLEANS
        elif isinstance(value, bool):
            is_wrong = bool(types & {int, float})
        else:
            is_wrong = isinstance(value, (int, float)) and types == {bool}
        if is_wrong:
            raise QueryError(f"{name}: {value!r} is of the wrong type", field=name, malformed=True)


@lru_cache
def _field_types(model: type[BaseModel]) -> dict[str, frozenset[Any]]:
    """Return the types that each field of a model accepts, without None."""
    fields = model.model_fields.items()
    return {
        name: frozenset(get_args(field.annotation) or (field.annotation,)) - {type(None)}
        for name, field in fields
    }


def _parse_attributes(value: Any) -> Any:
    return {} if isinstance(value, str) and not value.strip() else parse_json_text(value)


class EmptyRequest(Request):
    """Request without parameters."""


class ProductsQuery(Request):
    """Text search or listing: one page of products."""

    q: str = Field("", max_length=300, description="words of a name, category or id")
    category: Names = Field((), description="only these categories")
    deleted: bool = Field(False, description="the deleted products instead of the live ones")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many products to return")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="how many to pass over first")


class ChangesQuery(Request):
    """The newest changes of the journal."""

    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many changes to return, newest first")


class MatrixQuery(Request):
    """Category similarity matrix: the linkage and the categories."""

    linkage: Literal["centroid", "mean"] = Field(
        "centroid", description="cosine of the categories' mean vectors, or mean cosine of all pairs"
    )
    category: Names = Field((), description="only these categories")


class PairsQuery(Request):
    """Closest pairs of products: the two categories to compare."""

    a: str = Field(description="a category; empty for products without one")
    b: str = Field(description="another category")
    limit: int = Field(10, ge=1, le=100, description="how many pairs to return")


class ProjectionQuery(Request):
    """Projection of products onto principal components."""

    dimensions: int = Field(2, ge=2, le=3, description="axes")
    category: Names = Field((), description="only products of these categories")
    fit: Literal["all", "selection"] = Field(
        "all", description="find the axes from all products, or those shown"
    )
    limit: int = Field(2000, ge=1, le=MAX_POINTS, description="show at most so many products")


class QualityQuery(Request):
    """Quality findings: filters and one page."""

    kind: tuple[Literal[FINDING_TYPES], ...] = Field((), description="only findings of these kinds")  # type: ignore[valid-type]
    dismissed: bool = Field(False, description="those that were dismissed instead of those that wait")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many findings to return")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="how many to pass over first")
    format: Literal["json", "csv"] = Field("json", description="csv: a table of all that match")


class DismissRequest(Request):
    """Dismissal of findings that are no mistakes."""

    keys: Names = Field(min_length=1, max_length=MAX_PAGE, description="keys of findings")


class ImageQuery(Request):
    """The size of a product picture."""

    size: int | None = Field(
        None, ge=1, le=4096, description="longer side in pixels; the original without it"
    )


class Liked(Request):
    """Several products as one reference: positive and negative examples."""

    like: Names = Field(min_length=1, description="ids of products to be like")
    unlike: Names = Field((), description="ids of products to be unlike")


class SearchRequest(SearchOptions):
    """Search by exactly one of product, products, vector and text, with its options."""

    product: str | None = Field(None, description="id of the reference product")
    products: Liked | None = Field(None, description="several reference products")
    vector: list[float] | None = Field(
        None, max_length=65_536, description="a vector in the snapshot's space"
    )
    text: str | None = Field(None, max_length=300, description="its best product is the reference")

    def options(self) -> SearchOptions:
        """Return the search options without the reference."""
        return SearchOptions.model_construct(
            **{name: getattr(self, name) for name in SearchOptions.model_fields}
        )


class BatchRequest(Request):
    """Several searches at once. Each is validated separately: a wrong one does not fail the others."""

    searches: list[dict[str, Any]] = Field(max_length=MAX_BATCH, description="searches, as for /search")


class ProductForm(Request):
    """Fields of a new product, without its picture."""

    name: str = Field(min_length=1, description="the product's name")
    category: str = Field("", description="its category, known or new; empty for none")
    id: str | None = Field(None, description="its id; made from the name by default")
    group: str | None = Field(None, description="ties pictures of one item")
    attributes: Annotated[dict[str, Any], BeforeValidator(_parse_attributes)] = Field(
        default_factory=dict, description="a JSON object of texts, numbers and booleans"
    )


class ImageSearchForm(SearchOptions):
    """Options of a search by photo, with the part of the photo to use."""

    crop: str | None = Field(
        None, pattern=_FOUR_NUMBERS, description="x,y,w,h of the photo, each a share of its side in 0..1"
    )


class IdsRequest(Request):
    """Products to delete or restore together, as one change that can be undone."""

    ids: Names = Field(min_length=1, max_length=MAX_PAGE, description="ids of products")


class MoveRequest(IdsRequest):
    """Products to move into a category together, as one change that can be undone."""

    category: str = Field(description="the category, which may be a new one; empty for none")
