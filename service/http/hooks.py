"""Around every request of one service: its id, clock and limits before; headers, metrics and log after."""

from __future__ import annotations

import logging
import re
import uuid

from flask import Request, Response, g, request

from vitrine.service.http.context import Service
from vitrine.service.http.responses import put_headers
from vitrine.service.logs import log_event
from vitrine.service.timing import Stopwatch

log = logging.getLogger("vitrine.service.requests")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_READ_METHODS = "GET, HEAD, POST, OPTIONS"


class Hooks:
    """The hooks of one service."""

    def __init__(self, service: Service) -> None:
        """Make the hooks that `create_blueprint` registers."""
        self._service = service

    def begin(self) -> Response | None:
        """Start the clock and check what can be checked before the body is read."""
        asked = _asked()
        g.stopwatch = Stopwatch.start()
        g.request_id = _given_id(asked) or uuid.uuid4().hex
        service = self._service
        asked.max_content_length = service.config.max_body_bytes
        service.guard.check_host(asked)
        if service.config.rate_limit:
            service.rates.hit(asked.remote_addr or "")
        if asked.method == "OPTIONS" and self._allowed_origin():
            return Response(status=204)
        return None

    def finish(self, response: Response) -> Response:
        """Add headers, then count and log the request."""
        if "stopwatch" not in g:  # a hook of the host application refused before ours began
            self._start_late()
        stopwatch: Stopwatch = g.stopwatch
        seconds = stopwatch.elapsed_s()
        timing = _server_timing(stopwatch, seconds)
        put_headers(response, ("X-Request-ID", g.request_id), ("Server-Timing", timing))
        if self._service.config.cors_origins:
            self._add_cors(response)
        self._record(response, seconds, stopwatch)
        return response

    def _start_late(self) -> None:
        g.stopwatch = Stopwatch.start()
        g.request_id = _given_id(request) or uuid.uuid4().hex

    def _record(self, response: Response, seconds: float, stopwatch: Stopwatch) -> None:
        asked, metrics = _asked(), self._service.metrics
        rule = asked.url_rule
        route = "unmatched" if rule is None or "fallback" in rule.endpoint else rule.rule
        metrics.observe(route, asked.method, response.status_code, seconds, stopwatch.stages)
        problem = g.get("problem")
        if problem:
            metrics.count_problem(problem)
        if self._service.config.access_log and log.isEnabledFor(logging.INFO):
            event = {
                "request_id": g.request_id,
                "method": asked.method,
                "path": asked.path,
                "status": response.status_code,
                "ms": round(1e3 * seconds, 3),
                "stages": {name: round(1e3 * took, 3) for name, took in stopwatch.stages.items()},
                "client": asked.remote_addr,
                "actor": g.get("actor"),
                "problem": problem,
            }
            log_event(log, logging.INFO, "request", event)

    def _allowed_origin(self) -> str | None:
        origin, allowed = request.headers.get("Origin"), self._service.config.cors_origins
        return origin if origin and (origin in allowed or "*" in allowed) else None

    def _add_cors(self, response: Response) -> None:
        """Let pages of the configured origins read. Their writes are refused whatever they ask for."""
        response.headers.add("Vary", "Origin")
        origin = self._allowed_origin()
        if origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = _READ_METHODS
                response.headers["Access-Control-Allow-Headers"] = "Content-Type"
                response.headers["Access-Control-Max-Age"] = "600"


def _asked() -> Request:
    """Return the request itself: its proxy looks for it again at each attribute."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _given_id(request: Request) -> str | None:
    """Return the caller's id for this request, if it is one that can stand in logs and headers."""
    given = request.headers.get("X-Request-ID")
    return given if given and _REQUEST_ID.fullmatch(given) else None


def _server_timing(stopwatch: Stopwatch, seconds: float) -> str:
    parts = [f"{name};dur={1e3 * took:.3f}" for name, took in stopwatch.stages.items()]
    return ", ".join([*parts, f"total;dur={1e3 * seconds:.3f}"])
