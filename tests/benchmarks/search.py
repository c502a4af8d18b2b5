"""Benchmark of search against hnswlib, usearch, faiss and the notebook, with filters and deletions.

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
ROUND_QUERIES = 20
RECALL_QUERIES = 50
SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)
DELETED = (0.0, 0.1, 0.5)
# Post-filtering searches for this many times K hits and drops those that are not allowed.
OVERSAMPLING = 10
# Returns the rows found for one query, (1, D).
Search = Callable[[Any], Any]


@dataclass(frozen=True)
class Setup:
    """Index and queries of the benchmark. queries: (Q, D). kth_scores: (Q,) exact K-th best scores."""

    vectors: Any
    queries: Any
    kth_scores: Any
    index: VectorIndex
    report: IndexReport


def run(quick: bool) -> Section:
    """Measure with 50,000 x 2048 vectors; quick: 5,000 x 256."""
    count, dimension = (5_000, 256) if quick else (50_000, 2048)
    with tempfile.TemporaryDirectory() as folder:
        setup = prepare(count, dimension, Path(folder) / "index.faiss")
        rows = [*_describe_index(setup), *_against_others(setup), *_exact(setup), *_filtered(setup)]
        del setup
        rows += _overview(Path(folder), 2 * count, dimension)
    about = (
        f"{count:,} x {dimension} synthetic feature vectors: non-negative, clustered, unit length, of low "
        f"intrinsic dimension; one query at a time, recall@{K} at least {TARGET}. The engines run in "
        f"rounds of {ROUND_QUERIES} queries, so that other load affects all of them equally."
    )
    notes = [
        "recall counts the hits with at least the score of the exact tenth",
        f"post-filtering: search for {OVERSAMPLING * K} hits, then drop those that are not allowed",
        "the index stores a projection of the vectors; its candidates are scored with the original vectors",
    ]
    return Section("Search", about, rows, notes)


def prepare(count: int, dimension: int, path: Path) -> Setup:
    """Create vectors and the index that `auto` chooses for them."""
    vectors = clustered(count, dimension, seed=1, latent=32, clusters=400)
    report = build_index(vectors, RecipeRequest("auto" if count > 20_000 else "hnsw", TARGET), path)
    index = VectorIndex.open(path, vectors, report.parameters)
    query_rows = np.random.default_rng(2).choice(count, QUERIES, replace=False)
    queries = vectors[query_rows]
    return Setup(vectors, queries, search_all(vectors, queries, K).scores[:, -1], index, report)


def recall(setup: Setup, found_rows: Sequence[Any]) -> float:
    """Return recall@K of the rows found for each query, (Q, K)."""
    correct = [
        np.count_nonzero(score_rows(setup.vectors[np.asarray(rows, np.int64)], query) >= kth_score - 1e-6)
        for rows, query, kth_score in zip(found_rows, setup.queries, setup.kth_scores, strict=True)
    ]
    return float(np.mean(correct)) / K


def latencies_ms(setup: Setup, searches: dict[str, Search]) -> dict[str, Any]:
    """Return the latencies (Q,) of each engine. The engines run in rounds."""
    latencies: dict[str, list[float]] = {name: [] for name in searches}
    for start in range(0, QUERIES, ROUND_QUERIES):
        for name, search in searches.items():
            search(setup.queries[start : start + 1])
            for query in setup.queries[start : start + ROUND_QUERIES]:
                start_s = time.perf_counter()
                search(query[None])
                latencies[name].append(1e3 * (time.perf_counter() - start_s))
    return {name: np.array(values) for name, values in latencies.items()}


def _describe_index(setup: Setup) -> list[Row]:
    report = setup.report
    share = report.memory_bytes / (setup.vectors.size * 4)
    return [
        Row("recipe chosen by `auto`", f"{report.factory}: {report.why}"),
        Row("build, including trials, tuning and measurement", f"{report.seconds:.0f} s"),
        Row("index memory / float32 vectors", f"{share:.3f}", "at most 0.35", share <= 0.35),
        Row(f"recall@{K}", f"{report.recall_at_10:.4f}", "at least 0.99", report.recall_at_10 >= TARGET),
    ]


def _against_others(setup: Setup) -> list[Row]:
    def search_vitrine(query: Any) -> Any:
        return setup.index.search(query, K).rows[0]

    searches = {"vitrine": search_vitrine, **_hnswlib(setup), **_usearch(setup)}
    latencies = latencies_ms(setup, searches)
    p50 = {name: float(np.median(values)) for name, values in latencies.items()}
    rows = []
    for name, search in searches.items():
        measured_recall = recall(setup, [search(query[None]) for query in setup.queries])
        p95 = float(np.percentile(latencies[name], 95))
        rows.append(
            Row(f"{name}: p50, p95, recall", f"{p50[name]:.3f} ms, {p95:.3f} ms, {measured_recall:.4f}")
        )
    for name, aim in zip(list(searches)[1:], (0.6, 0.4), strict=True):
        ratio = p50["vitrine"] / p50[name]
        rows.append(Row(f"p50 against {name}", f"{ratio:.2f}", f"at most {aim}", ratio <= aim))
    return rows


def _hnswlib(setup: Setup) -> dict[str, Search]:
    import hnswlib

    index = hnswlib.Index("ip", setup.vectors.shape[1])
    index.init_index(len(setup.vectors), M=32, ef_construction=200)
    index.add_items(setup.vectors)
    index.set_num_threads(1)

    def search(query: Any) -> Any:
        return index.knn_query(query, K)[0][0]

    for ef in (10, 12, 16, 24, 32, 48, 64, 128, 256):
        index.set_ef(ef)
        if recall(setup, [search(query[None]) for query in setup.queries]) >= TARGET:
            break
    return {f"hnswlib M 32, ef {ef}": search}


def _usearch(setup: Setup) -> dict[str, Search]:
    from usearch.index import Index

    index = Index(ndim=setup.vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(setup.vectors)), setup.vectors)

    def search(query: Any) -> Any:
        return index.search(query[0], K).keys

    for ef in (10, 16, 24, 32, 48, 64, 128, 256):
        index.expansion_search = ef  # type: ignore[misc]
        if recall(setup, [search(query[None]) for query in setup.queries]) >= TARGET:
            break
    return {f"usearch f32, ef {ef}": search}


def _exact(setup: Setup) -> list[Row]:
    flat = faiss.IndexFlatIP(setup.vectors.shape[1])
    flat.add(setup.vectors)
    searches: dict[str, Search] = {
        "vitrine, exact": lambda query: setup.index.search(query, K, exact=True).rows[0],
        "faiss IndexFlatIP": lambda query: flat.search(query, K)[1][0],
        "cosine_similarity + argsort": lambda query: np.argsort(-cosine_similarity(query, setup.vectors)[0])[
            :K
        ],
    }
    latencies: dict[str, list[float]] = {name: [] for name in searches}
    for query in setup.queries[:ROUND_QUERIES]:
        for name, search in searches.items():
            start_s = time.perf_counter()
            search(query[None])
            latencies[name].append(1e3 * (time.perf_counter() - start_s))
    p50 = {name: float(np.median(values)) for name, values in latencies.items()}
    rows = [Row(f"{name}: p50", f"{value:.1f} ms") for name, value in p50.items()]
    for name, aim in zip(list(searches)[1:], (3, 20), strict=True):
        ratio = p50[name] / p50["vitrine, exact"]
        rows.append(
            Row(f"speedup of exact search over {name}", f"{ratio:.1f} times", f"{aim} times", ratio >= aim)
        )
    return rows


def _overview(folder: Path, count: int, dimension: int) -> list[Row]:
    """Open a snapshot, then compute matrix and projection: first, again, and after a deletion."""
    products = [
        Product(f"p{i:06d}", f"name {i}", f"c{i % 50:02d}", None, "x.jpg", "0" * 64, 1, 1)
        for i in range(count)
    ]
    vectors = clustered(count, dimension, seed=4, latent=32, clusters=400)
    publish(folder / "index", products, vectors, folder, recipe="SVD64,SQ8")
    del vectors, products
    start_s = time.perf_counter()
    snapshot = IndexFolder(folder / "index").open()
    open_s = time.perf_counter() - start_s
    view = View.from_snapshot(snapshot, [], EMBEDDED)
    now = dt.datetime.now(dt.UTC)
    changed_view = view.after([Change(1, "b", "delete", "p000007", now, "bench", "r")])
    rows = [Row(f"opening a snapshot of {count:,}", f"{open_s:.2f} s", "under 1 s", open_s < 1)]
    for name, compute, aim_s in (("matrix", category_matrix, 2.0), ("projection", project, 8.0)):
        durations_s = []
        for current in (view, view, changed_view):
            start_s = time.perf_counter()
            compute(current)
            durations_s.append(time.perf_counter() - start_s)
        first_s, again_s, changed_s = durations_s
        value = f"{first_s:.2f} s, {1e3 * again_s:.1f} ms, {1e3 * changed_s:.1f} ms"
        rows.append(
            Row(
                f"{name} of {count:,}: first, again, after a deletion",
                value,
                f"{aim_s:.0f} s, 20 ms, 20 ms",
                first_s < aim_s and max(again_s, changed_s) < 0.02,
            )
        )
    return rows


def _notebook(query: Any, vectors: Any) -> Any:
    return np.argsort(-cosine_similarity(query, vectors)[0])[:K]


def _filtered(setup: Setup) -> list[Row]:
    """Measure each share of allowed rows with each share of deleted rows, and compare with post-filtering."""
    plain = np.percentile(
        latencies_ms(setup, {"plain": lambda query: setup.index.search(query, K)})["plain"], 95
    )
    cases = [(deleted, share) for deleted in DELETED for share in SHARES if share < 1.0 or deleted]
    filtered = [_measure_filter(setup, deleted, share, float(plain)) for deleted, share in cases]
    return [Row("unfiltered p95", f"{plain:.3f} ms"), *filtered]


def _measure_filter(setup: Setup, deleted: float, share: float, plain_ms: float) -> Row:
    random = np.random.default_rng(3)
    live = random.random(len(setup.vectors)) >= deleted
    masks = [live & (random.random(len(setup.vectors)) < share) for _ in setup.queries]
    pairs = list(zip(setup.queries, masks, strict=True))
    latencies, results, recalls, postfiltered_recalls = [], [], [], []
    for query, allowed in pairs:
        start_s = time.perf_counter()
        results.append(setup.index.search(query[None], K, allowed=allowed))
        latencies.append(1e3 * (time.perf_counter() - start_s))
    is_full = all(
        result.rows.shape[1] == min(K, int(allowed.sum()))
        for result, allowed in zip(results, masks, strict=True)
    )
    for (query, allowed), result in list(zip(pairs, results, strict=True))[:RECALL_QUERIES]:
        exact_scores = search_all(setup.vectors, query[None], K, allowed).scores[0]
        if len(exact_scores):
            recalls.append(np.mean(result.scores[0] >= exact_scores[-1] - 1e-6))
            oversampled = setup.index.search(query[None], OVERSAMPLING * K)
            kept_scores = oversampled.scores[0][allowed[oversampled.rows[0]]][:K]
            postfiltered_recalls.append(
                np.count_nonzero(kept_scores >= exact_scores[-1] - 1e-6) / len(exact_scores)
            )
    p95, mean_recall = float(np.percentile(latencies, 95)), float(np.mean(recalls))
    postfiltered = float(np.mean(postfiltered_recalls))
    completeness = "always" if is_full else "NO"
    return Row(
        f"{share:.1%} allowed, {deleted:.0%} deleted: p95, recall, K hits (recall of post-filtering)",
        f"{p95:.3f} ms = {p95 / plain_ms:.1f} x, {mean_recall:.4f}, {completeness} ({postfiltered:.2f})",
        "5 x, 0.99, always",
        p95 <= 5 * plain_ms and mean_recall >= TARGET and is_full,
    )
