"""The OpenAPI 3.1 document, made from the operations and their models. Nothing in it is written twice."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from indexer.ids import MAX_ID_LENGTH
from service.answers import API
from service.api import OPERATIONS
from service.api.operations import Operation
from service.api.reading import list_fields
from service.api.schemas import HealthShape, ProblemShape
from service.requests import ImageQuery

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
_ALWAYS = (400, 421, 429, 503)
_ID: Json = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "a product's id",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": "^[^/]+$"},
}


def openapi_document(prefix: str, *, has_keys: bool) -> Json:
    """Return the document of a service mounted at `prefix`. has_keys: whether writes need one."""
    document = _document()
    return {
        **document,
        "servers": [{"url": prefix or "/"}],
        "components": {**document["components"], "securitySchemes": _SECURITY if has_keys else {}},
        "paths": _paths(has_keys),
    }


_SECURITY = {"key": {"type": "http", "scheme": "bearer", "description": "one of VITRINE_API_KEYS"}}


@lru_cache
def _document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vitrine",
            "version": version("vitrine"),
            "description": "Visual product recommendations. Errors are RFC 9457 problems.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> Json:
    models: dict[type[BaseModel], None] = {ProblemShape: None, HealthShape: None}
    for operation in OPERATIONS:
        models[operation.answer] = None
        for model in (operation.body, operation.form):
            if model is not None:
                models[model] = None
    wanted = [(model, "validation") for model in models]
    _, schema = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
    definitions: Json = schema["$defs"]
    for model in {operation.form for operation in OPERATIONS if operation.form}:
        _add_image(definitions[model.__name__])
    return definitions


def _add_image(form: Json) -> None:
    form["properties"]["image"] = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, …"}
    form["required"] = [*form.get("required", []), "image"]


def _paths(has_keys: bool) -> Json:
    paths: Json = {}
    for operation in OPERATIONS:
        path = API + _template(operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, has_keys)
    paths[f"{API}/products/{{id}}/image"] = {"get": _image_operation()}
    for path, name, summary in (
        ("/healthz", "healthz", "Alive"),
        ("/readyz", "readyz", "Ready: a snapshot is open"),
    ):
        answers = {"200": _content(summary, "HealthShape")}
        if name == "readyz":
            answers["503"] = _problem(503)
        paths[path] = {
            "get": {"operationId": name, "summary": summary, "tags": ["service"], "responses": answers}
        }
    text = {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths["/metrics"] = {
        "get": {
            "operationId": "metrics",
            "summary": "Metrics",
            "tags": ["service"],
            "responses": {"200": text},
        }
    }
    return paths


def _operation(operation: Operation, has_keys: bool) -> Json:
    found: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        "responses": _responses(operation),
    }
    parameters = [_ID] if "<id>" in operation.path else []
    if operation.query is not None:
        parameters += _query_parameters(operation.query)
    if operation.writes:
        parameters.append(_IDEMPOTENCY_KEY)
        if has_keys:
            found["security"] = [{"key": []}]
    if parameters:
        found["parameters"] = parameters
    for model, media in ((operation.body, "application/json"), (operation.form, "multipart/form-data")):
        if model is not None:
            schema = {"$ref": _REF.format(model=model.__name__)}
            found["requestBody"] = {"required": True, "content": {media: {"schema": schema}}}
    return found


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "repeat a write safely: the same key gets the same answer, and the write is done once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _responses(operation: Operation) -> Json:
    status = str(operation.status)
    answers = {status: _content(HTTPStatus(operation.status).phrase, operation.answer.__name__)}
    if operation.tagged:
        answers[status]["headers"] = {"ETag": {"schema": {"type": "string"}}}
        answers["304"] = {"description": "nothing changed since the answer with this ETag"}
    problems = {*_ALWAYS, *operation.problems}
    if operation.writes:
        problems |= {401, 403}
    answers |= {str(code): _problem(code) for code in sorted(problems)}
    return answers


def _image_operation() -> Json:
    picture = {"schema": {"type": "string", "format": "binary"}}
    kinds = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif")
    return {
        "operationId": "image",
        "summary": "A product's picture: the original, or a thumbnail as WebP or JPEG.",
        "tags": ["products"],
        "parameters": [_ID, *_query_parameters(ImageQuery)],
        "responses": {
            "200": {"description": "OK", "content": dict.fromkeys(kinds, picture)},
            "206": {"description": "a part of it", "content": dict.fromkeys(kinds, picture)},
            "304": {"description": "nothing changed"},
            "416": {"description": "no such part"},
            **{str(code): _problem(code) for code in (*_ALWAYS, 404, 422)},
        },
    }


def _query_parameters(model: type[BaseModel]) -> list[Json]:
    schema = model.model_json_schema(ref_template=_REF)
    lists = list_fields(model)
    found = []
    for name, each in schema["properties"].items():
        described = {key: value for key, value in each.items() if key not in ("title", "description")}
        parameter: Json = {
            "name": name,
            "in": "query",
            "description": each.get("description", ""),
            "schema": described,
        }
        if name in schema.get("required", ()):
            parameter["required"] = True
        if name in lists:
            parameter |= {"style": "form", "explode": True}
        if described.get("type") == "object":
            parameter["content"] = {"application/json": {"schema": parameter.pop("schema")}}
        found.append(parameter)
    return found


def _content(description: str, model: str) -> Json:
    schema = {"$ref": _REF.format(model=model)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problem(status: int) -> Json:
    schema = {"$ref": _REF.format(model="ProblemShape")}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": schema}},
    }


def _template(path: str) -> str:
    return re.sub(r"<(\w+)>", r"{\1}", path)
