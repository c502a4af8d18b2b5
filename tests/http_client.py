"""Flask's test client with types that say what tests rely on: an answer's JSON is there to be indexed."""

from __future__ import annotations

from typing import Any, Protocol, Self, cast

from flask import Flask
from werkzeug.datastructures import Headers


class Reply(Protocol):
    status_code: int
    data: bytes
    text: str
    mimetype: str
    headers: Headers
    json: Any

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Client(Protocol):
    def open(self, path: str, *, method: str = "GET", **more: Any) -> Reply: ...
    def get(self, path: str, **more: Any) -> Reply: ...
    def head(self, path: str, **more: Any) -> Reply: ...
    def post(self, path: str, **more: Any) -> Reply: ...
    def delete(self, path: str, **more: Any) -> Reply: ...
    def options(self, path: str, **more: Any) -> Reply: ...


def client_of(app: Flask) -> Client:
    """Return a client of an application."""
    return cast(Client, app.test_client())


def assert_problem(response: Reply, status: int, kind: str) -> dict[str, Any]:
    """Check the one shape that every error has, and return it."""
    assert response.status_code == status, response.data
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.json
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["Cache-Control"] == "no-store"
    return body
