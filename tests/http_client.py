"""Flask's test client, typed as the tests use it: the JSON of a response is never None."""

from __future__ import annotations

from typing import Any, Protocol, Self, cast

from flask import Flask
from werkzeug.datastructures import Headers


class Response(Protocol):
    """A response of the test client."""

    status_code: int
    data: bytes
    text: str
    mimetype: str
    headers: Headers
    json: Any

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Client(Protocol):
    """A test client."""

    def open(self, path: str, *, method: str = "GET", **options: Any) -> Response: ...
    def get(self, path: str, **options: Any) -> Response: ...
    def head(self, path: str, **options: Any) -> Response: ...
    def post(self, path: str, **options: Any) -> Response: ...
    def delete(self, path: str, **options: Any) -> Response: ...
    def options(self, path: str, **options: Any) -> Response: ...


def make_client(app: Flask) -> Client:
    """Return a test client of an application."""
    return cast(Client, app.test_client())


def assert_problem(response: Response, status: int, problem_type: str) -> dict[str, Any]:
    """Check that a response is a problem (RFC 9457) of this status and type; return its body."""
    assert response.status_code == status, response.data
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.json
    assert body["type"] == f"/problems/{problem_type}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["Cache-Control"] == "no-store"
    return body
