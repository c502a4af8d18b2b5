"""The OpenAPI 3.1 document, generated from the operations and their models."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vitrine.indexer.products.ids import MAX_ID_LENGTH
from vitrine.service.api import OPERATIONS
from vitrine.service.api.operations import Operation
from vitrine.service.api.reading import list_fields
from vitrine.service.api.schemas import HealthShape, ProblemShape, ReadyShape
from vitrine.service.catalogue.serialisation import API

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
    models: dict[type[BaseModel], None] = {ProblemShape: None, HealthShape: None, ReadyShape: None}
    for operation in OPERATIONS:
        for model in (operation.answer, operation.body, operation.form):
            if model is not None:
                models[model] = None
    wanted = [(model, "validation") for model in models]
    _, schema = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
    definitions: Json = schema["$defs"]
    for model in {operation.form for operation in OPERATIONS if operation.form}:
        _add_image(definitions[model.__name__])
    return definitions


def _add_image(form: Json) -> None:
    form["properties"] = {name: _as_text(each) for name, each in form["properties"].items()}
    form["properties"]["image"] = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, …"}
    form["required"] = [*form.get("required", []), "image"]


def _as_text(schema: Json) -> Json:
    """Return a schema for a value in text form: without null, and with 1 and 0 as booleans."""
    types = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(types) == 1:
        rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
        return {**rest, **types[0]}
    if schema.get("type") == "boolean":
        rest = {name: value for name, value in schema.items() if name != "type"}
        return {**rest, "anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}
    return schema


def _paths(has_keys: bool) -> Json:
    paths: Json = {}
    for operation in OPERATIONS:
        path = API + _template(operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, has_keys)
    healthz = {"200": _content("Alive", "HealthShape")}
    readyz = {"200": _content("Ready: a snapshot is open", "ReadyShape"), "503": _problem(503)}
    for name, answers in (("healthz", healthz), ("readyz", readyz)):
        summary = answers["200"]["description"]
        paths[f"/{name}"] = {
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
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        "responses": _responses(operation),
    }
    parameters = [_ID] if "<id>" in operation.path else []
    parameters += _query_parameters(operation.query)
    if operation.writes:
        parameters.append(_IDEMPOTENCY_KEY)
        if has_keys:
            described["security"] = [{"key": []}]
    if parameters:
        described["parameters"] = parameters
    for model, media in ((operation.body, "application/json"), (operation.form, "multipart/form-data")):
        if model is not None:
            schema = {"$ref": _REF.format(model=model.__name__)}
            described["requestBody"] = {"required": True, "content": {media: {"schema": schema}}}
    return described


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "makes a repeated write safe: a key gets the same answer, and happens once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _responses(operation: Operation) -> Json:
    status = str(operation.status)
    if operation.answer is None:
        answers: Json = dict(_PICTURE_ANSWERS)
    else:
        answers = {status: _content(HTTPStatus(operation.status).phrase, operation.answer.__name__)}
    for media in operation.media:
        answers[status]["content"][media] = {"schema": {"type": "string"}}
    if operation.tagged:
        answers[status]["headers"] = {"ETag": {"schema": {"type": "string"}}}
        answers["304"] = {"description": "not modified"}
    problems = {*_ALWAYS, *operation.problems}
    if operation.body or operation.form:
        problems |= {413, 415}
    if operation.writes:
        problems |= {401, 403, 409}
    answers |= {str(code): _problem(code) for code in sorted(problems)}
    return answers


_PICTURE: Json = {
    "content": {
        f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
        for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif")
    }
}
_PICTURE_ANSWERS: Json = {
    "200": {"description": "OK", **_PICTURE},
    "206": {"description": "the requested part", **_PICTURE},
    "304": {"description": "not modified"},
}


def _query_parameters(model: type[BaseModel]) -> list[Json]:
    schema = model.model_json_schema(ref_template=_REF)
    lists = list_fields(model)
    parameters = []
    for name, each in schema["properties"].items():
        plain = _as_text(each)
        value_schema = {key: value for key, value in plain.items() if key not in ("title", "description")}
        parameter: Json = {
            "name": name,
            "in": "query",
            "description": each.get("description", ""),
            "schema": value_schema,
        }
        if name in schema.get("required", ()):
            parameter["required"] = True
        if name in lists:
            parameter |= {"style": "form", "explode": True}
        elif name not in schema.get("required", ()) and value_schema.get("type") != "object":
            parameter["allowEmptyValue"] = True
        if value_schema.get("type") == "object":
            parameter["content"] = {"application/json": {"schema": parameter.pop("schema")}}
        parameters.append(parameter)
    return parameters


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
