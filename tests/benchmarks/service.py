"""The service under load: requests a second against Milvus, latency, where the time goes, memory, deletes."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.report import Row, Section
from tests.indexes import publish
from tests.vectors import clustered
from vitrine.indexer.products.schema import Product

DIMENSION = 2048
CONNECTIONS = 8
WORKERS = 2
START_S = 60.0


def run(quick: bool) -> Section:
    """Measure on 20,000 and 100,000 products of 2048 (2,000 and 5,000 when quick)."""
    small, large = (2_000, 5_000) if quick else (20_000, 100_000)
    seconds = 3 if quick else 10
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_load(Path(folder) / "small", small, seconds), *_large(Path(folder), large)]
    about = (
        f"`vitrine-service` with its defaults, {small:,} products of {DIMENSION}, similar by id, limit 10, "
        f"asked by wrk over {CONNECTIONS} connections from the same machine."
    )
    return Section("Service", about, rows, ["wrk and the service share the cores."])


def _load(index: Path, products: int, seconds: int) -> list[Row]:
    vectors = make_index(index, products)
    began = time.monotonic()
    with served(index) as (_, port):
        ask = Client(port)
        ask.get(_similar(0, 10))
        first_s = time.monotonic() - began
        rate = _wrk(index, port, products, seconds)
        half = _paced(port, products, rate / 2, seconds)
        ask = Client(port)  # the server has closed the other, which did nothing meanwhile
        stages = _stages(ask, products)
        ten, thousand = (_median_ms(partial(ask.read, _similar(1, limit)), 50) for limit in (10, 1000))
    with served(index, "--workers", str(WORKERS)) as (_, port):
        Client(port).get(_similar(0, 10))
        several = _wrk(index, port, products, seconds)
    rows = [
        Row("start to first answer", f"{first_s:.1f} s", "under 2 s", first_s < 2),
        Row("requests/s, one process", f"{rate:,.0f}", "at least 1,200", rate >= 1200),
        Row(f"requests/s, `--workers {WORKERS}`", f"{several:,.0f}", "at least 1,200", several >= 1200),
        Row("p99 at half that load", f"{half:.1f} ms", "under 15 ms", half < 15),
        Row("time by stage", stages),
        Row(
            "limit 1,000 against limit 10",
            f"{thousand / ten:.1f} times ({thousand:.1f} ms against {ten:.1f} ms)",
            "at most 8 times",
            thousand <= 8 * ten,
        ),
    ]
    return [*rows, *_against_milvus(vectors, max(rate, several), seconds)]


def _large(folder: Path, products: int) -> list[Row]:
    """Measure memory, and a durable delete at two sizes."""
    p95s = []
    for count in (1_000, products):
        index = folder / f"n{count}"
        make_index(index, count)
        with served(index) as (process, port):
            ask = Client(port)
            for number in range(200):
                ask.get(_similar(number * count // 200, 10))
            private = _private_bytes(process.pid) / 2**20
            p95s.append(_delete_p95(ask, count))
    return [
        Row(f"memory of its own at {count:,}", f"{private:.0f} MB", "under 300 MB", private < 300),
        Row(
            f"a delete, p95 at 1,000 and at {products:,}",
            f"{p95s[0]:.1f} and {p95s[1]:.1f} ms",
            "under 15 ms",
            max(p95s) < 15,
        ),
    ]


def make_index(index: Path, products: int) -> Any:
    """Publish an index of synthetic products and return its vectors."""
    vectors = clustered(products, DIMENSION)
    rows = [
        Product(
            f"p{n:07d}",
            f"Produto {n}",
            f"c{n % 40}",
            None,
            "/none.jpg",
            f"{n:064x}",
            1,
            1,
            None,
            {"price": n},
        )
        for n in range(products)
    ]
    publish(index, rows, vectors, index, recipe="auto")
    return vectors


@contextlib.contextmanager
def served(index: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `vitrine-service` on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "--index", str(index), "--port", str(port), *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    try:
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                if Client(port).get("/readyz")["status"] == "ready":
                    break
            time.sleep(0.02)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Client:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers: dict[str, str] = {}

    def get(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Return the JSON answer."""
        return json.loads(self.read(path, method))  # type: ignore[no-any-return]

    def read(self, path: str, method: str = "GET") -> bytes:
        """Return the bytes of the answer."""
        self._connection.request(method, path)
        response = self._connection.getresponse()
        body = response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {body[:200]!r}")
        return body


def _similar(number: int, limit: int) -> str:
    return f"/api/v1/products/p{number:07d}/similar?limit={limit}"


def _wrk(folder: Path, port: int, products: int, seconds: int) -> float:
    """Return requests a second, random ids."""
    script = folder / "random.lua"
    script.write_text(
        f"request = function() return wrk.format('GET', string.format("
        f"'/api/v1/products/p%07d/similar?limit=10', math.random(0, {products - 1}))) end\n"
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(said)
    return float(found[1])


def _paced(port: int, products: int, rate: float, seconds: int) -> float:
    """Return the p99 in ms at a steady rate over eight connections; late starts count as waiting."""
    times: list[float] = []

    def ask(offset: int) -> None:
        client, gap = Client(port), CONNECTIONS / rate
        begin = time.perf_counter() + offset * gap / CONNECTIONS
        for number in range(int(seconds / gap)):
            due = begin + number * gap
            time.sleep(max(due - time.perf_counter(), 0))
            client.get(_similar(random.randrange(products), 10))
            times.append(1e3 * (time.perf_counter() - due))

    in_threads(ask)
    return float(np.percentile(times, 99))


def in_threads(work: Callable[[int], None]) -> None:
    """Run `work` in eight threads and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _stages(ask: Client, products: int) -> str:
    """Return the median of each Server-Timing entry over 300 requests, one at a time."""
    seen: dict[str, list[float]] = {}
    for _ in range(300):
        ask.get(_similar(random.randrange(products), 10))
        for name, ms in re.findall(r"([\w-]+);dur=([\d.]+)", ask.headers.get("server-timing", "")):
            seen.setdefault(name, []).append(float(ms))
    return ", ".join(f"{name} {statistics.median(values):.2f} ms" for name, values in seen.items())


def _median_ms(work: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken)


def _private_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children that no file backs."""
    total = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in [str(pid), *children]:
        status = Path(f"/proc/{each}/status").read_text()
        total += 1024 * sum(int(kb) for kb in re.findall(r"(?:RssAnon|RssShmem):\s+(\d+)", status))
    return total


def _delete_p95(ask: Client, products: int) -> float:
    times = []
    for number in range(100):
        began = time.perf_counter()
        ask.get(f"/api/v1/products/p{number * (products // 100):07d}", "DELETE")
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.percentile(times, 95))


def _against_milvus(vectors: Any, rate: float, seconds: int) -> list[Row]:
    """Search the same vectors in a Milvus standalone server over eight client threads."""
    try:
        from pymilvus import MilvusClient

        from tests.milvus_server import running_server
    except ImportError as error:
        return [Row("against Milvus standalone", f"not measured: {error}", "at least 3 times", None)]
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        client = MilvusClient(f"http://{server.endpoint}")
        client.create_collection("bench", dimension=DIMENSION, metric_type="IP", auto_id=False)
        for start in range(0, len(vectors), 1000):
            block = vectors[start : start + 1000]
            client.insert("bench", [{"id": start + n, "vector": row} for n, row in enumerate(block)])
        client.flush("bench")
        client.load_collection("bench")
        counts = [0] * CONNECTIONS
        ends = time.monotonic() + seconds

        def ask(number: int) -> None:
            own = MilvusClient(f"http://{server.endpoint}")
            while time.monotonic() < ends:
                own.search("bench", [vectors[random.randrange(len(vectors))]], limit=11)
                counts[number] += 1

        in_threads(ask)
        theirs = sum(counts) / seconds
    ratio = rate / theirs
    return [
        Row(
            "against Milvus standalone 2.3.5",
            f"{ratio:.1f} times ({theirs:,.0f}/s)",
            "at least 3 times",
            ratio >= 3,
        )
    ]
