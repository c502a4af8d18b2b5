"""Search: Vitrine's own index against hnswlib, usearch, faiss and the notebook, under filters and deletions.

Shape letters: N rows, D dimension, Q queries.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from tests.benchmarks.report import Row, Section
from tests.indexes import publish
from tests.vectors import clustered
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.products.schema import Product
from vitrine.indexer.recipes import IndexReport, RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.vectors.scoring import score_rows, search_all
from vitrine.service.queries.matrix import category_matrix
from vitrine.service.queries.projection import project
from vitrine.service.queries.view import View
from vitrine.service.stores.embedded import EMBEDDED

K = 10
TARGET = 0.99
QUERIES = 200
ROUND = 20
CHECKED = 50
SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)
DELETED = (0.0, 0.1, 0.5)
# A naive filter asks for so many times K and drops what is not allowed.
OVERSAMPLING = 10
Ask = Callable[[Any], Any]


@dataclass(frozen=True)
class Made:
    """What is measured on. queries: (Q, D). floors: (Q,) the K-th best score of each."""

    vectors: Any
    queries: Any
    floors: Any
    index: VectorIndex
    report: IndexReport


def run(quick: bool) -> Section:
    """Measure on 50,000 x 2048 (5,000 x 256 when quick)."""
    count, dimension = (5_000, 256) if quick else (50_000, 2048)
    with tempfile.TemporaryDirectory() as folder:
        made = make(count, dimension, Path(folder) / "index.faiss")
        rows = [*_built(made), *_against_others(made), *_exact(made), *_filtered(made)]
        del made
        rows += _overview(Path(folder), 2 * count, dimension)
    about = (
        f"{count:,} x {dimension} vectors made like features: non-negative, clustered, unit length, of low "
        f"intrinsic dimension; one query at a time, recall@{K} at least {TARGET}. Engines take turns of "
        f"{ROUND} queries, so that what else the machine does falls on all alike."
    )
    notes = [
        "recall counts a hit whose score reaches that of the true tenth",
        f"naive post-filtering: the index asked for {OVERSAMPLING * K}, then what is not allowed dropped",
        "the index keeps few directions of a vector; what it proposes is scored with the vectors themselves",
    ]
    return Section("Search", about, rows, notes)


def make(count: int, dimension: int, path: Path) -> Made:
    """Make vectors and the index that `auto` chooses for them."""
    vectors = clustered(count, dimension, seed=1, latent=32, clusters=400)
    report = build_index(vectors, RecipeRequest("auto" if count > 20_000 else "hnsw", TARGET), path)
    index = VectorIndex.open(path, vectors, report.parameters)
    picked = np.random.default_rng(2).choice(count, QUERIES, replace=False)
    queries = vectors[picked]
    return Made(vectors, queries, search_all(vectors, queries, K).scores[:, -1], index, report)


def recall(made: Made, found: Sequence[Any]) -> float:
    """Return the share of the true K that was found. found: rows for each query."""
    hits = [
        np.count_nonzero(score_rows(made.vectors[np.asarray(rows, np.int64)], query) >= floor - 1e-6)
        for rows, query, floor in zip(found, made.queries, made.floors, strict=True)
    ]
    return float(np.mean(hits)) / K


def times_ms(made: Made, asks: dict[str, Ask]) -> dict[str, Any]:
    """Return (Q,) milliseconds of each engine, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in asks}
    for start in range(0, QUERIES, ROUND):
        for name, ask in asks.items():
            ask(made.queries[start : start + 1])
            for query in made.queries[start : start + ROUND]:
                began = time.perf_counter()
                ask(query[None])
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: np.array(spent) for name, spent in times.items()}


def _built(made: Made) -> list[Row]:
    report = made.report
    share = report.memory_bytes / (made.vectors.size * 4)
    return [
        Row("recipe that `auto` chose", f"{report.factory}: {report.why}"),
        Row("building it, with trials, tuning and measuring", f"{report.seconds:.0f} s"),
        Row("index memory / float32 vectors", f"{share:.3f}", "at most 0.35", share <= 0.35),
        Row(f"recall@{K}", f"{report.recall_at_10:.4f}", "at least 0.99", report.recall_at_10 >= TARGET),
    ]


def _against_others(made: Made) -> list[Row]:
    def ours(query: Any) -> Any:
        return made.index.search(query, K).rows[0]

    asks = {"vitrine": ours, **_hnswlib(made), **_usearch(made)}
    spent = times_ms(made, asks)
    p50 = {name: float(np.median(each)) for name, each in spent.items()}
    rows = []
    for name, ask in asks.items():
        found = recall(made, [ask(query[None]) for query in made.queries])
        p95 = float(np.percentile(spent[name], 95))
        rows.append(Row(f"{name}: p50, p95, recall", f"{p50[name]:.3f} ms, {p95:.3f} ms, {found:.4f}"))
    for name, aim in zip(list(asks)[1:], (0.6, 0.4), strict=True):
        ratio = p50["vitrine"] / p50[name]
        rows.append(Row(f"p50 against {name}", f"{ratio:.2f}", f"at most {aim}", ratio <= aim))
    return rows


def _hnswlib(made: Made) -> dict[str, Ask]:
    import hnswlib

    index = hnswlib.Index("ip", made.vectors.shape[1])
    index.init_index(len(made.vectors), M=32, ef_construction=200)
    index.add_items(made.vectors)
    index.set_num_threads(1)

    def ask(query: Any) -> Any:
        return index.knn_query(query, K)[0][0]

    for effort in (10, 12, 16, 24, 32, 48, 64, 128, 256):
        index.set_ef(effort)
        if recall(made, [ask(query[None]) for query in made.queries]) >= TARGET:
            break
    return {f"hnswlib M 32, ef {effort}": ask}


def _usearch(made: Made) -> dict[str, Ask]:
    from usearch.index import Index

    index = Index(ndim=made.vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(made.vectors)), made.vectors)

    def ask(query: Any) -> Any:
        return index.search(query[0], K).keys

    for effort in (10, 16, 24, 32, 48, 64, 128, 256):
        index.expansion_search = effort  # type: ignore[misc]
        if recall(made, [ask(query[None]) for query in made.queries]) >= TARGET:
            break
    return {f"usearch f32, ef {effort}": ask}


def _exact(made: Made) -> list[Row]:
    flat = faiss.IndexFlatIP(made.vectors.shape[1])
    flat.add(made.vectors)
    asks: dict[str, Ask] = {
        "vitrine, exact": lambda query: made.index.search(query, K, exact=True).rows[0],
        "faiss IndexFlatIP": lambda query: flat.search(query, K)[1][0],
        "cosine_similarity + argsort": lambda query: np.argsort(-cosine_similarity(query, made.vectors)[0])[
            :K
        ],
    }
    spent: dict[str, list[float]] = {name: [] for name in asks}
    for query in made.queries[:ROUND]:
        for name, ask in asks.items():
            began = time.perf_counter()
            ask(query[None])
            spent[name].append(1e3 * (time.perf_counter() - began))
    p50 = {name: float(np.median(each)) for name, each in spent.items()}
    rows = [Row(f"{name}: p50", f"{each:.1f} ms") for name, each in p50.items()]
    for name, aim in zip(list(asks)[1:], (3, 20), strict=True):
        ratio = p50[name] / p50["vitrine, exact"]
        rows.append(
            Row(f"exact search is faster than {name}", f"{ratio:.1f} times", f"{aim} times", ratio >= aim)
        )
    return rows


def _overview(folder: Path, count: int, dimension: int) -> list[Row]:
    """Open a snapshot twice the size, then ask for the matrix and the projection: first, again, changed."""
    products = [
        Product(f"p{i:06d}", f"name {i}", f"c{i % 50:02d}", None, "x.jpg", "0" * 64, 1, 1)
        for i in range(count)
    ]
    vectors = clustered(count, dimension, seed=4, latent=32, clusters=400)
    publish(folder / "index", products, vectors, folder, recipe="SVD64,SQ8")
    del vectors, products
    began = time.perf_counter()
    snapshot = IndexFolder(folder / "index").open()
    opened = time.perf_counter() - began
    view = View.from_snapshot(snapshot, [], EMBEDDED)
    now = dt.datetime.now(dt.UTC)
    later = view.after([Change(1, "b", "delete", "p000007", now, "bench", "r")])
    rows = [Row(f"opening a snapshot of {count:,}", f"{opened:.2f} s", "under 1 s", opened < 1)]
    for name, ask, aim_s in (("matrix", category_matrix, 2.0), ("projection", project, 8.0)):
        seconds = []
        for asked in (view, view, later):
            began = time.perf_counter()
            ask(asked)
            seconds.append(time.perf_counter() - began)
        first, again, changed = seconds
        said = f"{first:.2f} s, {1e3 * again:.1f} ms, {1e3 * changed:.1f} ms"
        rows.append(
            Row(
                f"{name} of {count:,}: first, again, after a deletion",
                said,
                f"{aim_s:.0f} s, 20 ms, 20 ms",
                first < aim_s and max(again, changed) < 0.02,
            )
        )
    return rows


def _notebook(query: Any, vectors: Any) -> Any:
    return np.argsort(-cosine_similarity(query, vectors)[0])[:K]


def _filtered(made: Made) -> list[Row]:
    """Every share of allowed rows with every share of deleted ones, and the naive way beside it."""
    plain = np.percentile(times_ms(made, {"plain": lambda query: made.index.search(query, K)})["plain"], 95)
    cases = [(deleted, share) for deleted in DELETED for share in SHARES if share < 1.0 or deleted]
    filtered = [_one_filter(made, deleted, share, float(plain)) for deleted, share in cases]
    return [Row("unfiltered p95", f"{plain:.3f} ms"), *filtered]


def _one_filter(made: Made, deleted: float, share: float, plain_ms: float) -> Row:
    random = np.random.default_rng(3)
    live = random.random(len(made.vectors)) >= deleted
    masks = [live & (random.random(len(made.vectors)) < share) for _ in made.queries]
    asked = list(zip(made.queries, masks, strict=True))
    times, answers, found, naive = [], [], [], []
    for query, allowed in asked:
        began = time.perf_counter()
        answers.append(made.index.search(query[None], K, allowed=allowed))
        times.append(1e3 * (time.perf_counter() - began))
    full = all(
        answer.rows.shape[1] == min(K, int(allowed.sum()))
        for answer, allowed in zip(answers, masks, strict=True)
    )
    for (query, allowed), answer in list(zip(asked, answers, strict=True))[:CHECKED]:
        truth = search_all(made.vectors, query[None], K, allowed).scores[0]
        if len(truth):
            found.append(np.mean(answer.scores[0] >= truth[-1] - 1e-6))
            over = made.index.search(query[None], OVERSAMPLING * K)
            kept = over.scores[0][allowed[over.rows[0]]][:K]
            naive.append(np.count_nonzero(kept >= truth[-1] - 1e-6) / len(truth))
    p95, reached, postfiltered = float(np.percentile(times, 95)), float(np.mean(found)), float(np.mean(naive))
    k_full = "always" if full else "NO"
    return Row(
        f"{share:.1%} allowed, {deleted:.0%} deleted: p95, recall, k full (naive recall)",
        f"{p95:.3f} ms = {p95 / plain_ms:.1f} x, {reached:.4f}, {k_full} ({postfiltered:.2f})",
        "5 x, 0.99, always",
        p95 <= 5 * plain_ms and reached >= TARGET and full,
    )
