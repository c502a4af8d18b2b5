"""A connection to Milvus: bounded in time, tried again, back by itself when the server is.

Nothing of pymilvus leaves this module but what it answers.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from typing import Any

from vitrine.indexer.errors import StoreUnavailable
from vitrine.indexer.milvus.address import StoreAddress

TIMEOUT_S = 5.0
ATTEMPTS = 3
PAUSE_S = 0.1


class Connection:
    """One client of one Milvus, made at the first call. Thread-safe, and safe after a fork."""

    def __init__(self, address: StoreAddress) -> None:
        """Connect to nothing yet."""
        self.address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = -1

    def call(self, method: str, *args: Any, attempts: int = ATTEMPTS, **options: Any) -> Any:
        """Call a method of MilvusClient that may be repeated. timeout: seconds for one attempt.

        Raises StoreUnavailable when the last attempt failed, too.
        """
        options.setdefault("timeout", TIMEOUT_S)
        problem: Exception | None = None
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE_S * 4 ** (attempt - 1))
            try:
                return getattr(self._connected(), method)(*args, **options)
            except StoreUnavailable:
                raise
            except Exception as error:  # pymilvus lets through what gRPC, its own checks and lite raise
                problem = error
        raise StoreUnavailable(
            f"Milvus at {self.address.endpoint} does not answer ({method}: {_said(problem)})"
        ) from problem

    def close(self) -> None:
        """Close the client; the next call makes another."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._process == os.getpid():
                client.close()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client = _client_class()(
                    uri=self.address.endpoint, token=self.address.token, timeout=TIMEOUT_S, dedicated=True
                )
                self._process = os.getpid()
            return self._client


def _client_class() -> Any:
    try:
        pymilvus = importlib.import_module("pymilvus")
    except ImportError as error:
        raise StoreUnavailable("pymilvus is not installed: pip install 'vitrine[milvus]'") from error
    for name in ("pymilvus", "grpc._server"):  # every error is logged with a traceback, and raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return pymilvus.MilvusClient


def data_types() -> Any:
    """Return pymilvus.DataType. Raises StoreUnavailable where pymilvus is not installed."""
    _client_class()
    return importlib.import_module("pymilvus").DataType


def _said(error: Exception | None) -> str:
    """Return what an error says in one short line."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    return " ".join(text.split())[:200]
