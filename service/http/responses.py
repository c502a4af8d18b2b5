"""HTTP responses: JSON answers, problem documents, ETags and security headers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Request, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response as BaseResponse

from vitrine.indexer.errors import VitrineError
from vitrine.service.errors import TooManyRequests
from vitrine.service.logs import fields
from vitrine.service.problems import Problem, problem, problem_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)
# Policy of the pages: resources of this host only; Plotly and canvas need data: and blob: pictures.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)
_PAGE_HEADERS = (
    ("Content-Security-Policy", PAGE_POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_DATA_HEADERS = (
    ("Content-Security-Policy", DATA_POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_REVALIDATED = (("Cache-Control", "private, no-cache"),)
_TITLES = {
    400: "The request is malformed",
    413: "Too large",
    415: "This kind of body is not understood",
}
_PROBLEM_TYPES = {400: "malformed-request", 413: "too-large", 415: "unsupported-body"}


class WholeResponse(Response):
    """A response that gives the server its whole body at once, which is faster than an iterator."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request."""
        is_bodiless = environ["REQUEST_METHOD"] == "HEAD" or self.status_code in (204, 304)
        if is_bodiless or not self.is_sequence or self._on_close:
            return super().__call__(environ, start_response)
        data = self.get_data()
        self.headers["Content-Length"] = str(len(data))
        start_response(self.status, self.headers.to_wsgi_list())
        return [data]


def json_response(value: Any, status: int = 200, *, tag: str | None = None) -> Response:
    """Return a JSON response. tag: its ETag; a response without one is not cached."""
    kept = [("Cache-Control", "no-store")] if tag is None else [("ETag", tag), *_REVALIDATED]
    return WholeResponse(_encoded(value), status, [("Content-Type", "application/json"), *kept])


def not_modified(tag: str) -> Response:
    """Return the 304 response to a request that names the current ETag."""
    return Response(status=304, headers=[("ETag", tag), *_REVALIDATED])


def matches_etag(request: Request, tag: str) -> bool:
    """Return whether the request names this ETag (weak comparison, RFC 9110 section 13.1.2)."""
    given = request.headers.get("If-None-Match")
    return given is not None and tag.removeprefix("W/") in {
        part.strip().removeprefix("W/") for part in given.split(",")
    }


def problem_response(error: Exception) -> BaseResponse:
    """Return an error as a problem. Unexpected errors are logged with their traceback and show no detail."""
    if isinstance(error, HTTPException):
        return _framework_problem(error)
    document = problem_of(error)
    if document["status"] >= 500:
        traceback = None if isinstance(error, VitrineError) else error
        log.error("%s", error, exc_info=traceback, extra=fields(request_id=_request_id()))
    response = _document_response(document)
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if document["status"] == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="vitrine"'
    return response


def _framework_problem(error: HTTPException) -> BaseResponse:
    """Return an HTTP exception as a problem, with the headers of its own page, such as Allow."""
    if error.response is not None:
        return cast(BaseResponse, error.response)  # a redirect, or a host application's abort(response)
    status = error.code or 500
    name = HTTP_STATUS_CODES.get(status, "error")
    problem_type = _PROBLEM_TYPES.get(status, name.lower().replace(" ", "-"))
    detail = error.description or name
    if status == 413 and request.max_content_length:
        detail = f"the request body is limited to {request.max_content_length / 2**20:g} MiB"
    document = problem(status, problem_type, _TITLES.get(status, name), detail)
    response = _document_response(document)
    for header, value in error.get_headers():
        if header not in ("Content-Type", "Content-Length"):
            response.headers[header] = value
    return response


def _document_response(document: Problem) -> Response:
    g.problem = document["type"].removeprefix("/problems/")
    body = {**document, "request_id": _request_id()}
    response = WholeResponse(_encoded(body), document["status"], mimetype="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    return response


def add_headers(response: Response, *own: tuple[str, str]) -> None:
    """Add `own` headers and the security headers.

    Policies that the response sets itself stay. One pass over the headers is faster than setting each.
    """
    headers = response.headers
    present = {name.lower() for name, _ in headers}
    for name, value in (*own, *_HEADERS):
        if name.lower() in present:
            headers.remove(name)
        headers.add(name, value)
    for name, value in _PAGE_HEADERS if response.mimetype == "text/html" else _DATA_HEADERS:
        if name.lower() not in present:
            headers.add(name, value)


def _request_id() -> str | None:
    request_id: str | None = g.get("request_id")
    return request_id


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # such as a whole number past 64 bits in an attribute
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
