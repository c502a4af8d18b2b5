"""Serving with Granian: one parent that watches, worker processes that answer.

The parent stays small; each worker opens the index for itself and shares its vectors through the page cache.
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

from vitrine.indexer.config import Layout, index_folder
from vitrine.indexer.errors import InputError, SnapshotMissing, VitrineError
from vitrine.service import logs
from vitrine.service.config import ServiceConfig
from vitrine.service.http.admission import BODIES_AT_ONCE

log = logging.getLogger(__name__)
STOP_TIMEOUT_S = 20
HEADERS_TIMEOUT_MS = 10_000
REOPEN_EVERY_S = 2.0
PARENT_EVERY_S = 0.5


class Launch:
    """What the parent knows of its workers' start, told through a pipe that they inherit."""

    def __init__(self) -> None:
        """Make the pipe."""
        self.reading, self.writing = os.pipe()
        self.has_answered = False
        self.failure: dict[str, Any] | None = None

    def tell(self, **message: Any) -> None:
        """Say something from a worker; one message is one write, which a pipe does not part."""
        os.write(self.writing, (json.dumps(message) + "\n").encode())

    def heard(self) -> Iterator[dict[str, Any]]:
        """Yield what workers say, for ever."""
        with os.fdopen(self.reading, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def serve(config: ServiceConfig, *, as_json: bool = False) -> None:
    """Serve until told to stop. Raises InputError, SnapshotError, ModelError when it cannot start."""
    config.check_exposure()
    _check_folder(config)
    logs.configure(config.log_format, config.log_level)
    port = _free_port(config)
    launch = Launch()
    server = _server(config, port)
    with _shared_metrics(config.workers):
        announcer = threading.Thread(
            target=_announce, args=(launch, server, config.host, port, as_json), daemon=True
        )
        announcer.start()
        try:
            server.serve(target_loader=partial(_load, config, launch), wrap_loader=False)
        except SystemExit:  # also when a worker was killed just before the service was told to stop
            if launch.failure is None and not server.interrupt_signal:
                raise
    if launch.failure is not None:
        raise _failure(launch.failure)


def _load(config: ServiceConfig, launch: Launch) -> Any:
    """Make the application of one worker; runs in the worker."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # inherited from the parent, whose handlers only set a flag
        signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    while True:
        try:
            from vitrine.service.app import create_app

            app = create_app(config=config)
            if config.warm:
                app.blueprints["vitrine"].catalogue.warm()  # type: ignore[attr-defined]
            launch.tell(ready=os.getpid(), **_summary(app))
            gc.collect()
            gc.freeze()  # what is open now stays: no need to look through it again and again
            return app
        except Exception as error:
            if not launch.has_answered:
                code = getattr(error, "exit_code", 1)
                if code == 1:
                    log.exception("cannot start")
                launch.tell(error=str(error), exit_code=code)
                os._exit(code)
            # Others still answer from what they have open: wait with them for a snapshot that opens.
            log.error("a new worker cannot open the index, tries again: %s", error)
            time.sleep(REOPEN_EVERY_S)


def _leave_with(parent: int) -> None:
    """Stop when the parent is gone: a worker left alone would share the port with the next service."""
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _summary(app: Any) -> dict[str, Any]:
    view = app.blueprints["vitrine"].catalogue.live.view_or_none()
    if view is None:
        return {"snapshot": None, "products": 0}
    return {"snapshot": view.snapshot.name, "products": int(view.live.sum())}


def _announce(launch: Launch, server: Any, host: str, port: int, as_json: bool) -> None:
    """Tell the address once the first worker answers; stop everything when it cannot start."""
    for message in launch.heard():
        if "error" in message:
            launch.failure = message
            server.signal_handler_interrupt()
        elif not launch.has_answered:
            _wait_until_listening(host, port)
            launch.has_answered = True
            _show_address(message, host, port, as_json)


def _show_address(message: dict[str, Any], host: str, port: int, as_json: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    if as_json:
        facts = {"url": url, "host": host, "port": port, "pid": os.getpid()}
        click.echo(json.dumps({**facts, "snapshot": message["snapshot"], "products": message["products"]}))
    elif message["snapshot"] is None:
        click.echo(f"Vitrine listens at {url} and waits for a first snapshot (API: {url}/docs)")
    else:
        click.echo(
            f"Vitrine serves {message['products']:,} products of snapshot {message['snapshot']} at {url}"
            f" (API: {url}/docs)"
        )


class _Respawns(dict[int, float]):
    """When workers were replaced, as Granian keeps it, but never recently: two kills in a row end nothing.

    A worker that cannot start waits in `_load`, so what Granian takes for a crash loop is none.
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


def _granian_log(form: str) -> dict[str, Any]:
    """Return the settings that send Granian's own log where ours goes.

    Its start warns of the threads that wait for slow bodies, which are counted apart: only errors are shown.
    """
    handler = {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}
    return {
        "formatters": {"ours": {"()": logs.FORMATTERS[form]}},
        "handlers": {"console": handler, "access": handler},
        "loggers": {"_granian": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
    }


def _check_folder(config: ServiceConfig) -> None:
    """Raise SnapshotMissing for a folder that is not there: rather a typing error than an early start."""
    layout = Layout(index_folder(config.index))
    if not layout.root.is_dir():
        raise SnapshotMissing(
            f"there is no index folder {layout.root}: name another with --index, "
            f"or run `vitrine-indexer build SOURCE --index {layout.root}` first"
        )


def _free_port(config: ServiceConfig) -> int:
    """Return the port to listen on.

    Workers share it by SO_REUSEPORT, which would let two services share it unnoticed; hence the look first.
    Raises InputError when it is in use or the address is not this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {config.host} port {config.port}: {error}") from error


def _wait_until_listening(host: str, port: int) -> None:
    ends = time.monotonic() + 10
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    while time.monotonic() < ends:
        try:
            socket.create_connection((target, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Let several workers count together: prometheus_client reads this variable when it is imported."""
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
