"""Flask views of the operations: access checks, parsing, ETags, and a fallback for other paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, g, request
from pydantic import BaseModel
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Response as BaseResponse

from vitrine.indexer.errors import QueryError
from vitrine.service.api import OPERATIONS
from vitrine.service.api.operations import Call, Operation
from vitrine.service.api.reading import read_form, read_json, read_query
from vitrine.service.catalogue.request_models import parse_request
from vitrine.service.catalogue.serialisation import API
from vitrine.service.catalogue.writer import ANONYMOUS, Caller
from vitrine.service.http.context import Service
from vitrine.service.http.responses import json_response, matches_etag, not_modified
from vitrine.service.timing import stage

# Parsed query strings that are cached, and the longest that is.
_CACHED_QUERIES, _MAX_CACHED_LENGTH = 1024, 128
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_KEY = re.compile(r"[!-~]{1,255}")


def add_api(blueprint: Blueprint, service: Service) -> None:
    """Add every operation to a blueprint, and a fallback for all other paths under /api/v1."""
    for operation in OPERATIONS:
        blueprint.add_url_rule(
            API + operation.path,
            endpoint=operation.name,
            view_func=_view(operation, service),
            methods=[operation.method],
            provide_automatic_options=False,
        )
    blueprint.add_url_rule(
        f"{API}/<path:rest>",
        endpoint="api_fallback",
        view_func=_fallback(),
        methods=METHODS,
        provide_automatic_options=False,
    )


def _view(operation: Operation, service: Service) -> Callable[..., BaseResponse]:
    read = _reader(service)

    def view(**path: str) -> BaseResponse:
        caller = ANONYMOUS
        if operation.writes:
            actor = service.guard.check_write(request)
            if isinstance(actor, BaseResponse):
                return actor
            g.actor = actor
            caller = Caller(actor, g.request_id, _idempotency_key())
        catalogue, tag = service.mounted_catalogue(), None
        if operation.tagged:
            catalogue = catalogue.at_current_view()
            tag = f'W/"{catalogue.view().tag}"'
        arguments, image = read(operation)
        if tag is not None and matches_etag(request, tag):
            return not_modified(tag)
        answer = operation.handler(Call(catalogue, arguments, caller, image), **path)
        return answer if isinstance(answer, BaseResponse) else _response(operation, answer, tag)

    return view


def _response(operation: Operation, answer: Any, tag: str | None) -> BaseResponse:
    response = json_response(answer, operation.status, tag=tag)
    if operation.status == 201:
        response.headers["Location"] = answer["image_url"].removesuffix("/image")
    return response


def _reader(service: Service) -> Callable[[Operation], tuple[Any, bytes]]:
    """Return a function that parses and validates requests. Recurring query strings are parsed once."""

    @lru_cache(maxsize=_CACHED_QUERIES)
    def cached_query(model: type[BaseModel], _: bytes) -> BaseModel:
        return parse_request(model, read_query(request, model))

    def read(operation: Operation) -> tuple[Any, bytes]:
        if operation.body is None and operation.form is None:
            query = request.query_string
            if len(query) <= _MAX_CACHED_LENGTH:
                return cached_query(operation.query, query), b""
            return parse_request(operation.query, read_query(request, operation.query)), b""
        with stage("body"), service.admission.receiving(turn=operation.form is None):
            if operation.form is not None:
                values, image = read_form(request, operation.form)
            else:
                values, image = read_json(request), b""
        return parse_request(operation.arguments_model, values, is_text=operation.body is None), image

    return read


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise QueryError(
            "Idempotency-Key must be 1 to 255 visible ASCII characters",
            field="Idempotency-Key",
            malformed=True,
        )
    return key


def _fallback() -> Callable[[str], BaseResponse]:
    """Return a view that answers 404 for an unknown path and 405 for a known one."""
    templates = Map([Rule(operation.path, methods=[operation.method]) for operation in OPERATIONS])
    literal_paths = {operation.path: [operation.method] for operation in OPERATIONS if operation.body}

    def fallback(rest: str) -> BaseResponse:
        # /products/delete is an operation, although `delete` could be a product's id.
        methods = literal_paths.get(f"/{rest}") or templates.bind("").allowed_methods(f"/{rest}")
        if not methods:
            raise NotFound("no such path; see /openapi.json")
        allowed = sorted({*methods, "OPTIONS"})
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": ", ".join(allowed)})
        raise MethodNotAllowed(allowed, f"{request.method} is not allowed here")

    return fallback
