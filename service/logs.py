"""The log: one JSON object or one readable line an event, on stderr. Never holds keys or bodies."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any

_OWN = "vitrine_fields"
_encoded = json.JSONEncoder(ensure_ascii=True, default=str).encode


def configure(form: str, level: str) -> None:
    """Send the logs of `service` and `indexer` to stderr. For commands only; a host keeps its own log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[form]())
    for name in ("service", "indexer"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False


def log_event(logger: logging.Logger, level: int, message: str, values: dict[str, Any]) -> None:
    """Log an event with its own fields, not looking for the calling line: for what is logged often."""
    record = logging.LogRecord(logger.name, level, __file__, 0, message, None, None)
    setattr(record, _OWN, values)
    logger.handle(record)


def fields(**values: Any) -> dict[str, Any]:
    """Return the `extra` of a log call that carries these values."""
    return {_OWN: values}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _OWN, {}),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return _encoded(event)


class TextFormatter(logging.Formatter):
    """One readable line, the event's own fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        own: dict[str, Any] = getattr(record, _OWN, {})
        parts = [f"{name}={_encoded(value)}" for name, value in own.items()]
        line = " ".join([_instant(record), record.levelname.lower(), record.getMessage(), *parts])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


FORMATTERS: dict[str, type[logging.Formatter]] = {"json": JsonFormatter, "text": TextFormatter}


def _instant(record: logging.LogRecord) -> str:
    return dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
