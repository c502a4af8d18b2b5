"""The options of a search, checked once for every door: JSON, query string, form and Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from vitrine.indexer.errors import QueryError

MAX_LIMIT = 1000
MAX_OFFSET = 10_000_000
MAX_LISTED = 10_000


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def as_object(value: Any) -> Any:
    """Accept JSON text, which is how a form or a query string carries an object."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise PydanticCustomError("json_invalid", "not a JSON object") from None
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(max_length=MAX_LISTED)]
Conditions = Annotated[dict[str, Any], BeforeValidator(as_object), Field(max_length=50)]


class SearchOptions(BaseModel):
    """What to leave out, how many to return, and in which order. By default, the five most similar."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    limit: int = Field(default=5, ge=1, le=MAX_LIMIT, description="how many hits to return")
    offset: int = Field(
        default=0, ge=0, le=MAX_OFFSET, description="how many of the best hits to pass over first"
    )
    same_category: bool = Field(default=False, description="only the category of the reference product")
    category: Names = Field(default=(), description="only these categories")
    where: Conditions = Field(
        default_factory=dict,
        description='conditions on attributes, such as {"price": {"lt": 50}, "brand": ["a", "b"]}',
    )
    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="only hits of at least this cosine"
    )
    min_confidence: float | None = Field(
        default=None, ge=0, le=1, description="only hits of at least this confidence"
    )
    exclude: Names = Field(default=(), description="ids that must not be returned")
    one_per_group: bool = Field(default=False, description="only the best hit of each group")
    collapse_duplicates: float | None = Field(
        default=None, ge=0, le=1, description="leave out a hit whose cosine with a better one reaches this"
    )
    diversity: float = Field(default=0.0, ge=0, le=1, description="0 most similar first, 1 most varied (MMR)")
    exact: bool = Field(default=False, description="compare with every product instead of using the index")
    trace: bool = Field(default=False, description="tell how many candidates each stage left")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Check options that came from outside. Raises QueryError naming the first that is wrong.

        A value of the wrong type or an unknown option is malformed; one out of range is not.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            option = str(first["loc"][0]) if first["loc"] else None
            raise QueryError(_message(option, first), field=option, malformed=_is_malformed(first)) from None


def _is_malformed(error: Mapping[str, Any]) -> bool:
    return error["type"] not in {"greater_than_equal", "less_than_equal", "too_long", "finite_number"}


def _message(option: str | None, error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"{option!r} is not a search option; they are: {', '.join(SearchOptions.model_fields)}"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{option}: {said[:1].lower()}{said[1:]}"
