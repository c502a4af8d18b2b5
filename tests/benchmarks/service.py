"""Benchmark of the service: throughput against Milvus, latency, time by stage, memory, deletes."""

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
START_TIMEOUT_S = 60.0


def run(quick: bool) -> Section:
    """Measure with 20,000 and 100,000 products; quick: 2,000 and 5,000."""
    small, large = (2_000, 5_000) if quick else (20_000, 100_000)
    duration_s = 3 if quick else 10
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *_load_test(Path(folder) / "small", small, duration_s),
            *_memory_and_deletes(Path(folder), large),
        ]
    about = (
        f"`vitrine-service` with its defaults, {small:,} products of {DIMENSION}, similar by id, limit 10, "
        f"requested by wrk over {CONNECTIONS} connections from the same machine."
    )
    return Section("Service", about, rows, ["wrk and the service share the cores"])


def _load_test(index: Path, products: int, duration_s: int) -> list[Row]:
    vectors = make_index(index, products)
    start_s = time.monotonic()
    with served(index) as (_, port):
        client = Client(port)
        client.get(_similar(0, 10))
        first_answer_s = time.monotonic() - start_s
        rate = _wrk(index, port, products, duration_s)
        p99_ms = _p99_at_rate(port, products, rate / 2, duration_s)
        client = Client(port)  # the server has closed the idle connection of the first
        stages = _stages(client, products)
        ten_ms, thousand_ms = (
            _median_ms(partial(client.read, _similar(1, limit)), 50) for limit in (10, 1000)
        )
    with served(index, "--workers", str(WORKERS)) as (_, port):
        Client(port).get(_similar(0, 10))
        rate_of_workers = _wrk(index, port, products, duration_s)
    rows = [
        Row("start to first answer", f"{first_answer_s:.1f} s", "under 2 s", first_answer_s < 2),
        Row("requests/s, one process", f"{rate:,.0f}", "at least 1,200", rate >= 1200),
        Row(
            f"requests/s, `--workers {WORKERS}`",
            f"{rate_of_workers:,.0f}",
            "at least 1,200",
            rate_of_workers >= 1200,
        ),
        Row("p99 at half that load", f"{p99_ms:.1f} ms", "under 15 ms", p99_ms < 15),
        Row("time by stage", stages),
        Row(
            "limit 1,000 against limit 10",
            f"{thousand_ms / ten_ms:.1f} times ({thousand_ms:.1f} ms against {ten_ms:.1f} ms)",
            "at most 8 times",
            thousand_ms <= 8 * ten_ms,
        ),
    ]
    return [*rows, *_against_milvus(vectors, max(rate, rate_of_workers), duration_s)]


def _memory_and_deletes(folder: Path, products: int) -> list[Row]:
    """Measure the memory of the process, and the latency of durable deletes at two sizes."""
    p95s_ms = []
    for count in (1_000, products):
        index = folder / f"n{count}"
        make_index(index, count)
        with served(index) as (process, port):
            client = Client(port)
            for number in range(200):
                client.get(_similar(number * count // 200, 10))
            private_mib = _private_bytes(process.pid) / 2**20
            p95s_ms.append(_delete_p95_ms(client, count))
    return [
        Row(f"private memory at {count:,}", f"{private_mib:.0f} MB", "under 300 MB", private_mib < 300),
        Row(
            f"delete, p95 at 1,000 and at {products:,}",
            f"{p95s_ms[0]:.1f} and {p95s_ms[1]:.1f} ms",
            "under 15 ms",
            max(p95s_ms) < 15,
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
    no_output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **no_output)  # type: ignore[call-overload]
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                if Client(port).get("/readyz")["status"] == "ready":
                    break
            time.sleep(0.02)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Client:
    """An HTTP client with one persistent connection. headers: of the last response."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers: dict[str, str] = {}

    def get(self, path: str, method: str = "GET") -> dict[str, Any]:
        """Send a request and return the JSON of the response."""
        return json.loads(self.read(path, method))  # type: ignore[no-any-return]

    def read(self, path: str, method: str = "GET") -> bytes:
        """Send a request and return the body of the response. Raises RuntimeError for an error status."""
        self._connection.request(method, path)
        response = self._connection.getresponse()
        body = response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {body[:200]!r}")
        return body


def _similar(number: int, limit: int) -> str:
    return f"/api/v1/products/p{number:07d}/similar?limit={limit}"


def _wrk(folder: Path, port: int, products: int, duration_s: int) -> float:
    """Return the requests per second of wrk, with random ids."""
    script = folder / "random.lua"
    script.write_text(
        f"request = function() return wrk.format('GET', string.format("
        f"'/api/v1/products/p%07d/similar?limit=10', math.random(0, {products - 1}))) end\n"
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{duration_s}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if match is None or "Non-2xx" in output:
        raise RuntimeError(output)
    return float(match[1])


def _p99_at_rate(port: int, products: int, rate: float, duration_s: int) -> float:
    """Return the p99 latency in ms at a constant rate over all connections, from the scheduled time."""
    latencies_ms: list[float] = []

    def send_requests(offset: int) -> None:
        client, interval_s = Client(port), CONNECTIONS / rate
        start_s = time.perf_counter() + offset * interval_s / CONNECTIONS
        for number in range(int(duration_s / interval_s)):
            scheduled_s = start_s + number * interval_s
            time.sleep(max(scheduled_s - time.perf_counter(), 0))
            client.get(_similar(random.randrange(products), 10))
            latencies_ms.append(1e3 * (time.perf_counter() - scheduled_s))

    run_in_threads(send_requests)
    return float(np.percentile(latencies_ms, 99))


def run_in_threads(work: Callable[[int], None]) -> None:
    """Run `work` in one thread per connection and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _stages(client: Client, products: int) -> str:
    """Return the median of each Server-Timing entry over 300 sequential requests."""
    durations_ms: dict[str, list[float]] = {}
    for _ in range(300):
        client.get(_similar(random.randrange(products), 10))
        for name, ms in re.findall(r"([\w-]+);dur=([\d.]+)", client.headers.get("server-timing", "")):
            durations_ms.setdefault(name, []).append(float(ms))
    return ", ".join(f"{name} {statistics.median(values):.2f} ms" for name, values in durations_ms.items())


def _median_ms(work: Callable[[], Any], repetitions: int) -> float:
    durations_ms = []
    for _ in range(repetitions):
        start_s = time.perf_counter()
        work()
        durations_ms.append(1e3 * (time.perf_counter() - start_s))
    return statistics.median(durations_ms)


def _private_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children that is not backed by files."""
    total = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process_id in [str(pid), *children]:
        status = Path(f"/proc/{process_id}/status").read_text()
        total += 1024 * sum(int(kib) for kib in re.findall(r"(?:RssAnon|RssShmem):\s+(\d+)", status))
    return total


def _delete_p95_ms(client: Client, products: int) -> float:
    latencies_ms = []
    for number in range(100):
        start_s = time.perf_counter()
        client.get(f"/api/v1/products/p{number * (products // 100):07d}", "DELETE")
        latencies_ms.append(1e3 * (time.perf_counter() - start_s))
    return float(np.percentile(latencies_ms, 95))


def _against_milvus(vectors: Any, rate: float, duration_s: int) -> list[Row]:
    """Compare the throughput with a Milvus standalone server that holds the same vectors."""
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
        deadline_s = time.monotonic() + duration_s

        def search(number: int) -> None:
            thread_client = MilvusClient(f"http://{server.endpoint}")
            while time.monotonic() < deadline_s:
                thread_client.search("bench", [vectors[random.randrange(len(vectors))]], limit=11)
                counts[number] += 1

        run_in_threads(search)
        milvus_rate = sum(counts) / duration_s
    ratio = rate / milvus_rate
    return [
        Row(
            "against Milvus standalone 2.3.5",
            f"{ratio:.1f} times ({milvus_rate:,.0f}/s)",
            "at least 3 times",
            ratio >= 3,
        )
    ]
