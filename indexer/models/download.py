"""HTTP download of one file with time limits, retries and resumption. Independent of models.

Every failure of a server or a network is raised as DownloadFailed with the reason.
"""

import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine.indexer.progress import Progress, SilentProgress

_BLOCK_BYTES = 1 << 16
_MIB = 1 << 20
_USER_AGENT = "vitrine (+model weights)"
# Not worth a retry. 403 is not in the list: TF Hub returns it temporarily (tensorflow/hub#922).
_PERMANENT_STATUSES = frozenset({400, 401, 404, 405, 406, 410, 414, 451})


class DownloadFailed(Exception):
    """A failed download. `str(error)` is a short reason."""


class _RetryableError(Exception):
    """A failure that another attempt may not have."""


@dataclass(frozen=True)
class Limits:
    """Limits of a download. An attempt fails if less than min_bytes_per_s arrive on average over slow_s."""

    connect_s: float = 5.0
    read_s: float = 15.0
    attempts: int = 3
    backoff_s: float = 1.0
    min_bytes_per_s: int = 32 * 1024
    slow_s: float = 20.0
    total_s: float = 3600.0
    max_bytes: int = 8 * 2**30


@dataclass(frozen=True)
class Download:
    """A file to download. check: raises ValueError if the complete file is not the expected one.

    description: noun phrase for messages.
    """

    url: str
    target: Path
    check: Callable[[Path], None]
    description: str


def download(file: Download, limits: Limits | None = None, progress: Progress | None = None) -> None:
    """Download a file. On return it is complete, checked and durable at its target.

    An interrupted download is resumed if the server still has the same file, otherwise it starts again.
    Raises DownloadFailed; the part received is kept for the next call. The caller ensures that no other
    process downloads to the same target.
    """
    limits, progress = limits or Limits(), progress or SilentProgress()
    if not file.url.startswith(("http://", "https://")):
        raise DownloadFailed(f"{file.url} is not an http or https address")
    deadline_s = time.monotonic() + limits.total_s  # on the clock of time.monotonic
    for attempt in range(1, limits.attempts + 1):
        try:
            file.target.parent.mkdir(parents=True, exist_ok=True)
            _check_reachable(file.url, limits.connect_s)
            _attempt(file, limits, progress, deadline_s)
            return
        except _RetryableError as error:
            if attempt == limits.attempts or time.monotonic() > deadline_s:
                attempts = f" (tried {attempt} times)" if attempt > 1 else ""
                raise DownloadFailed(f"{error}{attempts}") from error
            progress.note(f"{file.description}: {error}; trying again")
            time.sleep(limits.backoff_s * 2 ** (attempt - 1))
        except OSError as error:
            raise DownloadFailed(f"{file.target.parent}: {error.strerror or error}") from error


def _check_reachable(url: str, timeout_s: float) -> None:
    """Connect to the server, or to the proxy in front of it. Raises DownloadFailed on failure or time-out.

    The connection is made in a thread, since the time-out of a socket covers neither the name look-up nor
    several addresses of a host. Only a refused or reset connection is retried, so that a missing network is
    reported at once.
    """
    host, port = _connect_address(url)
    result: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            result.append(None)
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=connect, name="connect", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not result:
        raise DownloadFailed(f"{host} did not accept a connection within {timeout_s:g} s")
    error = result[0]
    if error is not None:
        is_retryable = isinstance(error, ConnectionRefusedError | ConnectionResetError)
        error_class = _RetryableError if is_retryable else DownloadFailed
        raise error_class(f"{host} cannot be reached: {error.strerror or error}")


def _connect_address(url: str) -> tuple[str, int]:
    """Return host and port of the proxy for a URL, or of its server."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _attempt(file: Download, limits: Limits, progress: Progress, deadline_s: float) -> None:
    partial = _PartialFile(file.target)
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **partial.resume_headers()}
    request = urllib.request.Request(file.url, headers=headers)  # noqa: S310 (the scheme is checked)
    try:
        # A new opener, since the default one keeps the proxies of the first call.
        with urllib.request.build_opener().open(request, timeout=limits.read_s) as response:
            total_bytes = partial.start(response.status, response.headers)
            if total_bytes is not None and total_bytes > limits.max_bytes:
                raise DownloadFailed(f"the file has {total_bytes} bytes, the limit is {limits.max_bytes}")
            stage = _Stage(file.description, total_bytes, progress)
            _receive(response, partial, _RateCheck(limits, deadline_s), stage)
    except urllib.error.HTTPError as error:
        partial.handle_error_status(error.code)
        message = f"HTTP {error.code} {error.reason}".strip()
        error_class = DownloadFailed if error.code in _PERMANENT_STATUSES else _RetryableError
        raise error_class(message) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _RetryableError(_network_reason(error)) from error
    try:
        file.check(partial.path)
    except ValueError as error:
        partial.discard()
        raise _RetryableError(str(error)) from error
    partial.move_to_target()


@dataclass(frozen=True)
class _Stage:
    """The stage of a progress report that shows one transfer. total_bytes: None if unknown."""

    description: str
    total_bytes: int | None
    progress: Progress


def _receive(response: Any, partial: "_PartialFile", rate: "_RateCheck", stage: _Stage) -> None:
    """Append the body to the partial file. Raise _RetryableError if it is too slow, too short or too long."""
    total_bytes, progress = stage.total_bytes, stage.progress
    progress.start(None if total_bytes is None else -(-total_bytes // _MIB), f"MiB of {stage.description}")
    received_bytes, reported_mib = partial.size_bytes, 0
    with partial.path.open("ab") as file:
        while block := response.read1(_BLOCK_BYTES):
            file.write(block)
            received_bytes += len(block)
            rate.check(received_bytes)
            progress.advance(received_bytes // _MIB - reported_mib)
            reported_mib = received_bytes // _MIB
        file.flush()
        os.fsync(file.fileno())
    progress.done()
    if total_bytes is not None and received_bytes < total_bytes:
        raise _RetryableError(f"the connection was closed after {received_bytes} of {total_bytes} bytes")
    if total_bytes is not None and received_bytes > total_bytes:
        partial.discard()
        raise _RetryableError(f"{received_bytes} bytes were received, expected {total_bytes}")


class _RateCheck:
    """A check of the size, duration and rate of one transfer against the limits."""

    def __init__(self, limits: Limits, deadline_s: float) -> None:
        self._limits = limits
        self._deadline_s = deadline_s
        self._interval_start_s = time.monotonic()
        self._interval_start_bytes: int | None = None

    def check(self, received_bytes: int) -> None:
        """Raise DownloadFailed if the file is too large, _RetryableError if the transfer is too slow."""
        now_s = time.monotonic()
        if received_bytes > self._limits.max_bytes:
            raise DownloadFailed(f"more than {self._limits.max_bytes} bytes were received")
        if now_s > self._deadline_s:
            raise _RetryableError(f"not complete after {self._limits.total_s:g} s")
        if self._interval_start_bytes is None:
            self._interval_start_bytes = received_bytes
        duration_s = now_s - self._interval_start_s
        if duration_s >= self._limits.slow_s:
            rate = (received_bytes - self._interval_start_bytes) / duration_s
            if rate < self._limits.min_bytes_per_s:
                raise _RetryableError(f"too slow: {rate / 1024:.1f} KiB/s")
            self._interval_start_s, self._interval_start_bytes = now_s, received_bytes


class _PartialFile:
    """The incomplete file beside its target, with the validator of its version: an ETag or a date."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.partial")
        self._validator_file = target.with_name(f"{target.name}.partial.json")

    @property
    def size_bytes(self) -> int:
        """Number of bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def resume_headers(self) -> dict[str, str]:
        """Return the headers that request the rest of the same version; without a validator, start again."""
        try:
            validator = str(json.loads(self._validator_file.read_text())["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            validator = ""
        if not validator or not self.size_bytes:
            self.discard()
            return {}
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": validator}

    def start(self, status: int, headers: Mapping[str, str]) -> int | None:
        """Keep the part received if the response continues it, else discard it. Return the total in bytes."""
        if "text/html" in (headers.get("Content-Type") or ""):
            raise _RetryableError("the response is a web page, not the file")
        if status == 206:
            byte_range, _, total = (headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
            if byte_range.split("-")[0] == str(self.size_bytes) and total.isdigit():
                return int(total)
            self.discard()
            raise _RetryableError("the response is not the requested byte range")
        self.discard()
        etag = headers.get("ETag") or ""
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self._validator_file.write_text(json.dumps({"validator": validator}))
        length = headers.get("Content-Length") or ""
        return int(length) if length.isdigit() else None

    def handle_error_status(self, status: int) -> None:
        """Start again at the next attempt if the byte range was rejected."""
        if status == 416:
            self.discard()

    def discard(self) -> None:
        """Delete the part received."""
        self.path.unlink(missing_ok=True)
        self._validator_file.unlink(missing_ok=True)

    def move_to_target(self) -> None:
        """Rename the complete file to its target, durably."""
        self.path.replace(self._target)
        self._validator_file.unlink(missing_ok=True)
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _network_reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no data was received before the time-out"
    if isinstance(error, http.client.HTTPException):
        return "the connection was closed during a response"
    return str(getattr(reason, "strerror", None) or reason)
