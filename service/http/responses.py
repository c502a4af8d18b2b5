"""Answers and errors as HTTP responses: JSON, problems, ETags, and the headers that keep browsers safe."""

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
# The one policy of the pages: all from this host; Plotly and canvas need data: and blob: pictures.
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
_KINDS = {400: "malformed-request", 413: "too-large", 415: "unsupported-body"}


class WholeResponse(Response):
    """A response whose body is at hand, given to the server in one piece: faster than an iterator."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as WSGI wants it."""
        is_bodiless = environ["REQUEST_METHOD"] == "HEAD" or self.status_code in (204, 304)
        if is_bodiless or not self.is_sequence or self._on_close:
            return super().__call__(environ, start_response)
        data = self.get_data()
        self.headers["Content-Length"] = str(len(data))
        start_response(self.status, self.headers.to_wsgi_list())
        return [data]


def json_reply(value: Any, status: int = 200, *, tag: str | None = None) -> Response:
    """Return an answer as JSON. tag: its ETag; without one it is not kept by anybody."""
    kept = [("Cache-Control", "no-store")] if tag is None else [("ETag", tag), *_REVALIDATED]
    return WholeResponse(_encoded(value), status, [("Content-Type", "application/json"), *kept])


def not_modified(tag: str) -> Response:
    """Return the answer to a request that knows the answer already."""
    return Response(status=304, headers=[("ETag", tag), *_REVALIDATED])


def is_known(request: Request, tag: str) -> bool:
    """Return whether the request names this ETag (weak comparison, RFC 9110 section 13.1.2)."""
    given = request.headers.get("If-None-Match")
    return given is not None and tag.removeprefix("W/") in {
        part.strip().removeprefix("W/") for part in given.split(",")
    }


def problem_reply(error: Exception) -> BaseResponse:
    """Return an error as a problem. Unexpected ones are logged with their traceback and tell nothing."""
    if isinstance(error, HTTPException):
        return _framework_problem(error)
    found = problem_of(error)
    if found["status"] >= 500:
        traceback = None if isinstance(error, VitrineError) else error
        log.error("%s", error, exc_info=traceback, extra=fields(request_id=_request_id()))
    response = _problem_response(found)
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if found["status"] == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="vitrine"'
    return response


def _framework_problem(error: HTTPException) -> BaseResponse:
    """Return what Flask raised as a problem, with the headers that its own page would have, such as Allow."""
    if error.response is not None:
        return cast(BaseResponse, error.response)  # a redirect, or what a host application aborted with
    status = error.code or 500
    name = HTTP_STATUS_CODES.get(status, "error")
    kind = _KINDS.get(status, name.lower().replace(" ", "-"))
    detail = error.description or name
    if status == 413 and request.max_content_length:
        detail = f"a request has at most {request.max_content_length / 2**20:g} MiB here"
    found = problem(status, kind, _TITLES.get(status, name), detail)
    response = _problem_response(found)
    for header, value in error.get_headers():
        if header not in ("Content-Type", "Content-Length"):
            response.headers[header] = value
    return response


def _problem_response(found: Problem) -> Response:
    g.problem = found["type"].removeprefix("/problems/")
    body = {**found, "request_id": _request_id()}
    response = WholeResponse(_encoded(body), found["status"], mimetype="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    return response


def put_headers(response: Response, *own: tuple[str, str]) -> None:
    """Add `own` headers, and those that keep a browser from doing more with an answer than show it.

    What the answer says of its own policy stays. Setting each would look through all headers each time.
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
    found: str | None = g.get("request_id")
    return found


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # such as a whole number past 64 bits in an attribute
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
