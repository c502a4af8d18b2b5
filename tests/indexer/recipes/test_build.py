"""Building an index: what auto picks and why, what memory allows, appending, files that plain faiss reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from tests.vectors import clustered
from vitrine.indexer.errors import InputError, RecipeImpossible
from vitrine.indexer.recipes import (
    IndexReport,
    PreviousIndex,
    RecipeRequest,
    VectorIndex,
    build_index,
)
from vitrine.indexer.recipes import choice as choices
from vitrine.indexer.recipes.choice import Recipe
from vitrine.indexer.recipes.index import BUCKETS
from vitrine.indexer.recipes.reduction import leading_directions

N, D = 2400, 160
VECTORS = clustered(N, D, seed=5)


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps = 0

    def start(self, total: int | None, what: str) -> None: ...

    def advance(self, steps: int) -> None:
        self.steps += steps

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None: ...


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a catalogue of a thousand products for a large one."""
    monkeypatch.setattr(choices, "FLAT_ROWS", 1000)


def as_recorded(report: IndexReport) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(report)))
    return recorded


def test_auto_takes_flat_for_a_small_catalogue_and_says_why(tmp_path: Path) -> None:
    report = build_index(VECTORS, RecipeRequest(), tmp_path / "index.faiss")
    assert (report.recipe, report.factory, report.how) == ("flat", "Flat", "built")
    assert "few" in report.why
    assert report.recall_at_10 == 1.0
    assert report.p95_ms >= report.p50_ms > 0


@pytest.mark.usefixtures("large")
def test_auto_tries_candidates_and_builds_the_quickest_that_holds(tmp_path: Path) -> None:
    told = Told()
    report = build_index(VECTORS, RecipeRequest(), tmp_path / "index.faiss", progress=told)
    assert report.recipe in ("hnsw", "ivf", "codes")
    assert report.recall_at_10 >= 0.99
    holding = [trial for trial in report.tried if trial["verdict"] == "holds"]
    assert report.factory == min(holding, key=lambda trial: trial["p50_ms"])["recipe"]
    assert report.memory_bytes < VECTORS.nbytes
    assert report.memory_bytes == (tmp_path / "index.faiss").stat().st_size
    assert len(told.notes) > len(report.tried)
    assert told.steps == len(report.tried) + N


@pytest.mark.parametrize("recipe", ["hnsw", "ivf"])
def test_a_family_asked_for_is_not_called_the_quickest_of_one(recipe: str, tmp_path: Path) -> None:
    report = build_index(VECTORS[:100], RecipeRequest(recipe), tmp_path / "index.faiss")
    assert len(report.tried) == 1
    assert report.why == "as asked; it held recall 0.99, tried on 100 products"
    larger = build_index(VECTORS, RecipeRequest(recipe), tmp_path / "index.faiss")
    assert larger.why.startswith("as asked; ")
    assert ("the quickest" in larger.why) == (len(larger.tried) > 1)


@pytest.mark.usefixtures("large")
def test_auto_stays_within_the_memory(tmp_path: Path) -> None:
    free = build_index(VECTORS, RecipeRequest("hnsw"), tmp_path / "index.faiss")
    tight = free.memory_bytes // 2
    report = build_index(VECTORS, RecipeRequest("auto", memory_bytes=tight), tmp_path / "index.faiss")
    assert report.memory_bytes <= tight
    assert report.recall_at_10 >= 0.99


@pytest.mark.parametrize("recipe", ["auto", "flat", "hnsw", "ivf"])
def test_too_little_memory_says_what_would_be_needed(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeImpossible, match=r"needs [\d,]+ bytes of index .* --memory allows 1,000"
    ) as caught:
        build_index(VECTORS, RecipeRequest(recipe, memory_bytes=1000), tmp_path / "index.faiss")
    needed = int(str(caught.value).split("needs ")[1].split(" bytes")[0].replace(",", ""))
    report = build_index(VECTORS, RecipeRequest(recipe, memory_bytes=needed), tmp_path / "index.faiss")
    assert report.memory_bytes <= 1.02 * needed


@pytest.mark.usefixtures("large")
def test_a_recipe_that_held_on_its_sample_only_is_followed_by_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_tiers(chooser: choices.Chooser) -> list[choices.Trial]:
        chooser._tiers.clear()
        return [choices.Trial("SVD32,SQ8", 1.0, 0.1, 1000, 1.0, 16)]

    monkeypatch.setattr("vitrine.indexer.recipes.tuning._CANDIDATES", (16,))
    monkeypatch.setattr(choices.Chooser, "_try_tiers", try_tiers)
    noise = np.random.default_rng(0).standard_normal((1500, D)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    told = Told()
    report = build_index(noise, RecipeRequest("auto", 0.99), tmp_path / "index.faiss", progress=told)
    assert (report.recipe, report.recall_at_10) == ("flat", 1.0)
    assert any("of the whole is too little" in note for note in told.notes)


@pytest.mark.usefixtures("large")
def test_a_recall_no_approximation_holds_is_answered_by_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrine.indexer.recipes.tuning._CANDIDATES", (16,))
    noise = np.random.default_rng(0).standard_normal((1500, D)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    report = build_index(noise, RecipeRequest("auto", 1.0), tmp_path / "index.faiss")
    assert report.recall_at_10 == 1.0
    asked = build_index(noise, RecipeRequest("hnsw", 1.0), tmp_path / "index.faiss")
    assert asked.recipe == "hnsw"


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "HNSW16_SQ8", "SVD32,SQ8", "PCA16,Flat"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_plain_faiss_reads_every_index(recipe: str, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    report = build_index(VECTORS[:900].astype(dtype), RecipeRequest(recipe), path)
    index = faiss.read_index(str(path))
    assert (index.ntotal, index.d) == (900, D)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert index.search(VECTORS[:3], 5)[1].shape == (3, 5)
    assert json.loads(json.dumps(report.parameters)) == report.parameters


def test_a_recipe_that_faiss_does_not_know_is_the_callers_mistake(tmp_path: Path) -> None:
    for recipe in ("nonsense", "IDMap,Flat", "SVD500,SQ8", "SVD9,what", ""):
        with pytest.raises(InputError, match="recipe"):
            build_index(VECTORS[:200], RecipeRequest(recipe), tmp_path / "index.faiss")


@pytest.mark.parametrize("recipe", ["FOO,99", "IDMap,Flat", "SVD500,SQ8", "SVD9,what", "PQ7", "LSH", ""])
def test_a_recipe_can_be_refused_before_there_are_vectors_and_in_our_words(recipe: str) -> None:
    with pytest.raises(InputError, match=r"^recipe '") as caught:
        RecipeRequest(recipe).check(D)
    assert not any(alien in str(caught.value) for alien in ("::", ".cpp", "Error", "=="))


@pytest.mark.parametrize(
    "recipe", ["auto", "flat", "hnsw", "ivf", "HNSW16_SQ8", "SVD32,SQ8", "IVF64,PQ8x4fs"]
)
def test_a_recipe_that_can_be_had_is_not_refused(recipe: str) -> None:
    RecipeRequest(recipe).check(D)


def test_a_recipe_that_cannot_learn_from_so_few_products_says_so(tmp_path: Path) -> None:
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
    before = old.read_bytes()
    told = Told()
    report = build_index(
        VECTORS, RecipeRequest(recipe), new, previous=PreviousIndex(old, as_recorded(first)), progress=told
    )
    assert (report.how, told.steps) == ("appended", 400)
    assert (report.recipe, report.factory) == (first.recipe, first.factory)
    assert old.read_bytes() == before
    index = VectorIndex.open(new, VECTORS, report.parameters)
    assert index.ntotal == N
    found = [index.search(VECTORS[row : row + 1], 1).rows[0, 0] for row in range(2000, N, 40)]
    assert found == list(range(2000, N, 40))


def test_nothing_new_is_an_index_appended_by_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old.faiss", tmp_path / "new.faiss"
    first = build_index(VECTORS, RecipeRequest("hnsw"), old)
    report = build_index(VECTORS, RecipeRequest("hnsw"), new, previous=PreviousIndex(old, as_recorded(first)))
    assert report.how == "appended"
    assert new.read_bytes() == old.read_bytes()


@pytest.mark.parametrize(
    ("built", "asked", "rows"),
    [
        ("hnsw", RecipeRequest("ivf"), 2000),
        ("hnsw", RecipeRequest("auto"), 2000),
        ("hnsw", RecipeRequest("hnsw"), 1000),
        ("SVD32,SQ8", RecipeRequest("SVD16,SQ8"), 2000),
        ("hnsw", RecipeRequest("hnsw", memory_bytes=800_000), 2000),
    ],
)
def test_another_recipe_much_growth_or_less_memory_means_building_anew(
    built: str, asked: RecipeRequest, rows: int, tmp_path: Path
) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS[:rows], RecipeRequest(built), old)
    if asked.memory_bytes:
        asked = dataclasses.replace(asked, memory_bytes=first.memory_bytes)
    previous = PreviousIndex(old, as_recorded(first))
    try:
        assert build_index(VECTORS, asked, tmp_path / "new.faiss", previous=previous).how == "built"
    except RecipeImpossible:
        assert asked.memory_bytes


def test_an_index_that_appending_would_spoil_is_made_anew(tmp_path: Path) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS[:1500], RecipeRequest("SVD32,SQ8"), old)
    strange = np.random.default_rng(3).standard_normal((900, D)).astype(np.float32)
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    vectors = np.concatenate([VECTORS[:1500], strange])
    told = Told()
    report = build_index(
        vectors,
        RecipeRequest("SVD32,SQ8"),
        tmp_path / "new.faiss",
        previous=PreviousIndex(old, as_recorded(first)),
        progress=told,
    )
    assert report.how == "built"
    assert any("made anew" in note for note in told.notes)


@pytest.mark.parametrize("recipe", ["hnsw", "ivf", "SVD32,HNSW16_SQ8"])
def test_a_longer_answer_needs_fewer_candidates_a_hit_and_holds_the_recall(
    recipe: str, tmp_path: Path
) -> None:
    report = build_index(VECTORS, RecipeRequest(recipe, 0.9), tmp_path / "index.faiss")
    widths = report.parameters["widths"]
    shares = [width / size for width, size in zip(widths, BUCKETS, strict=True)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= 1
    index = VectorIndex.open(tmp_path / "index.faiss", VECTORS, report.parameters)
    for k in BUCKETS[1:4]:
        found = index.search(VECTORS[5::50], k)
        true = index.search(VECTORS[5::50], k, exact=True)
        assert np.mean(found.scores >= true.scores[:, -1:] - 1e-6) >= 0.88
    before = {name: value for name, value in report.parameters.items() if name != "widths"}
    assert (
        VectorIndex.open(tmp_path / "index.faiss", VECTORS, before).search(VECTORS[:1], 900).rows.size == 900
    )


def test_an_earlier_index_of_other_vectors_is_not_built_upon(tmp_path: Path) -> None:
    old = tmp_path / "old.faiss"
    first = build_index(VECTORS, RecipeRequest("flat"), old)
    report = build_index(
        VECTORS[:500],
        RecipeRequest("flat"),
        tmp_path / "new.faiss",
        previous=PreviousIndex(old, as_recorded(first)),
    )
    assert report.how == "built"


def test_leading_directions_are_orthonormal_hold_the_most_and_never_change() -> None:
    directions = leading_directions(VECTORS, 20)
    np.testing.assert_allclose(directions @ directions.T, np.eye(20), atol=1e-4)
    best = np.linalg.svd(VECTORS, full_matrices=False)[1][:20]
    np.testing.assert_allclose(np.linalg.norm(VECTORS @ directions.T, axis=0), best, rtol=0.02)
    np.testing.assert_array_equal(directions, leading_directions(VECTORS, 20))


def test_a_recipe_is_read_back_from_its_text() -> None:
    for recipe in (Recipe("Flat"), Recipe("HNSW32_SQ8", 64), Recipe("IVF{},SQ8", 128)):
        assert Recipe.parse(str(recipe)) == recipe
    assert str(Recipe("IVF{},SQ8", 64).with_lists_for(40_000)) == "SVD64,IVF800,SQ8"
    assert str(Recipe("IVF{},SQ8").with_lists_for(10)) == "IVF1,SQ8"
