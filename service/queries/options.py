"""Search options: the filters, the limit and the order of one search, validated by their model."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_LIMIT = 1000
MAX_OFFSET = 10_000_000
MAX_NAMES = 10_000
MAX_CONDITIONS = 50


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def parse_json_text(value: Any) -> Any:
    """Parse text as JSON; return any other value as it is.

    A form and a query string hold an object as JSON text. Raises PydanticCustomError.
    """
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise PydanticCustomError("json_invalid", "not a JSON object") from None
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(max_length=MAX_NAMES)]
Conditions = Annotated[dict[str, Any], BeforeValidator(parse_json_text), Field(max_length=MAX_CONDITIONS)]


class SearchOptions(BaseModel):
    """Filters, limit and order of a search. By default, the five most similar products."""

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
