"""Strict parsing of query strings, forms and JSON bodies into plain values, before validation."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, get_origin

from flask import Request
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnsupportedMediaType

from vitrine.indexer.errors import QueryError


@lru_cache
def list_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields of a model that may be given several times."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) in (tuple, list))


def read_query(request: Request, model: type[BaseModel] | None) -> dict[str, Any]:
    """Return the values of the query string; an empty one counts as absent. Raises QueryError."""
    if not request.query_string:
        return {}
    return _values(request.args, model)


def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object of the body.

    Raises UnsupportedMediaType, and QueryError for anything but strict JSON: NaN, a repeated name in an
    object, lone surrogates, too deep nesting.
    """
    if not request.is_json:
        raise UnsupportedMediaType("send the body as application/json")
    try:
        text = request.get_data(cache=False).decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated_names)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise QueryError(f"the body is not valid JSON: {reason}", malformed=True) from None
    if not isinstance(value, dict):
        raise QueryError("the body must be a JSON object", malformed=True)
    return value


def read_form(request: Request, model: type[BaseModel]) -> tuple[dict[str, Any], bytes]:
    """Return the fields of a multipart form and the bytes of its file `image`.

    Raises UnsupportedMediaType, QueryError.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("send the picture as multipart/form-data, in the field `image`")
    files = request.files.getlist("image")
    if len(files) != 1 or set(request.files) != {"image"}:
        raise QueryError("send exactly one file, in the field `image`", field="image", malformed=True)
    values = _values(request.form, model)
    return values, files[0].read()


def _values(given: MultiDict[str, str], model: type[BaseModel] | None) -> dict[str, Any]:
    """Return the given values by name; empty ones only for required fields."""
    lists = list_fields(model) if model else frozenset[str]()
    required = {name for name, field in model.model_fields.items() if field.is_required()} if model else set()
    values: dict[str, Any] = {}
    for name, all_texts in given.lists():
        texts = [text for text in all_texts if text or name in required]
        if name in lists:
            values[name] = texts
        elif len(texts) > 1:
            raise QueryError(
                f"{name} is given {len(texts)} times, but takes one value", field=name, malformed=True
            )
        elif texts:
            values[name] = texts[0]
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _refuse_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is repeated in an object")
    return value
