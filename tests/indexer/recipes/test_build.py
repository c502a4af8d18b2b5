"""Index builds of every recipe and size, and rows appended to a previous index."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.indexer.recipes.builds import VECTORS, N, RecordedProgress, as_stored, random_vectors
from tests.vectors import clustered
from vitrine.indexer.errors import InputError, RecipeImpossible
from vitrine.indexer.recipes import PreviousIndex, RecipeRequest, VectorIndex, build_index


@pytest.mark.parametrize("recipe", ["nonsense", "IDMap,Flat", "SVD500,SQ8", "SVD9,what", ""])
def test_a_recipe_that_faiss_does_not_support_is_an_input_error(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recipe"):
        build_index(VECTORS[:200], RecipeRequest(recipe), tmp_path / "index.faiss")


def test_a_recipe_that_needs_more_products_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeImpossible, match="cannot learn from 50 products"):
        build_index(VECTORS[:50], RecipeRequest("PQ8"), tmp_path / "index.faiss")


@pytest.mark.parametrize("recipe", ["auto", "flat", "hnsw", "ivf"])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_a_handful_of_products_can_be_indexed_by_any_recipe(recipe: str, count: int, tmp_path: Path) -> None:
    for vectors in (VECTORS[:count], clustered(count, 3)):
        report = build_index(vectors, RecipeRequest(recipe), tmp_path / "index.faiss")
        index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)
        answer = index.search(vectors[:1], 50)
        assert sorted(answer.rows[0].tolist()) == list(range(count))
        assert report.recall_at_10 == 1.0


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "SVD32,SQ8"])
def test_rows_are_appended_to_the_index_of_the_same_recipe(recipe: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    first = build_index(VECTORS[:2000], RecipeRequest(recipe), old)
    old_bytes = old.read_bytes()
    progress = RecordedProgress()
    report = build_index(
        VECTORS, RecipeRequest(recipe), new, previous=PreviousIndex(old, as_stored(first)), progress=progress
    )
    assert (report.how, progress.steps) == ("appended", 400)
    assert (report.recipe, report.factory) == (first.recipe, first.factory)
    assert old.read_bytes() == old_bytes
    index = VectorIndex.open(new, VECTORS, report.parameters)
    assert index.ntotal == N
    best_rows = [index.search(VECTORS[row : row + 1], 1).rows[0, 0] for row in range(2000, N, 40)]
    assert best_rows == list(range(2000, N, 40))


def test_an_index_without_new_rows_is_copied(tmp_path: Path) -> None:
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    first = build_index(VECTORS, RecipeRequest("hnsw"), old)
    report = build_index(VECTORS, RecipeRequest("hnsw"), new, previous=PreviousIndex(old, as_stored(first)))
    assert report.how == "appended"
    assert new.read_bytes() == old.read_bytes()


@pytest.mark.parametrize(
    ("previous_recipe", "request_", "previous_rows"),
    [
        ("hnsw", RecipeRequest("ivf"), 2000),
        ("hnsw", RecipeRequest("auto"), 2000),
        ("hnsw", RecipeRequest("hnsw"), 1000),
        ("SVD32,SQ8", RecipeRequest("SVD16,SQ8"), 2000),
        ("hnsw", RecipeRequest("hnsw", memory_bytes=800_000), 2000),
    ],
)
def test_another_recipe_much_growth_or_less_memory_means_building_anew(
    previous_recipe: str, request_: RecipeRequest, previous_rows: int, tmp_path: Path
) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS[:previous_rows], RecipeRequest(previous_recipe), old)
    if request_.memory_bytes:
        request_ = dataclasses.replace(request_, memory_bytes=first.memory_bytes)
    previous = PreviousIndex(old, as_stored(first))
    try:
        assert build_index(VECTORS, request_, tmp_path / "new.faiss", previous=previous).how == "built"
    except RecipeImpossible:
        assert request_.memory_bytes


def test_an_index_that_loses_recall_by_appending_is_built_anew(tmp_path: Path) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS[:1500], RecipeRequest("SVD32,SQ8"), old)
    progress = RecordedProgress()
    report = build_index(
        np.concatenate([VECTORS[:1500], random_vectors(900, seed=3)]),
        RecipeRequest("SVD32,SQ8"),
        tmp_path / "new.faiss",
        previous=PreviousIndex(old, as_stored(first)),
        progress=progress,
    )
    assert report.how == "built"
    assert any("building the index anew" in note for note in progress.notes)


def test_a_previous_index_of_more_vectors_is_not_used(tmp_path: Path) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS, RecipeRequest("flat"), old)
    report = build_index(
        VECTORS[:500],
        RecipeRequest("flat"),
        tmp_path / "new.faiss",
        previous=PreviousIndex(old, as_stored(first)),
    )
    assert report.how == "built"
