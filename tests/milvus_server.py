"""A real Milvus server on loopback, of the PyPI package `milvus`: started, killed, started again."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

START_S = 120.0


class MilvusServer:
    """One server process with a folder of its own; it keeps its ports from start to start."""

    def __init__(self, folder: Path) -> None:
        package = import_module("milvus")
        self._folder = folder
        config = package.MilvusServerConfig(data_dir=str(folder), **_free_ports(package))
        config.resolve()
        package._initialize_data_files(str(folder))
        self.port = int(config.get("proxy_port"))
        self._ports = [int(config.get(name)) for name in config.configurable_items if name.endswith("_port")]
        self._health_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        variables = {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._health_port),
            "MILVUS_RUN_DIR": str(self._folder / "run"),
            "LD_LIBRARY_PATH": str(self._folder / "bin"),
        }
        with (self._folder / "logs" / "output.log").open("ab") as log:
            command = [str(self._folder / "bin" / "milvus"), "run", "standalone"]
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=variables, stdout=log, stderr=subprocess.STDOUT
            )
        ends = time.monotonic() + START_S
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.stop()
                raise RuntimeError(f"Milvus did not start: see {self._folder}/logs/output.log")
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill it, as a crash would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)
            self._process = None

    def open_ports(self) -> list[int]:
        """Return those of its ports that somebody listens on."""
        return [port for port in [*self._ports, self._health_port] if _is_open(port)]

    def _is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._health_port}/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return b"OK" in answer.read()
        return False


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[MilvusServer]:
    server = MilvusServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        assert not server.open_ports()


def _free_ports(package: Any) -> dict[str, int]:
    names = [name for name in package.MilvusServerConfig().configurable_items if name.endswith("_port")]
    with contextlib.ExitStack() as stack:
        probes = {name: stack.enter_context(socket.socket()) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: int(probe.getsockname()[1]) for name, probe in probes.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
