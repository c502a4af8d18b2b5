"""Connections to Milvus, with timeouts and retries. They recover by themselves after a restart of the server.

Other modules use pymilvus only through this one.
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
RETRY_PAUSE_S = 0.1


class Connection:
    """A client of one Milvus server, created at the first call. Thread-safe, and usable after a fork."""

    def __init__(self, address: StoreAddress) -> None:
        """address: of the server. No connection is made yet."""
        self.address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._client_pid = -1

    def call(self, method: str, *args: Any, attempts: int = ATTEMPTS, **options: Any) -> Any:
        """Call an idempotent method of MilvusClient, up to `attempts` times.

        options: keyword arguments of the method; `timeout` is in seconds, for one attempt. Raises
        StoreUnavailable if every attempt fails.
        """
        options.setdefault("timeout", TIMEOUT_S)
        last_error: Exception | None = None
        for attempt in range(attempts):
            if attempt:
                time.sleep(RETRY_PAUSE_S * 4 ** (attempt - 1))
            try:
                return getattr(self._open_client(), method)(*args, **options)
            except StoreUnavailable:
                raise
            except Exception as error:  # pymilvus raises errors of gRPC, of milvus-lite and of its own
                last_error = error
        raise StoreUnavailable(
            f"Milvus at {self.address.endpoint} does not answer ({method}: {_short_message(last_error)})"
        ) from last_error

    def close(self) -> None:
        """Close the client. The next call creates another."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None and self._client_pid == os.getpid():
                client.close()

    def _open_client(self) -> Any:
        """Return the client of this process, created if there is none. A client does not survive a fork."""
        with self._lock:
            if self._client is None or self._client_pid != os.getpid():
                self._client = _client_class()(
                    uri=self.address.endpoint, token=self.address.token, timeout=TIMEOUT_S, dedicated=True
                )
                self._client_pid = os.getpid()
            return self._client


def _client_class() -> Any:
    """Return pymilvus.MilvusClient. Raises StoreUnavailable if pymilvus is not installed."""
    try:
        pymilvus = importlib.import_module("pymilvus")
    except ImportError as error:
        raise StoreUnavailable("pymilvus is not installed: pip install 'vitrine[milvus]'") from error
    for name in ("pymilvus", "grpc._server"):  # they log every error with a traceback, and raise it too
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return pymilvus.MilvusClient


def data_types() -> Any:
    """Return pymilvus.DataType. Raises StoreUnavailable if pymilvus is not installed."""
    _client_class()
    return importlib.import_module("pymilvus").DataType


def _short_message(error: Exception | None) -> str:
    """Return the message of an error as one line of at most 200 characters."""
    text = str(getattr(error, "message", None) or error) or type(error).__name__
    return " ".join(text.split())[:200]
