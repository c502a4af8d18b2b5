"""The recipe that is chosen and why: for small and large catalogues, within a memory, for a target recall."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.indexer.recipes.builds import VECTORS, N, RecordedProgress, random_vectors
from vitrine.indexer.errors import RecipeImpossible
from vitrine.indexer.recipes import RecipeRequest, build_index, choice
from vitrine.indexer.recipes.choice import RecipeChooser, Trial
from vitrine.indexer.recipes.tuning import Measurement


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a catalogue of a thousand products for a large one."""
    monkeypatch.setattr(choice, "MAX_FLAT_ROWS", 1000)


def test_auto_takes_flat_for_a_small_catalogue_and_gives_the_reason(tmp_path: Path) -> None:
    report = build_index(VECTORS, RecipeRequest(), tmp_path / "index.faiss")
    assert (report.recipe, report.factory, report.how) == ("flat", "Flat", "built")
    assert report.why == "so few products that comparing all of them takes milliseconds"
    assert report.recall_at_10 == 1.0
    assert report.p95_ms >= report.p50_ms > 0


@pytest.mark.usefixtures("large")
def test_auto_tries_candidates_and_builds_the_fastest_that_holds(tmp_path: Path) -> None:
    progress = RecordedProgress()
    report = build_index(VECTORS, RecipeRequest(), tmp_path / "index.faiss", progress=progress)
    assert report.recipe in ("hnsw", "ivf", "codes")
    assert report.recall_at_10 >= 0.99
    holding = [trial for trial in report.tried if trial["verdict"] == "holds"]
    assert report.factory == min(holding, key=lambda trial: trial["p50_ms"])["recipe"]
    assert report.memory_bytes < VECTORS.nbytes
    assert report.memory_bytes == (tmp_path / "index.faiss").stat().st_size
    assert len(progress.notes) > len(report.tried)
    assert progress.steps == len(report.tried) + N


@pytest.mark.parametrize("recipe", ["hnsw", "ivf"])
def test_a_named_recipe_is_called_the_fastest_only_of_several(recipe: str, tmp_path: Path) -> None:
    report = build_index(VECTORS[:100], RecipeRequest(recipe), tmp_path / "index.faiss")
    assert len(report.tried) == 1
    assert report.why == "as requested; recall of at least 0.99 on a sample of 100 products"
    larger = build_index(VECTORS, RecipeRequest(recipe), tmp_path / "index.faiss")
    assert larger.why.startswith("as requested; ")
    assert ("the fastest" in larger.why) == (len(larger.tried) > 1)


@pytest.mark.usefixtures("large")
def test_auto_stays_within_the_memory(tmp_path: Path) -> None:
    free = build_index(VECTORS, RecipeRequest("hnsw"), tmp_path / "index.faiss")
    half_bytes = free.memory_bytes // 2
    report = build_index(VECTORS, RecipeRequest("auto", memory_bytes=half_bytes), tmp_path / "index.faiss")
    assert report.memory_bytes <= half_bytes
    assert report.recall_at_10 >= 0.99


@pytest.mark.parametrize("recipe", ["auto", "flat", "hnsw", "ivf"])
def test_an_error_for_too_little_memory_tells_how_much_is_needed(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeImpossible, match=r"needs [\d,]+ bytes of index .* --memory allows 1,000: allow more"
    ) as caught:
        build_index(VECTORS, RecipeRequest(recipe, memory_bytes=1000), tmp_path / "index.faiss")
    needed = int(str(caught.value).split("needs ")[1].split(" bytes")[0].replace(",", ""))
    report = build_index(VECTORS, RecipeRequest(recipe, memory_bytes=needed), tmp_path / "index.faiss")
    assert report.memory_bytes <= 1.02 * needed


@pytest.mark.usefixtures("large")
def test_a_recipe_that_holds_on_its_sample_only_is_followed_by_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_candidates(chooser: RecipeChooser) -> list[Trial]:
        chooser._untried_dimensions.clear()
        return [Trial("SVD32,SQ8", 1.0, 0.1, 1000, 1.0, 16)]

    monkeypatch.setattr("vitrine.indexer.recipes.tuning._CANDIDATE_COUNTS", (16,))
    monkeypatch.setattr(RecipeChooser, "_try_candidates", try_candidates)
    progress = RecordedProgress()
    request = RecipeRequest("auto", 0.99)
    report = build_index(random_vectors(1500), request, tmp_path / "index.faiss", progress=progress)
    assert (report.recipe, report.recall_at_10) == ("flat", 1.0)
    assert any("on all products is below 0.99" in note for note in progress.notes)


@pytest.mark.usefixtures("large")
def test_a_recall_that_no_approximation_reaches_leads_to_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "measure", lambda *_: Measurement(0.9, 0.1, 0.2))
    report = build_index(random_vectors(1500), RecipeRequest("auto", 1.0), tmp_path / "index.faiss")
    assert (report.recipe, report.recall_at_10) == ("flat", 1.0)
    assert report.why == "no approximate recipe reaches the target recall"
    assert {trial["verdict"] for trial in report.tried} == {"recall 0.900 on the sample is below 1.0"}
    named = build_index(random_vectors(1500), RecipeRequest("hnsw", 1.0), tmp_path / "index.faiss")
    assert named.recipe == "hnsw"
    assert named.why == "as requested; no candidate reached the target recall on a sample"
