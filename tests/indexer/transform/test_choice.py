"""Learning from categories: better on products not learnt from, silent where nothing can be learnt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.errors import InputError
from vitrine.indexer.transform import Catalogue, choose_transform, still_fits
from vitrine.indexer.transform import discriminant as discriminant_module
from vitrine.indexer.transform import tuning as tuning_module
from vitrine.indexer.transform.discriminant import discriminants, looks_only, measure, spectrum_of
from vitrine.indexer.transform.sample import deal, draw_sample
from vitrine.indexer.transform.transform import Transform, even_out
from vitrine.indexer.vectors.metrics import LabelledVectors, evaluate_retrieval

D = 48
CATEGORIES = 6


def shop(each: int = 40, categories: int = CATEGORIES, seed: int = 0, signal: float = 1.0) -> tuple[Any, Any]:
    """Non-negative features in which categories hide behind stronger differences of light and background."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(categories, D)) * signal
    disturbing = np.random.default_rng(98).normal(size=(4, D)) * 3
    codes = np.repeat(np.arange(categories), each).astype(np.int32)
    looks = rng.normal(size=(len(codes), 4)) @ disturbing + rng.normal(size=(len(codes), D))
    return unit(np.maximum(means[codes] + looks + 4, 0).astype(np.float32)), codes


def catalogue(
    vectors: FloatMatrix, codes: Any, names: list[str] | None = None, items: Any = None
) -> Catalogue:
    names = names or [f"c{code}" for code in range(int(codes.max(initial=0)) + 1)]
    items = np.arange(len(codes), dtype=np.int32) if items is None else items
    return Catalogue(lambda rows: vectors[rows], names, codes, items)


def found(vectors: FloatMatrix, codes: Any) -> float:
    labelled = LabelledVectors(vectors, codes, np.arange(len(codes), dtype=np.int32))
    return evaluate_retrieval(labelled, labelled).summary()["map"]


@pytest.fixture(scope="module")
def adapted() -> Transform:
    return choose_transform("auto", catalogue(*shop()))


def test_adapting_finds_more_of_a_category_among_products_it_never_saw(adapted: Transform) -> None:
    vectors, codes = shop(seed=1)
    assert adapted.name == "adapt"
    assert found(adapted.apply(vectors), codes) > found(vectors, codes) + 0.1


def test_an_adapted_vector_is_a_unit_row_of_the_models_dimension(adapted: Transform) -> None:
    vectors, _ = shop(seed=2)
    rows = adapted.apply(vectors)
    assert rows.shape == vectors.shape
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(adapted.apply(vectors[7:8])[0], rows[7], atol=1e-5)


def test_scores_are_a_weighted_sum_of_looks_and_likeness(adapted: Transform) -> None:
    vectors, _ = shop(each=3)
    learnt = adapted.adaptation
    assert learnt is not None
    looks, kinds = learnt.looks_of(vectors), learnt.kinds_of(vectors)
    weighed = (1 - learnt.weight) * looks @ looks.T + learnt.weight * kinds @ kinds.T
    rows = adapted.apply(vectors)
    np.testing.assert_allclose(rows @ rows.T, weighed, atol=1e-5)


def test_the_figures_say_what_was_measured_and_survive_storage(adapted: Transform, tmp_path: Path) -> None:
    adapted.save(tmp_path / "transform.npz")
    loaded = Transform.load(tmp_path / "transform.npz")
    vectors, _ = shop(each=2)
    np.testing.assert_array_equal(loaded.apply(vectors), adapted.apply(vectors))
    assert loaded.figures == adapted.figures
    assert loaded.counts == {f"c{code}": 40 for code in range(CATEGORIES)}
    held_out = loaded.figures["held_out"]
    assert held_out["adapt"]["map"] > held_out["none"]["map"]
    assert loaded.figures["found_again"]["adapt"] >= loaded.figures["found_again"]["looks"] - 0.01
    assert "held out" in loaded.why


def test_the_choice_is_the_same_every_time(adapted: Transform) -> None:
    again = choose_transform("auto", catalogue(*shop()))
    assert {**again.figures, "seconds": 0} == {**adapted.figures, "seconds": 0}
    vectors, _ = shop(each=2)
    np.testing.assert_array_equal(again.apply(vectors), adapted.apply(vectors))


def test_categories_that_are_wrong_are_not_believed() -> None:
    vectors, codes = shop()
    wrong = np.random.default_rng(3).permutation(codes)
    chosen = choose_transform("auto", catalogue(vectors, wrong))
    assert chosen.name == "centre"
    assert "not adapted: " in chosen.why
    assert chosen.figures["held_out"]["none"]["map"] > 0


def test_adapt_that_was_asked_for_is_obeyed_and_its_faults_are_said() -> None:
    vectors, codes = shop()
    wrong = np.random.default_rng(3).permutation(codes)
    chosen = choose_transform("adapt", catalogue(vectors, wrong))
    assert chosen.name == "adapt"
    assert "although" in chosen.why


@pytest.mark.parametrize("asked", ["auto", "adapt"])
@pytest.mark.parametrize(
    ("codes", "names", "why"),
    [
        (np.zeros(120, np.int32), ["all"], "fewer than two categories"),
        (np.arange(120, dtype=np.int32) // 2, None, "fewer than two categories"),
        (np.zeros(120, np.int32), [""], "fewer than two categories"),
        (np.arange(120, dtype=np.int32) // 4, None, "30 categories are too many"),
    ],
)
def test_catalogues_that_teach_nothing_are_centred_and_say_why(
    asked: str, codes: Any, names: list[str] | None, why: str
) -> None:
    vectors = shop(each=20)[0]
    chosen = choose_transform(asked, catalogue(vectors, codes, names))
    assert chosen.name == "centre"
    assert why in chosen.why


def test_a_handful_of_products_is_left_alone_unless_asked() -> None:
    vectors, codes = shop(each=8)
    assert choose_transform("auto", catalogue(vectors, codes)).name == "none"
    assert choose_transform("adapt", catalogue(vectors, codes)).name in ("adapt", "none")
    empty = catalogue(np.zeros((0, D), np.float32), np.zeros(0, np.int32), ["c"])
    assert choose_transform("auto", empty).name == "none"
    with pytest.raises(InputError, match="pca"):
        choose_transform("pca", empty)


def test_products_without_a_category_are_no_kind() -> None:
    vectors, codes = shop()
    names = ["", *[f"c{code}" for code in range(1, CATEGORIES)]]
    chosen = choose_transform("auto", catalogue(vectors, codes, names))
    assert chosen.name == "adapt"
    assert chosen.figures["kinds"] == CATEGORIES - 1


def test_a_transform_is_kept_while_the_categories_hardly_change(adapted: Transform) -> None:
    vectors, codes = shop()
    assert choose_transform("auto", catalogue(vectors, codes), adapted) is adapted
    assert not still_fits(adapted, "adapt", catalogue(vectors, codes))
    assert not still_fits(Transform("centre", "", asked="auto"), "auto", catalogue(vectors, codes))
    more, more_codes = shop(each=50)
    refitted = choose_transform("auto", catalogue(more, more_codes), adapted)
    assert refitted is not adapted
    assert refitted.name == "adapt"
    assert not adapted.is_close_to(refitted)


def test_features_too_many_to_whiten_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (discriminant_module, tuning_module):
        monkeypatch.setattr(module, "WHITEN_UP_TO", 8)
    chosen = choose_transform("auto", catalogue(*shop()))
    assert chosen.name == "adapt"
    assert chosen.adaptation is not None
    assert chosen.adaptation.looks is None
    vectors, codes = shop(seed=1)
    assert chosen.apply(vectors).shape == vectors.shape
    assert found(chosen.apply(vectors), codes) > found(vectors, codes)


def test_a_large_catalogue_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.indexer.transform.sample.SAMPLE_ROWS_MAX", 60)
    sample = draw_sample(catalogue(*shop()))
    assert len(sample.raw.labels) == 60
    assert sample.kinds == CATEGORIES


def test_tuning_stops_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.indexer.transform.choice.TUNING_S", -1.0)
    assert choose_transform("auto", catalogue(*shop())).name == "adapt"


def test_discriminants_equal_those_of_scikit_learn() -> None:
    vectors, codes = shop(each=30)
    vectors = even_out(vectors)
    kinds, bias = discriminants(measure(vectors, codes, CATEGORIES), 0.5)
    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=0.5, priors=np.full(CATEGORIES, 1 / CATEGORIES)
    ).fit(vectors.astype(np.float64), codes)
    ours = vectors @ kinds + bias
    scores = theirs.decision_function(vectors.astype(np.float64))
    np.testing.assert_allclose(ours - ours[:, :1], scores - scores[:, :1], atol=2e-2, rtol=1e-3)


def test_whitened_looks_have_even_variance() -> None:
    vectors = even_out(shop(each=200)[0])
    looks = looks_only(spectrum_of(vectors), 3, 0.0)
    assert looks.looks is not None
    assert looks.looks.shape == (D, D - 3)
    white = (vectors - looks.mean) @ looks.looks
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(D - 3), atol=1e-2)


def test_dealing_keeps_the_pictures_of_an_item_together_and_labels_even() -> None:
    labels = np.repeat(np.arange(4), 30).astype(np.int32)
    items = (np.arange(120) // 3).astype(np.int32)
    hand = deal(labels, items, 5)
    for item in range(40):
        assert len(set(hand[items == item].tolist())) == 1
    counts = np.array([np.bincount(hand[labels == label], minlength=5) for label in range(4)])
    assert counts.min() >= 3
