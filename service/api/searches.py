"""Operations that recommend."""

from __future__ import annotations

from service.answers import Json
from service.api.operations import Call, Operations
from service.api.schemas import AnswerShape, BatchShape
from service.queries.options import SearchOptions
from service.requests import BatchRequest, ImageSearchForm, SearchRequest

operation = Operations()


@operation(
    "GET /products/<id>/similar", AnswerShape, query=SearchOptions, tagged=True, problems=(404, 410, 422)
)
def similar(call: Call, id: str) -> Json:
    """Recommend for a product."""
    return call.catalogue.similar(id, call.asked)


@operation("POST /search", AnswerShape, body=SearchRequest, problems=(404, 410, 422))
def search(call: Call) -> Json:
    """Recommend for a product, several products, a vector or a text."""
    return call.catalogue.search(call.asked)


@operation("POST /search/image", AnswerShape, form=ImageSearchForm, problems=(422, 429))
def search_image(call: Call) -> Json:
    """Recommend for a photo."""
    return call.catalogue.search(call.asked, image=call.image, crop=call.asked.crop)


@operation("POST /search/batch", BatchShape, body=BatchRequest, problems=(422,))
def search_batch(call: Call) -> Json:
    """Answer up to 256 searches at once."""
    return call.catalogue.search_batch(call.asked.searches)
