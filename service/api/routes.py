"""How requests reach the operations: rights, reading, ETags, and an answer for every path under /api/v1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from indexer.errors import QueryError
from service.answers import API
from service.api import OPERATIONS
from service.api.operations import Call, Operation, Values
from service.api.reading import read_form, read_json, read_query
from service.context import Service
from service.replies import is_known, json_reply, not_modified
from service.writer import ANYBODY, Caller

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_KEY_LENGTH = 255


def add_api(blueprint: Blueprint, service: Service) -> None:
    """Add every operation to a blueprint, and problems for whatever else is asked under /api/v1."""
    for operation in OPERATIONS:
        blueprint.add_url_rule(
            API + operation.path,
            endpoint=operation.name,
            view_func=_view(operation, service),
            methods=[operation.method],
        )
    blueprint.add_url_rule(
        f"{API}/<path:rest>", endpoint="api_fallback", view_func=_fallback(), methods=METHODS
    )


def _view(operation: Operation, service: Service) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        caller = ANYBODY
        if operation.writes:
            allowed = service.guard.check_write(request)
            if isinstance(allowed, Response):
                return allowed
            g.actor = allowed
            caller = Caller(allowed, g.request_id, _idempotency_key())
        catalogue, tag = service.here(), None
        if operation.tagged:
            catalogue = catalogue.pinned()
            tag = f'W/"{catalogue.view().tag}"'
            if is_known(request, tag):
                return not_modified(tag)
        values, image = _read(operation)
        answer = operation.handler(Call(catalogue, values, caller, image), **path)
        response = json_reply(answer, operation.status, tag=tag)
        if operation.status == 201:
            response.headers["Location"] = answer["image_url"].removesuffix("/image")
        return response

    return view


def _read(operation: Operation) -> tuple[Values, bytes]:
    if operation.form is not None:
        return read_form(request, operation.form)
    if operation.body is not None:
        return read_json(request), b""
    return read_query(request, operation.query), b""


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise QueryError(
            f"Idempotency-Key is 1 to {MAX_KEY_LENGTH} visible characters",
            field="Idempotency-Key",
            malformed=True,
        )
    return key


def _fallback() -> Callable[[str], Response]:
    """Return a view that tells an unknown path from a known one asked by the wrong method."""
    rules = Map([Rule(operation.path, methods=[operation.method]) for operation in OPERATIONS])

    def fallback(rest: str) -> Any:
        allowed = rules.bind("").allowed_methods(f"/{rest}")
        if allowed:
            raise MethodNotAllowed(sorted(allowed), f"{request.method} is not offered here")
        raise NotFound("there is nothing here; /openapi.json lists what there is")

    return fallback
