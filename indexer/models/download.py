"""One file over HTTP, bounded in time, retried, resumed. Knows no model.

Everything a server or a network can do wrong ends as one DownloadFailed that says what happened.
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

from vitrine.indexer.progress import Progress, Silent

_BLOCK_BYTES = 1 << 16
_MIB = 1 << 20
_USER_AGENT = "vitrine (+model weights)"
# Answers that another try will not change. 403 is not one: TF Hub has spells of it (tensorflow/hub#922).
_FINAL_STATUSES = frozenset({400, 401, 404, 405, 406, 410, 414, 451})


class DownloadFailed(Exception):
    """The file could not be had; `str()` says why, in a few words."""


class _Again(Exception):
    """This try failed and the next may not."""


@dataclass(frozen=True)
class Limits:
    """How patient a download is. `slow_s` of less than `min_bytes_per_s` and the server is given up."""

    connect_s: float = 5.0
    read_s: float = 15.0
    tries: int = 3
    backoff_s: float = 1.0
    min_bytes_per_s: int = 32 * 1024
    slow_s: float = 20.0
    total_s: float = 3600.0
    max_bytes: int = 8 * 2**30


@dataclass(frozen=True)
class Download:
    """What is wanted. check: raises ValueError when the finished file is not that."""

    url: str
    target: Path
    check: Callable[[Path], None]
    what: str


def download(wanted: Download, limits: Limits | None = None, progress: Progress | None = None) -> None:
    """Get a file; on return it is whole, checked and durable under its name.

    An interrupted download goes on where it stopped if the server still has the same file, otherwise it
    begins again. Raises DownloadFailed; what had arrived is kept for the next time. The caller makes sure
    that no other process gets the same target.
    """
    limits, progress = limits or Limits(), progress or Silent()
    if not wanted.url.startswith(("http://", "https://")):
        raise DownloadFailed(f"{wanted.url} is not an http or https address")
    deadline = time.monotonic() + limits.total_s
    for attempt in range(1, limits.tries + 1):
        try:
            wanted.target.parent.mkdir(parents=True, exist_ok=True)
            _reach(wanted.url, limits.connect_s)
            _try(wanted, limits, progress, deadline)
            return
        except _Again as error:
            if attempt == limits.tries or time.monotonic() > deadline:
                tried = f" (tried {attempt} times)" if attempt > 1 else ""
                raise DownloadFailed(f"{error}{tried}") from error
            progress.note(f"{wanted.what}: {error}; trying again")
            time.sleep(limits.backoff_s * 2 ** (attempt - 1))
        except OSError as error:
            raise DownloadFailed(f"{wanted.target.parent}: {error.strerror or error}") from error


def _reach(url: str, timeout_s: float) -> None:
    """Raise DownloadFailed unless the server, or the proxy before it, takes a connection in time.

    In a thread of its own, since neither the look-up of a name nor the walk over a dozen addresses of a
    host obeys a time-out. Only a refusal is worth another try: without a network, nobody wants to wait.
    """
    host, port = _first_hop(url)
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, name="reach", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not outcome:
        raise DownloadFailed(f"{host} does not answer within {timeout_s:g} s")
    error = outcome[0]
    if error is not None:
        kind = _Again if isinstance(error, ConnectionRefusedError | ConnectionResetError) else DownloadFailed
        raise kind(f"{host} cannot be reached: {error.strerror or error}")


def _first_hop(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _try(wanted: Download, limits: Limits, progress: Progress, deadline: float) -> None:
    partial = _Partial(wanted.target)
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **partial.resume_headers()}
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 (the scheme is checked)
    try:
        # An opener of its own: the default one remembers the proxies of the first call.
        with urllib.request.build_opener().open(request, timeout=limits.read_s) as response:
            total = partial.begin(response.status, response.headers)
            if total is not None and total > limits.max_bytes:
                raise DownloadFailed(f"it says it is {total} bytes, more than {limits.max_bytes}")
            _receive(response, partial, _Pace(limits, deadline), (total, wanted.what, progress))
    except urllib.error.HTTPError as error:
        partial.after_refusal(error.code)
        message = f"HTTP {error.code} {error.reason}".strip()
        raise (DownloadFailed if error.code in _FINAL_STATUSES else _Again)(message) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _Again(_network_reason(error)) from error
    try:
        wanted.check(partial.path)
    except ValueError as error:
        partial.discard()
        raise _Again(str(error)) from error
    partial.finish()


def _receive(
    response: Any, partial: "_Partial", pace: "_Pace", told: tuple[int | None, str, Progress]
) -> None:
    """Write what comes until the end; raise _Again when it comes too slowly, too short or too long."""
    total, what, progress = told
    progress.start(None if total is None else -(-total // _MIB), f"MiB of {what}")
    received, shown = partial.size, 0
    with partial.path.open("ab") as file:
        while block := response.read1(_BLOCK_BYTES):
            file.write(block)
            received += len(block)
            pace.check(received)
            progress.advance(received // _MIB - shown)
            shown = received // _MIB
        file.flush()
        os.fsync(file.fileno())
    progress.done()
    if total is not None and received < total:
        raise _Again(f"the connection was cut after {received} of {total} bytes")
    if total is not None and received > total:
        partial.discard()
        raise _Again(f"{received} bytes came instead of {total}")


class _Pace:
    """Gives up on a server that drips."""

    def __init__(self, limits: Limits, deadline: float) -> None:
        self._limits = limits
        self._deadline = deadline
        self._since = time.monotonic()
        self._bytes_then: int | None = None

    def check(self, received: int) -> None:
        now = time.monotonic()
        if received > self._limits.max_bytes:
            raise DownloadFailed(f"more than {self._limits.max_bytes} bytes came")
        if now > self._deadline:
            raise _Again(f"not done after {self._limits.total_s:g} s")
        if self._bytes_then is None:
            self._bytes_then = received
        if now - self._since >= self._limits.slow_s:
            rate = (received - self._bytes_then) / (now - self._since)
            if rate < self._limits.min_bytes_per_s:
                raise _Again(f"it comes at {rate / 1024:.1f} KiB/s, too slowly")
            self._since, self._bytes_then = now, received


class _Partial:
    """The unfinished file beside its target, and what the server called the version it is of."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.partial")
        self._note = target.with_name(f"{target.name}.partial.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def resume_headers(self) -> dict[str, str]:
        """Ask for the rest, if it is still the same file; without a validator nothing can be resumed."""
        try:
            validator = str(json.loads(self._note.read_text())["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            validator = ""
        if not validator or not self.size:
            self.discard()
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def begin(self, status: int, headers: Mapping[str, str]) -> int | None:
        """Keep or drop what is there, as the answer demands; return how many bytes the whole has."""
        if "text/html" in (headers.get("Content-Type") or ""):
            raise _Again("it answered with a web page, not with the file")
        if status == 206:
            span, _, whole = (headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
            if span.split("-")[0] == str(self.size) and whole.isdigit():
                return int(whole)
            self.discard()
            raise _Again("it resumed at another place than was asked for")
        self.discard()
        etag = headers.get("ETag") or ""
        validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self._note.write_text(json.dumps({"validator": validator}))
        length = headers.get("Content-Length") or ""
        return int(length) if length.isdigit() else None

    def after_refusal(self, status: int) -> None:
        """Begin again next time when the range itself was refused."""
        if status == 416:
            self.discard()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its name, durably."""
        self.path.replace(self._target)
        self._note.unlink(missing_ok=True)
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _network_reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "nothing came for too long"
    if isinstance(error, http.client.HTTPException):
        return "the connection was cut in the middle of an answer"
    return str(getattr(reason, "strerror", None) or reason)
