"""What may be asked besides a search's options, as models: one check for HTTP and Python alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vitrine.indexer.errors import QueryError
from vitrine.indexer.quality.findings import KINDS
from vitrine.service.queries.options import MAX_OFFSET, Names, SearchOptions, as_object

Model = TypeVar("Model", bound=BaseModel)
REFERENCES = ("product", "products", "vector", "text")
BOOLEANS = frozenset({"true", "false", "1", "0"})
MAX_PAGE = 1000
MAX_BATCH = 256
MAX_POINTS = 100_000
_NUMBER = r"[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?"
_FOUR_NUMBERS = f"^({_NUMBER}(,{_NUMBER}){{3}})?$"
# Well-formed, but asking for what cannot be: HTTP 422. Everything else that pydantic finds is malformed: 400.
_IMPOSSIBLE = frozenset(
    {
        "greater_than_equal", "less_than_equal", "greater_than", "less_than", "too_long", "too_short",
        "string_too_long", "string_too_short", "finite_number", "literal_error", "value_error",
    }
)  # fmt: skip


class Request(BaseModel):
    """Named values from a query string, a form, JSON or keyword arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# What pydantic says of its own types, as people say it who know none of them.
_WORDS = {
    "int_parsing": "not a whole number",
    "float_parsing": "not a number",
    "too_short": "at least {min_length}, not {actual_length}",
    "too_long": "at most {max_length}, not {actual_length}",
    "string_pattern_mismatch": "not of the form {pattern}",
    "dict_type": "not an object",
}


def parsed(model: type[Model], given: Mapping[str, Any], *, is_text: bool = True) -> Model:
    """Return `given` as a model. Raises QueryError, malformed or impossible, naming the first wrong field.

    is_text: numbers and booleans may be written as text, as in a query string; in JSON they may not.
    """
    _refuse_wrong_kinds(model, given, is_text)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "extra_forbidden":
            message = f"{field!r} is not known here; there are: {', '.join(model.model_fields) or 'none'}"
        else:
            said = _WORDS.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
            said = said.format(**first.get("ctx", {})) if first["type"] in _WORDS else said
            message = f"{'.'.join(map(str, first['loc']))}: {said[:1].lower()}{said[1:]}"
        raise QueryError(message, field=field, malformed=first["type"] not in _IMPOSSIBLE) from None


def _refuse_wrong_kinds(model: type[BaseModel], given: Mapping[str, Any], is_text: bool) -> None:
    """Raise QueryError for a boolean given as a number and, in JSON, for a text given as either."""
    for name, value in given.items():
        kinds = _kinds(model).get(name, frozenset())
        if isinstance(value, str):
            is_wrong = bool(kinds & {int, float, bool}) and not is_text
            is_wrong |= kinds == {bool} and value.lower() not in BOOLEANS
        elif isinstance(value, bool):
            is_wrong = bool(kinds & {int, float})
        else:
            is_wrong = isinstance(value, (int, float)) and kinds == {bool}
        if is_wrong:
            raise QueryError(f"{name}: {value!r} is of the wrong kind", field=name, malformed=True)


@lru_cache
def _kinds(model: type[BaseModel]) -> dict[str, frozenset[Any]]:
    """Return the types that each field of a model takes, None apart."""
    fields = model.model_fields.items()
    return {
        name: frozenset(get_args(field.annotation) or (field.annotation,)) - {type(None)}
        for name, field in fields
    }


def _as_attributes(value: Any) -> Any:
    return {} if isinstance(value, str) and not value.strip() else as_object(value)


class Nothing(Request):
    """For what takes no values."""


class ProductsQuery(Request):
    """A page of products."""

    q: str = Field("", max_length=300, description="words of a name, category or id")
    category: Names = Field((), description="only these categories")
    deleted: bool = Field(False, description="the deleted products instead of the live ones")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many products to return")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="how many to pass over first")


class ChangesQuery(Request):
    """How much of the journal."""

    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many changes to return, newest first")


class MatrixQuery(Request):
    """Which category matrix."""

    linkage: Literal["centroid", "mean"] = Field(
        "centroid", description="cosine of the categories' mean vectors, or mean cosine of all pairs"
    )
    category: Names = Field((), description="only these categories")


class PairsQuery(Request):
    """Two categories to compare product by product."""

    a: str = Field(description="a category; empty for products without one")
    b: str = Field(description="another category")
    limit: int = Field(10, ge=1, le=100, description="how many pairs to return")


class ProjectionQuery(Request):
    """Which projection."""

    dimensions: int = Field(2, ge=2, le=3, description="axes")
    category: Names = Field((), description="only products of these categories")
    fit: Literal["all", "selection"] = Field(
        "all", description="find the axes from all products, or those shown"
    )
    limit: int = Field(2000, ge=1, le=MAX_POINTS, description="show at most so many products")


class QualityQuery(Request):
    """A page of findings."""

    kind: tuple[Literal[KINDS], ...] = Field((), description="only findings of these kinds")  # type: ignore[valid-type]
    dismissed: bool = Field(False, description="those that were dismissed instead of those that wait")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="how many findings to return")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="how many to pass over first")
    format: Literal["json", "csv"] = Field("json", description="csv: a table of all that match")


class DismissRequest(Request):
    """Findings that are no mistakes."""

    keys: Names = Field(min_length=1, max_length=MAX_PAGE, description="keys of findings")


class ImageQuery(Request):
    """Which form of a picture."""

    size: int | None = Field(
        None, ge=1, le=4096, description="longer side in pixels; the original without it"
    )


class Liked(Request):
    """Several products as one reference."""

    like: Names = Field(min_length=1, description="ids of products to be like")
    unlike: Names = Field((), description="ids of products to be unlike")


class SearchRequest(SearchOptions):
    """A search: exactly one of product, products, vector and text, with its options."""

    product: str | None = Field(None, description="id of the reference product")
    products: Liked | None = Field(None, description="several reference products")
    vector: list[float] | None = Field(
        None, max_length=65_536, description="a vector in the snapshot's space"
    )
    text: str | None = Field(None, max_length=300, description="its best product is the reference")

    def options(self) -> SearchOptions:
        """Return the options alone."""
        return SearchOptions.model_construct(
            **{name: getattr(self, name) for name in SearchOptions.model_fields}
        )


class BatchRequest(Request):
    """Many searches at once; each is checked on its own, so that one bad search spoils no other."""

    searches: list[dict[str, Any]] = Field(max_length=MAX_BATCH, description="searches, as for /search")


class ProductForm(Request):
    """The fields of an upload, its picture apart."""

    name: str = Field(min_length=1, description="the product's name")
    category: str = Field("", description="its category, known or new; empty for none")
    id: str | None = Field(None, description="its id; made from the name by default")
    group: str | None = Field(None, description="ties pictures of one item")
    attributes: Annotated[dict[str, Any], BeforeValidator(_as_attributes)] = Field(
        default_factory=dict, description="a JSON object of texts, numbers and booleans"
    )


class ImageSearchForm(SearchOptions):
    """Options of a search by photo."""

    crop: str | None = Field(
        None, pattern=_FOUR_NUMBERS, description="x,y,w,h of the photo, each a share of its side in 0..1"
    )


class IdsRequest(Request):
    """Products to delete or restore together, as one change to undo."""

    ids: Names = Field(min_length=1, max_length=MAX_PAGE, description="ids of products")


class MoveRequest(IdsRequest):
    """Products to put into a category together, as one change to undo."""

    category: str = Field(description="the category, which may be a new one; empty for none")
