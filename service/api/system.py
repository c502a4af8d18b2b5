"""Routes outside /api/v1: health, metrics, OpenAPI document and docs page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, render_template, send_from_directory
from werkzeug.exceptions import NotFound

from vitrine.service.api.openapi import openapi_document
from vitrine.service.http.context import Service
from vitrine.service.http.metrics import CONTENT_TYPE
from vitrine.service.http.responses import json_response

# This package ships Swagger UI 5, the first version that reads OpenAPI 3.1; its code is not used.
_DOCS_PACKAGE = "flask_openapi3_swagger"
_DOCS_FILES = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}


def add_system(blueprint: Blueprint, service: Service) -> None:
    """Add the routes outside /api/v1 to a blueprint."""
    for path, view in (
        ("/healthz", _healthz),
        ("/readyz", _readyz(service)),
        ("/metrics", _metrics(service)),
        ("/openapi.json", _openapi(service)),
        ("/docs", _docs),
        ("/docs/<name>", _docs_file),
    ):
        endpoint = path.strip("/").replace(".", "_").replace("/<name>", "_file")
        blueprint.add_url_rule(path, endpoint=endpoint, view_func=view)


def _healthz() -> Response:
    return json_response({"status": "ok"})


def _readyz(service: Service) -> Callable[[], Response]:
    def readyz() -> Response:
        view = service.catalogue.view()
        service.catalogue.follower.last_sequence()
        return json_response({"status": "ready", "snapshot": view.state.snapshot.name})

    return readyz


def _metrics(service: Service) -> Callable[[], Response]:
    def metrics() -> Response:
        return Response(service.metrics.render(), content_type=CONTENT_TYPE)

    return metrics


def _openapi(service: Service) -> Callable[[], Response]:
    def openapi() -> Response:
        return json_response(openapi_document(service.prefix(), has_keys=bool(service.guard.keys)))

    return openapi


def _docs() -> str:
    return render_template("vitrine/docs.html")


def _docs_file(name: str) -> Response:
    if name not in _DOCS_FILES:
        raise NotFound(f"no file {name!r}")
    response = send_from_directory(_docs_folder() / _DOCS_FILES[name], name)
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@cache
def _docs_folder() -> Path:
    spec = find_spec(_DOCS_PACKAGE)
    assert spec is not None, "installed with the service"
    assert spec.origin is not None
    return Path(spec.origin).parent / "templates" / "swagger"
