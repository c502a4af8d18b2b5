"""Pictures over HTTP: the original or a thumbnail, in the format that the client takes."""

from __future__ import annotations

from flask import Response, request

from vitrine.service.api.operations import Call, Operations
from vitrine.service.catalogue.request_models import ImageQuery
from vitrine.service.http.responses import WholeResponse
from vitrine.service.pictures.files import Picture
from vitrine.service.pictures.thumbnails import Format

# A picture that was deleted, restored or replaced is seen within this time; until then nobody asks again.
MAX_AGE_S = 300

operation = Operations()


@operation("GET /products/<id>/image", None, query=ImageQuery, problems=(404, 416, 422))
def image(call: Call, id: str) -> Response:
    """A product's picture: the original, or a thumbnail as WebP or JPEG."""
    return _reply(call.catalogue.picture(id, call.asked.size, _format()))


def _format() -> Format:
    """Return WebP for clients that name it, as browsers do; JPEG for the rest."""
    return "WEBP" if "image/webp" in request.headers.get("Accept", "") else "JPEG"


def _reply(picture: Picture) -> Response:
    response = WholeResponse(picture.data, mimetype=picture.mime_type)
    response.set_etag(picture.etag)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
    response.headers["Vary"] = "Accept"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.make_conditional(request, accept_ranges=True, complete_length=len(picture.data))
    return response
