"""Tests of vitrine.indexer.build.calibration: sampled queries, their scores, and reuse by later builds."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.queries_view import product
from tests.vectors import clustered
from vitrine.indexer.build import calibration
from vitrine.indexer.build.calibration import (
    QUERIES_PER_CATEGORY,
    calibrate_confidence,
    is_calibration_current,
    nearest_neighbour_scores,
    sample_queries,
)
from vitrine.indexer.products.table import Table
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.confidence import Confidence, calibrate

NAMES = ("mugs", "shirts", "shoes")


def test_scores_are_those_of_the_nearest_live_neighbour(tmp_path: Path) -> None:
    vectors = clustered(60, 16)
    report = build_index(vectors, RecipeRequest("flat"), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)
    live = np.ones(60, bool)
    live[::7] = False
    rows = np.flatnonzero(live)
    scores = nearest_neighbour_scores(vectors, rows, live, index)
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    similarities[:, ~live] = -np.inf
    np.testing.assert_allclose(scores, similarities[rows].max(axis=1), atol=1e-6)
    alone = np.zeros(60, bool)
    alone[3] = True
    assert nearest_neighbour_scores(vectors, np.array([3]), alone, index).tolist() == [-np.inf]


def test_all_products_of_rare_categories_are_queries() -> None:
    codes = np.repeat([0, 1, 2], [5000, 40, 3]).astype(np.int32)
    queries = sample_queries(codes, np.arange(len(codes)), 500)
    assert len(queries) == len(set(queries.tolist())) == 500
    counts = np.bincount(codes[queries])
    assert counts[1:].tolist() == [40, 3]
    assert QUERIES_PER_CATEGORY > 40


def test_a_large_catalogue_gets_fewer_queries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibration, "VALUES_READ_MAX", 0)
    monkeypatch.setattr(calibration, "QUERIES_MIN", 30)
    vectors = clustered(90, 8)
    query_counts: list[int] = []
    report = build_index(vectors, RecipeRequest("flat"), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)

    def counted(all_vectors: np.ndarray, rows: np.ndarray, *rest: Any) -> np.ndarray:
        query_counts.append(len(rows))
        return nearest_neighbour_scores(all_vectors, rows, *rest)

    monkeypatch.setattr(calibration, "nearest_neighbour_scores", counted)
    table = Table.from_products([product(f"p{n:02}") for n in range(90)])
    calibrate_confidence(vectors, table, index)
    assert query_counts == [30]


def test_a_calibration_is_current_until_category_counts_change() -> None:
    products = [product(f"p{n:03}", category=NAMES[n % 3]) for n in range(300)]
    fitted = calibrate(np.full(300, 0.5), np.arange(300, dtype=np.int32) % 3, NAMES)
    fitted = dataclasses.replace(fitted, counts=dict.fromkeys(NAMES, 100))
    assert is_calibration_current(fitted, Table.from_products(products[:296]))
    assert not is_calibration_current(fitted, Table.from_products(products[:290]))
    new_category = [product(f"q{n:03}", category="hats") for n in range(9)]
    assert not is_calibration_current(fitted, Table.from_products([*products, *new_category]))


def test_a_build_keeps_the_calibration_until_vectors_or_counts_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def counted(*arguments: Any) -> Confidence:
        nonlocal calls
        calls += 1
        return calibrate_confidence(*arguments)

    photos, index = write_folder(tmp_path / "photos", per_category=6), tmp_path / "index"
    build_folder(photos, index)

    monkeypatch.setattr("vitrine.indexer.build.candidate.calibrate_confidence", counted)
    build_folder(photos, index)
    assert calls == 0
    build_folder(photos, index, transform="centre")
    assert calls == 1
    write_folder(photos / "new", categories=1, per_category=4, first_seed=90)
    build_folder(photos, index, transform="centre")
    assert calls == 2
