"""Tests of killed workers under load from many clients: the journal explains every answer afterwards.

A read says in its ETag up to which change it knows; its hits must be exactly the products that live after
that change, and the change must not be older than any that was acknowledged before the read began.
VITRINE_CRASH_SECONDS sets how long (default 6).
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.indexes import DIMENSION, MODEL, make_samples, publish_samples
from tests.pictures import jpeg
from tests.service.test_cli import _children, running
from tests.waiting import LIMIT_S
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.journal.journal import Change, Journal
from vitrine.service import Catalogue

SECONDS = float(os.environ.get("VITRINE_CRASH_SECONDS", "6"))
WORKERS, CLIENTS, PRODUCTS, UPLOADS = 4, 16, 30, 40
WRITTEN = (200, 201)


@dataclass
class Told:
    """What clients were told, with the times between which it became true."""

    reads: list[tuple[float, int, frozenset[str]]] = field(default_factory=list)
    writes: list[tuple[float, str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """Asks and changes at random until told to stop."""

    def __init__(self, address: tuple[str, int], number: int, pictures: list[bytes], told: Told) -> None:
        self.address = address
        self.number = number
        self.pictures = pictures
        self.told = told
        self.random = random.Random(number)
        self.count = 0

    def run(self, stop: threading.Event) -> None:
        writes = (self.delete, self.delete, self.restore, self.undo, self.upload)
        actions = (*writes, self.read, self.read, self.read)
        while not stop.is_set():
            self.random.choice(actions)()

    def call(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, Any, str, str] | None:
        """Return status, answer, ETag and request id; None when the connection broke with its worker."""
        self.count += 1
        request = f"client-{self.number}-{self.count}"
        connection = http.client.HTTPConnection(*self.address, timeout=LIMIT_S)
        try:
            headers = {"X-Request-ID": request, "Content-Type": kind}
            connection.request(method, f"/api/v1{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers.get("ETag", ""), request
        except (OSError, http.client.HTTPException, ValueError):
            with self.told.lock:
                self.told.broken += 1
            time.sleep(0.02)
            return None
        finally:
            connection.close()

    def read(self) -> None:
        began = time.monotonic()
        answer = self.call("GET", "/products/anchor/similar?limit=1000")
        if answer is None:
            return
        status, body, tag, _ = answer
        with self.told.lock:
            if status == 200:
                seen = frozenset(hit["id"] for hit in body["hits"])
                self.told.reads.append((began, int(tag.rstrip('"').rsplit("-", 1)[1]), seen))
            else:
                self.told.problems.append(f"read: {status} {body}")

    def write(self, answer: tuple[int, Any, str, str] | None, kind: str, allowed: tuple[int, ...]) -> None:
        if answer is None:
            return
        status, body, _, request = answer
        with self.told.lock:
            if status in WRITTEN:
                changed = len(body.get("products", body.get("changes", [0])))
                self.told.writes.append((time.monotonic(), kind, request, changed))
            elif status not in allowed:
                self.told.problems.append(f"{kind}: {status} {body}")

    def delete(self) -> None:
        ids = [f"p{n:02d}" for n in self.random.sample(range(1, PRODUCTS), 3)]
        body = json.dumps({"ids": ids}).encode()
        self.write(self.call("POST", "/products/delete", body), "delete", (410,))

    def restore(self) -> None:
        name = f"p{self.random.randrange(1, PRODUCTS):02d}"
        self.write(self.call("POST", f"/products/{name}/restore"), "restore", ())

    def undo(self) -> None:
        self.write(self.call("POST", "/undo"), "undo", (409,))

    def upload(self) -> None:
        picture = self.random.choice(self.pictures)
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nNova\r\n',
            b'--x\r\nContent-Disposition: form-data; name="category"\r\n\r\nbolsa\r\n',
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n',
            picture,
            b"\r\n--x--\r\n",
        ]
        answer = self.call("POST", "/products", b"".join(parts), "multipart/form-data; boundary=x")
        self.write(answer, "upload", ())


def kill_workers(parent: int, stop: threading.Event, killed: list[int]) -> None:
    """Kill one worker after another, each once all are there: a crash loop would end the service."""
    chosen = random.Random(0)
    while not stop.wait(0.7):
        workers = _children(parent)
        if len(workers) == WORKERS:
            victim = chosen.choice(workers)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)


def prepare(folder: Path) -> tuple[Path, list[bytes]]:
    """Publish products, one of them `anchor`, and put the vectors of pictures to upload into the cache."""
    samples = make_samples(folder / "source", PRODUCTS)
    anchor = dataclasses.replace(samples[0].product, id="anchor")
    publish_samples(
        folder / "index", [dataclasses.replace(samples[0], product=anchor), *samples[1:]], folder / "source"
    )
    pictures = [jpeg(40, 40, 500 + number) for number in range(UPLOADS)]
    vectors = np.random.default_rng(0).normal(size=(UPLOADS, DIMENSION)).astype(np.float32)
    with EmbeddingCache(folder / "index" / "cache") as cache:
        cache.put(
            MODEL.key,
            [
                CacheEntry(hashlib.sha256(picture).digest(), 40, 40, vector / np.linalg.norm(vector))
                for picture, vector in zip(pictures, vectors, strict=True)
            ],
        )
    return folder / "index", pictures


def states(changes: list[Change]) -> dict[int, frozenset[str]]:
    """Return which products live after each change, the anchor apart."""
    live = {f"p{number:02d}" for number in range(1, PRODUCTS)}
    found = {0: frozenset(live)}
    for change in changes:
        (live.discard if change.kind == "delete" else live.add)(change.id)
        found[change.sequence] = frozenset(live)
    return found


def test_every_answer_under_killed_workers_is_explained_by_the_journal(tmp_path: Path) -> None:
    index, pictures = prepare(tmp_path)
    told, stop, killed = Told(), threading.Event(), list[int]()
    with running(index, "--workers", str(WORKERS), "--no-access-log", "--log-level", "error") as started:
        address = started["host"], started["port"]
        threads = [
            threading.Thread(target=Client(address, number, pictures, told).run, args=(stop,))
            for number in range(CLIENTS)
        ]
        threads.append(threading.Thread(target=kill_workers, args=(started["pid"], stop, killed)))
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        stop.set()
        for thread in threads:
            thread.join()
    with Journal(index / "journal.sqlite") as journal:
        changes = journal.changes_since(0)
    assert told.problems == []
    assert killed
    check_writes(told, changes)
    check_reads(told, changes)
    with Catalogue.open(index) as catalogue:
        left = {each["id"] for each in catalogue.products(limit=1000)["products"]} - {"anchor"}
    assert left == states(changes)[changes[-1].sequence]


def check_writes(told: Told, changes: list[Change]) -> None:
    """Every acknowledged write is in the journal, whole; a batch is there as one or not at all."""
    by_request: dict[str, list[Change]] = {}
    for change in changes:
        by_request.setdefault(change.request, []).append(change)
    for _, kind, request, changed in told.writes:
        entries = by_request.get(request, [])
        if kind == "restore":  # of a live product: nothing to write
            assert len(entries) <= 1
        else:
            assert len(entries) == changed, (kind, request)
            assert len({entry.batch for entry in entries}) == 1


def check_reads(told: Told, changes: list[Change]) -> None:
    """Every read shows one state, and one that holds all that was acknowledged before it began."""
    live_after = states(changes)
    newest = {change.request: change.sequence for change in changes}
    acknowledged = sorted((at, newest[request]) for at, _, request, _ in told.writes if request in newest)
    assert len(told.reads) > CLIENTS
    for began, sequence, seen in told.reads:
        assert seen == live_after[sequence]
        assert sequence >= max((each for at, each in acknowledged if at < began), default=0)
