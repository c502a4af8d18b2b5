"""Operation that returns pictures: the original or a thumbnail, in a format that the client accepts."""

from __future__ import annotations

from flask import Response, request

from vitrine.service.api.operations import Call, Operations
from vitrine.service.catalogue.request_models import ImageQuery
from vitrine.service.http.responses import WholeResponse
from vitrine.service.pictures.files import Picture
from vitrine.service.pictures.thumbnails import Format

# A client may show its copy for this long before it asks again.
MAX_AGE_S = 300

operation = Operations()


@operation("GET /products/<id>/image", None, query=ImageQuery, problems=(404, 416, 422))
def image(call: Call, id: str) -> Response:
    """Return a product's picture: the original, or a thumbnail as WebP or JPEG."""
    return _response(call.catalogue.picture(id, call.arguments.size, _format()))


def _format() -> Format:
    """Return WebP for clients that accept it explicitly, as browsers do, else JPEG."""
    return "WEBP" if "image/webp" in request.headers.get("Accept", "") else "JPEG"


def _response(picture: Picture) -> Response:
    response = WholeResponse(picture.data, mimetype=picture.mime_type)
    response.set_etag(picture.etag)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
    response.headers["Vary"] = "Accept"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.make_conditional(request, accept_ranges=True, complete_length=len(picture.data))
    return response
