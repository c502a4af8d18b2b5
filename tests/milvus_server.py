"""A real Milvus server on the loopback interface, from the PyPI package `milvus`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.waiting import LIMIT_S, wait_until

ATTEMPTS = 3


class MilvusServer:
    """A server process with its own data folder. It keeps its ports after a restart."""

    def __init__(self, folder: Path) -> None:
        package = import_module("milvus")
        self._folder = folder
        config = package.MilvusServerConfig(data_dir=str(folder), **_free_ports(package))
        config.resolve()
        package._initialize_data_files(str(folder))
        self.port = int(config.get("proxy_port"))
        self._ports = [int(config.get(name)) for name in config.configurable_items if name.endswith("_port")]
        self._health_port = _free_port()
        self._ports += self._configure_etcd()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
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
                command,
                cwd=self._folder,
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,
            )
        process = self._process
        wait_until(lambda: process.poll() is not None or self._is_healthy())
        if process.poll() is not None:
            log_text = (self._folder / "logs" / "output.log").read_text(errors="replace")
            raise RuntimeError(f"Milvus did not start (exit code {process.returncode}): {log_text[-1500:]}")

    def stop(self) -> None:
        """Kill the server, as a crash would, and wait until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

    def open_ports(self) -> list[int]:
        """Return the ports of the server that are still open."""
        return [port for port in [*self._ports, self._health_port] if _is_open(port)]

    def _configure_etcd(self) -> list[int]:
        """Set free ports for the embedded etcd, whose default ports are 2379 and 2380; return them."""
        ports = [_free_port(), _free_port()]
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        etcd = self._folder / "configs" / "etcd.yaml"
        settings = {
            "name": "default",
            "data-dir": str(self._folder / "data" / "etcd.data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        etcd.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        main = self._folder / "configs" / "milvus.yaml"
        text = main.read_text()
        assert text.count("    embed: true") == 1
        main.write_text(
            "".join(
                f"{line}  config:\n    path: {etcd}\n" if line.startswith("    embed: true") else line
                for line in text.splitlines(keepends=True)
            )
        )
        return ports

    def _is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._health_port}/healthz"
            with urllib.request.urlopen(url, timeout=LIMIT_S) as response:
                return b"OK" in response.read()
        return False


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[MilvusServer]:
    """Run a server. Retry the start: another process may take a port before the server uses it."""
    for attempt in range(ATTEMPTS):
        server = MilvusServer(folder / str(attempt))
        try:
            server.start()
            break
        except RuntimeError:
            if attempt + 1 == ATTEMPTS:
                raise
    try:
        yield server
    finally:
        server.stop()
        assert not server.open_ports()


def _end_with_parent() -> None:
    """Have the kernel kill the server when the tests end: prctl(PR_SET_PDEATHSIG, SIGKILL), on Linux."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


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
        probe.settimeout(LIMIT_S)
        return probe.connect_ex(("127.0.0.1", port)) == 0
