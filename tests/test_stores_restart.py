"""A Milvus server that is killed under load: clear errors, no lost change, and recovery."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.indexes import GridEmbedder, SampleProduct
from tests.milvus_server import MilvusServer
from tests.pictures import jpeg
from tests.stores import run_server
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.publish import publish_to_store
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.stores import milvus as milvus_store

pytestmark = pytest.mark.milvus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MilvusServer]:
    yield from run_server(tmp_path / "milvus")


@pytest.fixture
def served(server: MilvusServer, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    monkeypatch.setattr(milvus_store, "SCAN_ROWS", 0)
    uri = f"milvus://{server.endpoint}/restart"
    publish_to_store(IndexFolder(small_index), StoreAddress.parse(uri), SilentProgress())
    config = ServiceConfig(store=uri)
    with Catalogue.open(small_index, config=config, embedder=GridEmbedder()) as catalogue:
        yield catalogue


class LoadThread:
    """A thread that sends requests without a pause and records the responses."""

    def __init__(self, client: FlaskClient) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest_s = 0.0
        self.last_status = 0
        self.problems: list[Any] = []
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            response = self._client.get("/api/v1/products/p01/similar?limit=3")
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.last_status = response.status_code
            self.statuses[response.status_code] += 1
            if response.status_code != 200:
                self.problems.append(response.get_json())
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def similar(client: FlaskClient) -> list[str]:
    response = client.get("/api/v1/products/p01/similar?limit=20")
    assert response.status_code == 200, response.get_json()
    return [hit["id"] for hit in response.get_json()["hits"]]


def test_a_restart_under_load_loses_no_change(
    served: Catalogue, server: MilvusServer, samples: list[SampleProduct]
) -> None:
    client = create_app(served, ServiceConfig()).test_client()
    assert client.get("/api/v1/status").get_json()["store"] == "milvus"
    before = similar(client)
    threads = [LoadThread(create_app(served, ServiceConfig()).test_client()) for _ in range(2)]
    try:
        wait_until(lambda: threads[0].statuses[200] > 20)
        served.delete("p05")
        server.stop()
        wait_until(lambda: all(thread.last_status == 503 for thread in threads))
        served.delete("p07")  # acknowledged while the store is down
        served.add(jpeg(48, 32, 77), name="new", category="bolsa", id="while-away")
        server.start()
        wait_until(lambda: all(thread.last_status == 200 for thread in threads))
    finally:
        for thread in threads:
            thread.stop()
    statuses = threads[0].statuses + threads[1].statuses
    assert set(statuses) == {200, 503}
    assert max(thread.slowest_s for thread in threads) < LIMIT_S
    problem = threads[0].problems[0]
    assert problem["type"] == "/problems/store-unavailable"
    assert "Milvus at http://127.0.0.1" in problem["detail"]
    expected = sorted({*before, "while-away"} - {"p05", "p07"})
    assert sorted(similar(client)) == expected
    wait_until(lambda: _stored_sequence(served) == served.view().state.sequence)
    assert sorted(similar(client)) == expected


def _stored_sequence(catalogue: Catalogue) -> int | None:
    searcher: Any = catalogue.view().searcher
    sequence: int | None = searcher._collection.read_sequence()
    return sequence
