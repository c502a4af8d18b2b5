"""Operations that recommend."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from service.answers import Json
from service.api.operations import Call, Operations
from service.api.schemas import AnswerShape, BatchShape
from service.queries.options import SearchOptions
from service.requests import BatchRequest, SearchRequest

operation = Operations()


class ImageSearchForm(SearchOptions):
    """Options of a search by photo."""

    crop: str | None = Field(None, description="x,y,w,h of the photo, each a share of its side in 0..1")


@operation(
    "GET /products/<id>/similar", AnswerShape, query=SearchOptions, tagged=True, problems=(404, 410, 422)
)
def similar(call: Call, id: str) -> Json:
    """Recommend for a product."""
    return call.catalogue.similar(id, **call.values)


@operation("POST /search", AnswerShape, body=SearchRequest, problems=(404, 410, 413, 415, 422))
def search(call: Call) -> Json:
    """Recommend for a product, several products, a vector or a text."""
    return call.catalogue.search(**call.values)


@operation("POST /search/image", AnswerShape, form=ImageSearchForm, problems=(413, 415, 422, 429))
def search_image(call: Call) -> Json:
    """Recommend for a photo."""
    return call.catalogue.search(image=call.image, **call.values)


@operation("POST /search/batch", BatchShape, body=BatchRequest, problems=(413, 415, 422))
def search_batch(call: Call) -> Any:
    """Answer up to 256 searches at once."""
    return call.catalogue.search_batch(**call.values)
