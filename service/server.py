"""The server: Granian with one supervising parent process and several worker processes.

The parent stays small. Each worker opens the index itself; workers share the vectors through the page cache.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from vitrine.indexer.config import Layout, resolve_index_folder
from vitrine.indexer.errors import InputError, SnapshotMissing, VitrineError
from vitrine.indexer.journal.journal import Journal
from vitrine.service import logs
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import BODIES_AT_ONCE

log = logging.getLogger(__name__)
STOP_TIMEOUT_S = 20
HEADERS_TIMEOUT_MS = 10_000
REOPEN_EVERY_S = 2.0
PARENT_EVERY_S = 0.5


class StartReports:
    """Start reports of the workers to the parent, sent through an inherited pipe."""

    def __init__(self) -> None:
        """Open the pipe."""
        self._read_end, self._write_end = os.pipe()
        self.is_ready = False
        self.failure: dict[str, Any] | None = None

    def send(self, **message: Any) -> None:
        """Send a message from a worker; one message is one write, which a pipe keeps whole."""
        os.write(self._write_end, (json.dumps(message) + "\n").encode())

    def received(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the workers, endlessly."""
        with os.fdopen(self._read_end, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def serve(config: ServiceConfig, *, as_json: bool = False) -> None:
    """Serve until stopped by a signal. Raises InputError, SnapshotError, ModelError when it cannot start."""
    config.check_exposure()
    _check_folder(config)
    logs.configure(config.log_format, config.log_level)
    port = _free_port(config)
    reports = StartReports()
    server = _server(config, port)
    with _shared_metrics(config.workers):
        announcer = threading.Thread(
            target=_announce, args=(reports, server, config.host, port, as_json), daemon=True
        )
        announcer.start()
        try:
            server.serve(target_loader=partial(_load, config, reports), wrap_loader=False)
        except SystemExit:  # also raised when a worker was killed just before a normal stop
            if reports.failure is None and not server.interrupt_signal:
                raise
        finally:
            _checkpoint_journal(config)
    if reports.failure is not None:
        raise _failure(reports.failure)


def _checkpoint_journal(config: ServiceConfig) -> None:
    """Write every change into journal.sqlite itself, so that a copy of this one file is whole."""
    layout = Layout(resolve_index_folder(config.index))
    if layout.journal.exists() and os.access(layout.root, os.W_OK):
        with contextlib.suppress(VitrineError), Journal(layout.journal) as journal:
            journal.checkpoint()


def _load(config: ServiceConfig, reports: StartReports) -> Any:
    """Return the application of one worker. Runs in the worker."""
    # The handlers inherited from the parent only set a flag.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_stop_with_parent, args=(os.getppid(),), daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    while True:
        try:
            from vitrine.service.app import create_app

            app = create_app(config=config)
            if config.warm:
                app.blueprints["vitrine"].catalogue.warm()  # type: ignore[attr-defined]
            reports.send(ready=os.getpid(), **_summary(app))
            gc.collect()
            gc.freeze()  # objects of the open index stay: collections need not visit them again
            return app
        except Exception as error:
            if not reports.is_ready:
                code = getattr(error, "exit_code", 1)
                if code == 1:
                    log.exception("the service cannot start")
                reports.send(error=str(error), exit_code=code)
                os._exit(code)
            # Other workers still serve the snapshot that they have open: wait for one that opens.
            log.error("a new worker cannot open the index and will try again: %s", error)
            time.sleep(REOPEN_EVERY_S)


def _stop_with_parent(parent: int) -> None:
    """Stop when the parent is gone: an orphaned worker would share the port with the next service."""
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _summary(app: Any) -> dict[str, Any]:
    view = app.blueprints["vitrine"].catalogue.follower.view_or_none()
    if view is None:
        return {"snapshot": None, "products": 0}
    return {"snapshot": view.state.snapshot.name, "products": int(view.state.live.sum())}


def _announce(reports: StartReports, server: Any, host: str, port: int, as_json: bool) -> None:
    """Print the address when the first worker is ready; stop all when it cannot start."""
    for message in reports.received():
        if "error" in message:
            reports.failure = message
            server.signal_handler_interrupt()
        elif not reports.is_ready:
            _wait_until_listening(host, port)
            reports.is_ready = True
            _show_address(message, host, port, as_json)


def _show_address(message: dict[str, Any], host: str, port: int, as_json: bool) -> None:
    url_host = f"[{host}]" if ":" in host else host
    url = f"http://{url_host}:{port}"
    if as_json:
        facts = {"url": url, "host": host, "port": port, "pid": os.getpid()}
        click.echo(json.dumps({**facts, "snapshot": message["snapshot"], "products": message["products"]}))
    elif message["snapshot"] is None:
        click.echo(f"Vitrine listens at {url}; there is no snapshot yet (API: {url}/docs)")
    else:
        click.echo(
            f"Vitrine serves {message['products']:,} products of snapshot {message['snapshot']} at {url}"
            f" (API: {url}/docs)"
        )


class _Respawns(dict[int, float]):
    """Granian's record of when workers were replaced, which always answers "long ago".

    Granian stops the service when a worker dies twice in a short time. Here a worker that cannot start waits
    in `_load`, so that two deaths in a row are no crash loop.
    """

    def get(self, *_: Any) -> Any:
        return float("-inf")


def _server(config: ServiceConfig, port: int) -> Any:
    server: Any = Server(
        "vitrine.service",
        address=config.host,
        port=port,
        interface=Interfaces.WSGI,
        workers=config.workers,
        blocking_threads=config.threads + BODIES_AT_ONCE,
        backpressure=max(config.threads * 32, 256),
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_TIMEOUT_MS),
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=_granian_log(config.log_format),
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=STOP_TIMEOUT_S,
    )
    server.respawned_wrks = _Respawns()
    return server


def _granian_log(log_format: str) -> dict[str, Any]:
    """Return logging settings that send Granian's log lines to our handler.

    Only errors are shown: at the start Granian warns about the threads reserved for slow bodies.
    """
    handler = {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}
    return {
        "formatters": {"ours": {"()": logs.FORMATTERS[log_format]}},
        "handlers": {"console": handler, "access": handler},
        "loggers": {"_granian": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
    }


def _check_folder(config: ServiceConfig) -> None:
    """Raise SnapshotMissing for a missing folder, which is more likely a typing error than an early start."""
    layout = Layout(resolve_index_folder(config.index))
    if not layout.root.is_dir():
        raise SnapshotMissing(
            f"no index folder {layout.root}: give another one with --index, "
            f"or run `vitrine-indexer build SOURCE --index {layout.root}` first"
        )


def _free_port(config: ServiceConfig) -> int:
    """Return the port to listen on.

    Workers share the port by SO_REUSEPORT, which would also let a second service use it unnoticed: it is
    therefore bound once before. Raises InputError for a port in use or an address of another machine.
    """
    try:
        family, socket_type, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket_type) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {config.host} port {config.port}: {error}") from error


def _wait_until_listening(host: str, port: int) -> None:
    deadline = time.monotonic() + 10
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    while time.monotonic() < deadline:
        try:
            socket.create_connection((target, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Share metrics between workers, through a variable that prometheus_client reads at import."""
    if workers == 1:
        yield
        return
    folder = tempfile.mkdtemp(prefix="vitrine-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


def _failure(message: dict[str, Any]) -> VitrineError:
    error = VitrineError(message["error"])
    error.exit_code = int(message["exit_code"])
    return error
