"""Operations that return recommendations."""

from __future__ import annotations

from vitrine.service.api.operations import Call, Operations
from vitrine.service.api.schemas import AnswerShape, BatchShape
from vitrine.service.catalogue.request_models import (
    BatchRequest,
    ImageSearchForm,
    SearchRequest,
)
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.queries.options import SearchOptions

operation = Operations()


@operation(
    "GET /products/<id>/similar", AnswerShape, query=SearchOptions, tagged=True, problems=(404, 410, 422)
)
def similar(call: Call, id: str) -> Json:
    """Recommend products similar to a product."""
    return call.catalogue.similar(id, call.arguments)


@operation("POST /search", AnswerShape, body=SearchRequest, problems=(404, 410, 422))
def search(call: Call) -> Json:
    """Recommend products similar to a product, several products, a vector or a text."""
    return call.catalogue.search(call.arguments)


@operation("POST /search/image", AnswerShape, form=ImageSearchForm, problems=(422, 429))
def search_image(call: Call) -> Json:
    """Recommend products similar to a photo."""
    return call.catalogue.search(call.arguments, image=call.image, crop=call.arguments.crop)


@operation("POST /search/batch", BatchShape, body=BatchRequest, problems=(422,))
def search_batch(call: Call) -> Json:
    """Answer up to 256 searches at once."""
    return call.catalogue.search_batch(call.arguments.searches)
