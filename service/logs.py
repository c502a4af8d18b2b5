"""Logging: one JSON object or one readable line per event, on stderr. Keys and bodies are never logged."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import sys
import time
from typing import Any, TextIO

import orjson

_OWN = "vitrine_fields"
_VITRINE = logging.getLogger("vitrine")
_slowly_encoded = json.JSONEncoder(ensure_ascii=True, default=str).encode


class _Lines(logging.StreamHandler[TextIO]):
    """Handler of the commands, which can write events without a LogRecord, at half the cost."""

    def write_event(self, logger: str, level: int, message: str, values: dict[str, Any]) -> None:
        """Write one event as a line."""
        formatter = self.formatter
        assert isinstance(formatter, JsonFormatter | TextFormatter)
        line = formatter.line(time.time(), logging.getLevelName(level), logger, message, values)
        with self.lock or contextlib.nullcontext():
            try:
                self.stream.write(f"{line}\n")
            except Exception:
                self.handleError(logging.makeLogRecord({"name": logger, "msg": message}))


def configure(log_format: str, level: str) -> None:
    """Send the logs of `vitrine` to stderr. For commands only; a host application keeps its own log."""
    handler = _Lines(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    _VITRINE.handlers[:] = [handler]
    _VITRINE.setLevel(level.upper())
    _VITRINE.propagate = False


def log_event(logger: logging.Logger, level: int, message: str, values: dict[str, Any]) -> None:
    """Log an event with its own fields, without looking up the calling line: for frequent events.

    logger: a logger below `vitrine`, whose level admits the event.
    """
    handlers = _VITRINE.handlers
    if len(handlers) == 1 and isinstance(handlers[0], _Lines) and not logger.handlers:
        handlers[0].write_event(logger.name, level, message, values)
        return
    record = logging.LogRecord(logger.name, level, __file__, 0, message, None, None)
    setattr(record, _OWN, values)
    logger.handle(record)


def fields(**values: Any) -> dict[str, Any]:
    """Return the `extra` argument of a log call with these fields."""
    return {_OWN: values}


class JsonFormatter(logging.Formatter):
    """Formatter of JSON lines: time, level, logger, message, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a log record."""
        own: dict[str, Any] = getattr(record, _OWN, {})
        if record.exc_info:
            own = {**own, "traceback": self.formatException(record.exc_info)}
        return self.line(record.created, record.levelname, record.name, record.getMessage(), own)

    def line(self, at: float, level: str, logger: str, message: str, own: dict[str, Any]) -> str:
        """Return the line of an event. at: Unix time in seconds."""
        event = {"time": _instant(at), "level": level.lower(), "logger": logger, "message": message, **own}
        return _encoded(event)


class TextFormatter(logging.Formatter):
    """Formatter of readable lines, with the event's own fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a log record."""
        own: dict[str, Any] = getattr(record, _OWN, {})
        line = self.line(record.created, record.levelname, record.name, record.getMessage(), own)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def line(self, at: float, level: str, _: str, message: str, own: dict[str, Any]) -> str:
        """Return the line of an event. at: Unix time in seconds."""
        parts = [f"{name}={_encoded(value)}" for name, value in own.items()]
        return " ".join([_instant(at), level.lower(), message, *parts])


FORMATTERS: dict[str, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def _instant(seconds: float) -> str:
    """Return a Unix time in ISO format, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")


def _encoded(value: Any) -> str:
    """Return a value as JSON in ASCII, which is safe for every terminal and file."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return _slowly_encoded(value)
    return text.decode("ascii") if text.isascii() else _slowly_encoded(value)
