"""Sketches: upper bounds, candidates without misses, and a file that grows with its index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexer.recipes.builds import as_stored
from tests.vectors import clustered
from vitrine.indexer.arrays import unit
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.recipes import PreviousIndex, RecipeRequest, VectorIndex, build_index, sketch
from vitrine.indexer.recipes.sketch import BOUND_ROUNDING, Sketch, choose_directions, write_sketch
from vitrine.indexer.recipes.tuning import Benchmark
from vitrine.indexer.vectors.scoring import search_rows

N, D = 2500, 128
VECTORS = clustered(N, D, seed=5)


def choose(vectors: Any) -> Any:
    benchmark = Benchmark.from_vectors(vectors)
    return choose_directions(vectors, benchmark.queries, benchmark.kth_scores[1])


@pytest.fixture
def sketched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sketch:
    monkeypatch.setattr(sketch, "MIN_VALUES", 1)
    directions = choose(VECTORS)
    assert directions is not None
    return write_sketch(tmp_path / "sketch.npy", VECTORS, directions)


@given(seed=st.integers(0, 2**32 - 1), half=st.booleans(), width=st.integers(1, 24))
@settings(max_examples=60)
def test_a_bound_is_never_below_the_score(seed: int, half: bool, width: int) -> None:
    random = np.random.default_rng(seed)
    vectors: Any = unit(random.standard_normal((50, 32)).astype(np.float32) ** 3)
    query = vectors[0] if seed % 2 else unit(random.standard_normal((1, 32)).astype(np.float32))[0]
    if half:
        vectors = vectors.astype(np.float16)
    directions = np.linalg.qr(random.standard_normal((32, width)))[0].astype(np.float32)
    axes = np.hstack([directions, np.zeros((32, 1), np.float32)])
    array = sketch.compute_sketches(vectors.astype(np.float32), directions)
    bounds = Sketch(np.vstack([axes, array]), 32).upper_bounds(query)
    assert (bounds + BOUND_ROUNDING >= vectors.astype(np.float64) @ query).all()


@pytest.mark.parametrize("allowed_only", [True, False])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("k", [1, 10, 400])
def test_candidates_include_all_of_the_k_best(
    sketched: Sketch, k: int, share: float, allowed_only: bool
) -> None:
    random = np.random.default_rng(7)
    allowed = None if share == 1.0 else random.random(N) < share
    rows = np.arange(N) if allowed is None else np.flatnonzero(allowed)
    k = min(k, len(rows))
    for query in VECTORS[:: N // 20]:
        best = search_rows(VECTORS, rows, query[None], k).rows[0]
        candidates = sketched.select_candidates(VECTORS, query, k, allowed, allowed_only)
        assert np.isin(best, candidates).all()
        assert np.isin(candidates, rows).all()


def test_candidates_are_few_where_vectors_lie_along_few_directions(sketched: Sketch) -> None:
    counts = [len(sketched.select_candidates(VECTORS, query, 10, None, False)) for query in VECTORS[::100]]
    assert np.mean(counts) < 0.1 * N


def test_no_sketch_is_written_if_none_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(VECTORS) is None, "small enough to be read in full"
    monkeypatch.setattr(sketch, "MIN_VALUES", 1)
    noise = unit(np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32))
    assert choose(noise) is None
    assert choose(unit(noise[:, :8])) is None, "too few dimensions"


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "SQ8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exact_search_through_sketches_is_exact(
    recipe: str, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sketch, "MIN_VALUES", 1)
    vectors: Any = VECTORS.astype(dtype)
    report = build_index(vectors, RecipeRequest(recipe), tmp_path / "index.faiss")
    assert report.parameters["sketched"] == N
    free = {**report.parameters["costs"], "bound": 0.0, "pick": 0.0, "sift": 0.0, "left": 0.0, "every": 1e6}
    parameters = {**report.parameters, "costs": free | {"row": 1.0}}
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, parameters)
    allowed = np.random.default_rng(1).random(N) < 0.4
    for mask in (None, allowed):
        rows = np.arange(N) if mask is None else np.flatnonzero(mask)
        truth = search_rows(vectors, rows, VECTORS[::250], 30)
        answer = index.search(VECTORS[::250], 30, allowed=mask, exact=True)
        assert (answer.rows == truth.rows).all()
        assert (answer.scores == truth.scores).all()


def test_a_sketch_grows_with_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch, "MIN_VALUES", 1)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    report = build_index(VECTORS[:2000], RecipeRequest("flat"), first / "index.faiss")
    before = (first / "sketch.npy").read_bytes()
    previous = PreviousIndex(first / "index.faiss", as_stored(report))
    grown = build_index(VECTORS, RecipeRequest("flat"), second / "index.faiss", previous=previous)
    assert grown.how == "appended"
    assert grown.parameters["sketched"] == N
    assert (first / "sketch.npy").read_bytes() == before
    small, large = np.load(first / "sketch.npy"), np.load(second / "sketch.npy")
    assert (large[: len(small)] == small).all()
    recomputed = sketch.compute_sketches(VECTORS[2000:], np.ascontiguousarray(small[:D, :-1]))
    assert np.allclose(large[len(small) :], recomputed, atol=1e-5)


def test_another_file_is_refused(sketched: Sketch, tmp_path: Path) -> None:
    for shape in ((N + 1, D), (N, D - 1)):
        with pytest.raises(SnapshotCorrupt, match="holds no sketch of"):
            Sketch.open(tmp_path / "sketch.npy", shape)
    (tmp_path / "sketch.npy").write_bytes(b"nothing")
    with pytest.raises(SnapshotCorrupt, match="is not a readable array"):
        Sketch.open(tmp_path / "sketch.npy", (N, D))
