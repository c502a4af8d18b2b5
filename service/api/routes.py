"""How requests reach the operations: rights, reading, ETags, and an answer for every path under /api/v1."""

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
from vitrine.service.catalogue.request_models import parsed
from vitrine.service.catalogue.serialisation import API
from vitrine.service.catalogue.writer import ANYBODY, Caller
from vitrine.service.http.context import Service
from vitrine.service.http.responses import is_known, json_reply, not_modified
from vitrine.service.timing import stage

# How many query strings are remembered as checked requests, and how long one may be for that.
_QUERIES_KEPT, _SHORT_QUERY = 1024, 128
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_KEY = re.compile(r"[!-~]{1,255}")


def add_api(blueprint: Blueprint, service: Service) -> None:
    """Add every operation to a blueprint, and answers for whatever else is asked under /api/v1."""
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
        caller = ANYBODY
        if operation.writes:
            allowed = service.guard.check_write(request)
            if isinstance(allowed, BaseResponse):
                return allowed
            g.actor = allowed
            caller = Caller(allowed, g.request_id, _idempotency_key())
        catalogue, tag = service.here(), None
        if operation.tagged:
            catalogue = catalogue.pinned()
            tag = f'W/"{catalogue.view().tag}"'
        asked, image = read(operation)
        if tag is not None and is_known(request, tag):
            return not_modified(tag)
        answer = operation.handler(Call(catalogue, asked, caller, image), **path)
        return answer if isinstance(answer, BaseResponse) else _reply(operation, answer, tag)

    return view


def _reply(operation: Operation, answer: Any, tag: str | None) -> BaseResponse:
    response = json_reply(answer, operation.status, tag=tag)
    if operation.status == 201:
        response.headers["Location"] = answer["image_url"].removesuffix("/image")
    return response


def _reader(service: Service) -> Callable[[Operation], tuple[Any, bytes]]:
    """Return what reads and checks what a request asks. Query strings recur, and are read once."""

    @lru_cache(maxsize=_QUERIES_KEPT)
    def known_query(model: type[BaseModel], _: bytes) -> BaseModel:
        return parsed(model, read_query(request, model))

    def read(operation: Operation) -> tuple[Any, bytes]:
        if operation.body is None and operation.form is None:
            query = request.query_string
            if len(query) <= _SHORT_QUERY:
                return known_query(operation.query, query), b""
            return parsed(operation.query, read_query(request, operation.query)), b""
        with stage("body"), service.admission.receiving(turn=operation.form is None):
            if operation.form is not None:
                values, image = read_form(request, operation.form)
            else:
                values, image = read_json(request), b""
        return parsed(operation.takes, values, is_text=operation.body is None), image

    return read


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise QueryError(
            "Idempotency-Key is 1 to 255 visible ASCII characters",
            field="Idempotency-Key",
            malformed=True,
        )
    return key


def _fallback() -> Callable[[str], BaseResponse]:
    """Return a view that tells an unknown path from a known one asked by the wrong method."""
    templates = Map([Rule(operation.path, methods=[operation.method]) for operation in OPERATIONS])
    spelled = {operation.path: [operation.method] for operation in OPERATIONS if operation.body}

    def fallback(rest: str) -> BaseResponse:
        # /products/delete is an address of its own, although a product's id could be `delete`.
        methods = spelled.get(f"/{rest}") or templates.bind("").allowed_methods(f"/{rest}")
        if not methods:
            raise NotFound("there is nothing here; /openapi.json lists what there is")
        allowed = sorted({*methods, "OPTIONS"})
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": ", ".join(allowed)})
        raise MethodNotAllowed(allowed, f"{request.method} is not offered here")

    return fallback
