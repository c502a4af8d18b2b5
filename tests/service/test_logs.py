"""Log lines as text and as JSON."""

from __future__ import annotations

import datetime as dt
import json
import logging

import pytest

from vitrine.service.logs import JsonFormatter, configure, fields, log_event


def test_log_lines_contain_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    log = logging.getLogger("vitrine.service.tests")
    log_event(log, logging.INFO, "request", {"path": "/a", "status": 200})
    log.warning("odd %s", "thing", extra=fields(request_id="r1"))
    try:
        raise RuntimeError("inside")
    except RuntimeError:
        log.exception("failed")
    configure("text", "warning")
    log.info("not shown")
    log.warning("shown", extra=fields(name="é"))
    log.error("bad", exc_info=(ValueError, ValueError("why"), None))
    lines = capsys.readouterr().err.splitlines()
    first, second, third = (json.loads(line) for line in lines[:3])
    assert (first["message"], first["path"], first["level"]) == ("request", "/a", "info")
    assert (second["message"], second["request_id"]) == ("odd thing", "r1")
    assert "RuntimeError: inside" in third["traceback"]
    assert lines[3].endswith('warning shown name="\\u00e9"')
    assert "ValueError: why" in "\n".join(lines[4:])
    root = logging.getLogger("vitrine")
    root.handlers.clear()
    root.propagate = True
    root.setLevel(logging.NOTSET)


def test_json_log_lines_are_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"path": "/tênis\n\u2028", "count": 2**70, "at": dt.date(2024, 5, 1)}
    form = JsonFormatter()
    line = form.line(0.0, "INFO", "vitrine.service.requests", "request", event)
    assert line.isascii()
    assert "\n" not in line
    read = json.loads(line)
    assert (read["path"], read["count"], read["at"]) == (event["path"], 2**70, "2024-05-01")
    assert read["time"] == "1970-01-01T00:00:00.000+00:00"
