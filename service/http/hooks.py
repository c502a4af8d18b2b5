"""Request hooks: request id, timing and limits before a request; headers, metrics and log line after it."""

from __future__ import annotations

import logging
import re
import uuid

from flask import Request, Response, g, request

from vitrine.service.http.context import Service
from vitrine.service.http.responses import add_headers
from vitrine.service.logs import log_event
from vitrine.service.timing import Stopwatch

log = logging.getLogger("vitrine.service.requests")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_READ_METHODS = "GET, HEAD, POST, OPTIONS"


class Hooks:
    """Request hooks of one service."""

    def __init__(self, service: Service) -> None:
        """service: the service whose blueprint registers these hooks."""
        self._service = service

    def begin(self) -> Response | None:
        """Start the stopwatch and make the checks that need no body."""
        current = _current_request()
        g.stopwatch = Stopwatch.start()
        g.request_id = _client_request_id(current) or uuid.uuid4().hex
        service = self._service
        current.max_content_length = service.config.max_body_bytes
        service.guard.check_host(current)
        if service.config.rate_limit:
            service.rates.hit(current.remote_addr or "")
        if current.method == "OPTIONS" and self._allowed_origin():
            return Response(status=204)
        return None

    def finish(self, response: Response) -> Response:
        """Add headers, then record the request in metrics and log."""
        if "stopwatch" not in g:  # a hook of the host application answered before `begin`
            self._start_late()
        stopwatch: Stopwatch = g.stopwatch
        seconds = stopwatch.elapsed_s()
        timing = _server_timing(stopwatch, seconds)
        add_headers(response, ("X-Request-ID", g.request_id), ("Server-Timing", timing))
        if self._service.config.cors_origins:
            self._add_cors(response)
        self._record(response, seconds, stopwatch)
        return response

    def _start_late(self) -> None:
        g.stopwatch = Stopwatch.start()
        g.request_id = _client_request_id(request) or uuid.uuid4().hex

    def _record(self, response: Response, seconds: float, stopwatch: Stopwatch) -> None:
        current, metrics = _current_request(), self._service.metrics
        rule = current.url_rule
        route = "unmatched" if rule is None or "fallback" in rule.endpoint else rule.rule
        metrics.observe(route, current.method, response.status_code, seconds, stopwatch.stages)
        problem = g.get("problem")
        if problem:
            metrics.count_problem(problem)
        if self._service.config.access_log and log.isEnabledFor(logging.INFO):
            event = {
                "request_id": g.request_id,
                "method": current.method,
                "path": current.path,
                "status": response.status_code,
                "ms": round(1e3 * seconds, 3),
                "stages": {name: round(1e3 * stage_s, 3) for name, stage_s in stopwatch.stages.items()},
                "client": current.remote_addr,
                "actor": g.get("actor"),
                "problem": problem,
            }
            log_event(log, logging.INFO, "request", event)

    def _allowed_origin(self) -> str | None:
        origin, allowed = request.headers.get("Origin"), self._service.config.cors_origins
        return origin if origin and (origin in allowed or "*" in allowed) else None

    def _add_cors(self, response: Response) -> None:
        """Allow pages of the configured origins to read. Their writes stay refused."""
        response.headers.add("Vary", "Origin")
        origin = self._allowed_origin()
        if origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = _READ_METHODS
                response.headers["Access-Control-Allow-Headers"] = "Content-Type"
                response.headers["Access-Control-Max-Age"] = "600"


def _current_request() -> Request:
    """Return the request behind Flask's proxy, which looks it up again at each attribute."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _client_request_id(request: Request) -> str | None:
    """Return the client's id of this request, if it is safe in logs and headers."""
    given = request.headers.get("X-Request-ID")
    return given if given and _REQUEST_ID.fullmatch(given) else None


def _server_timing(stopwatch: Stopwatch, seconds: float) -> str:
    parts = [f"{name};dur={1e3 * stage_s:.3f}" for name, stage_s in stopwatch.stages.items()]
    return ", ".join([*parts, f"total;dur={1e3 * seconds:.3f}"])
