"""Pictures over HTTP: the original or a thumbnail, in the format that the client takes."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from service.answers import API
from service.api.reading import read_query
from service.context import Service
from service.pictures import Picture
from service.requests import ImageQuery
from service.thumbnails import Format

# A picture that was deleted, restored or replaced is seen within this time; until then nobody asks again.
MAX_AGE_S = 300


def add_images(blueprint: Blueprint, service: Service) -> None:
    """Add the route of pictures to a blueprint."""
    blueprint.add_url_rule(f"{API}/products/<id>/image", endpoint="image", view_func=_view(service))


def _view(service: Service) -> Callable[[str], Response]:
    def image(id: str) -> Response:
        values = read_query(request, ImageQuery)
        picture = service.here().picture(id, values.pop("size", None), _format(), **values)
        return _reply(picture)

    return image


def _format() -> Format:
    """Return WebP for clients that name it, as browsers do; JPEG for the rest."""
    return "WEBP" if "image/webp" in request.headers.get("Accept", "") else "JPEG"


def _reply(picture: Picture) -> Response:
    response = Response(picture.data, mimetype=picture.mime_type)
    response.set_etag(picture.etag)
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
    response.headers["Vary"] = "Accept"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.make_conditional(request, accept_ranges=True, complete_length=len(picture.data))
    return response
