"""Tests of vitrine.indexer.transform.choice: adaptation for unseen products, and reasons against it.

They cover vitrine.indexer.transform.tuning and vitrine.indexer.transform.posteriors as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.indexer.transform.training_sets import (
    CATEGORIES,
    D,
    features,
    mean_average_precision,
    training_set,
)
from vitrine.indexer.errors import InputError
from vitrine.indexer.transform import discriminant, tuning
from vitrine.indexer.transform.choice import choose_transform, still_fits
from vitrine.indexer.transform.transform import Transform


@pytest.fixture(scope="module")
def adapted() -> Transform:
    return choose_transform("auto", training_set(*features()))


def test_adaptation_raises_map_of_products_that_it_was_not_fitted_on(adapted: Transform) -> None:
    vectors, codes = features(seed=1)
    assert adapted.name == "adapt"
    gain = mean_average_precision(adapted.apply(vectors), codes) - mean_average_precision(vectors, codes)
    assert gain > 0.1


def test_an_adapted_vector_is_a_unit_row_of_the_models_dimension(adapted: Transform) -> None:
    vectors, _ = features(seed=2)
    rows = adapted.apply(vectors)
    assert rows.shape == vectors.shape
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(adapted.apply(vectors[7:8])[0], rows[7], atol=1e-5)


def test_a_score_is_the_weighted_sum_of_residual_and_class_scores(adapted: Transform) -> None:
    vectors, _ = features(per_category=3)
    adaptation = adapted.adaptation
    assert adaptation is not None
    residual, classes = adaptation.project_residual(vectors), adaptation.project_classes(vectors)
    weight = adaptation.class_weight
    expected = (1 - weight) * residual @ residual.T + weight * classes @ classes.T
    rows = adapted.apply(vectors)
    np.testing.assert_allclose(rows @ rows.T, expected, atol=1e-5)


def test_an_adaptation_and_its_metrics_survive_storage(adapted: Transform, tmp_path: Path) -> None:
    adapted.save(tmp_path / "transform.npz")
    loaded = Transform.load(tmp_path / "transform.npz")
    vectors, _ = features(per_category=2)
    np.testing.assert_array_equal(loaded.apply(vectors), adapted.apply(vectors))
    assert loaded.metrics == adapted.metrics
    assert (loaded.requested, loaded.reason) == ("auto", adapted.reason)
    assert loaded.counts == {f"c{code}": 40 for code in range(CATEGORIES)}
    held_out = loaded.metrics["held_out"]
    assert held_out["adapt"]["map"] > held_out["none"]["map"]
    assert loaded.metrics["found_again"]["adapt"] >= loaded.metrics["found_again"]["looks"] - 0.01
    assert "held-out mAP" in loaded.reason


def test_stored_names_do_not_change(adapted: Transform, tmp_path: Path) -> None:
    adapted.save(tmp_path / "transform.npz")
    with np.load(tmp_path / "transform.npz") as stored:
        assert set(stored) == {
            "name", "why", "said", "mean", "adapted_mean", "looks", "kept", "kinds", "bias", "weight"
        }  # fmt: skip
    assert adapted.metrics.keys() == {
        "kinds", "learnt_from", "held_out", "judged", "shrinkage", "look_shrinkage", "sharpness", "weight",
        "log_loss", "found_again", "seconds",
    }  # fmt: skip


def test_the_choice_is_deterministic(adapted: Transform) -> None:
    again = choose_transform("auto", training_set(*features()))
    assert {**again.metrics, "seconds": 0} == {**adapted.metrics, "seconds": 0}
    vectors, _ = features(per_category=2)
    np.testing.assert_array_equal(again.apply(vectors), adapted.apply(vectors))


def test_auto_does_not_adapt_to_random_categories() -> None:
    vectors, codes = features()
    wrong = np.random.default_rng(3).permutation(codes)
    transform = choose_transform("auto", training_set(vectors, wrong))
    assert transform.name == "centre"
    assert "not adapted: " in transform.reason
    assert transform.metrics["held_out"]["none"]["map"] > 0


def test_a_requested_adaptation_is_made_and_its_objection_stated() -> None:
    vectors, codes = features()
    wrong = np.random.default_rng(3).permutation(codes)
    transform = choose_transform("adapt", training_set(vectors, wrong))
    assert transform.name == "adapt"
    assert "although" in transform.reason


@pytest.mark.parametrize("requested", ["auto", "adapt"])
@pytest.mark.parametrize(
    ("codes", "names", "reason"),
    [
        (np.zeros(120, np.int32), ["all"], "fewer than two categories"),
        (np.arange(120, dtype=np.int32) // 2, None, "fewer than two categories"),
        (np.zeros(120, np.int32), [""], "fewer than two categories"),
        (np.arange(120, dtype=np.int32) // 4, None, "30 categories are too many"),
    ],
)
def test_categories_that_cannot_be_learnt_from_lead_to_centring(
    requested: str, codes: Any, names: list[str] | None, reason: str
) -> None:
    vectors = features(per_category=20)[0]
    transform = choose_transform(requested, training_set(vectors, codes, names))
    assert transform.name == "centre"
    assert reason in transform.reason


def test_few_products_get_no_transform_unless_requested() -> None:
    vectors, codes = features(per_category=8)
    assert choose_transform("auto", training_set(vectors, codes)).name == "none"
    assert choose_transform("adapt", training_set(vectors, codes)).name in ("adapt", "none")
    empty = training_set(np.zeros((0, D), np.float32), np.zeros(0, np.int32), ["c"])
    assert choose_transform("auto", empty).name == "none"
    with pytest.raises(InputError, match="pca"):
        choose_transform("pca", empty)


def test_products_without_a_category_form_no_class() -> None:
    vectors, codes = features()
    names = ["", *[f"c{code}" for code in range(1, CATEGORIES)]]
    transform = choose_transform("auto", training_set(vectors, codes, names))
    assert transform.name == "adapt"
    assert transform.metrics["kinds"] == CATEGORIES - 1


def test_a_transform_is_kept_while_the_category_counts_hardly_change(adapted: Transform) -> None:
    vectors, codes = features()
    assert choose_transform("auto", training_set(vectors, codes), adapted) is adapted
    assert not still_fits(adapted, "adapt", training_set(vectors, codes))
    centred = Transform("centre", "", requested="auto")
    assert not still_fits(centred, "auto", training_set(vectors, codes))
    more, more_codes = features(per_category=50)
    refitted = choose_transform("auto", training_set(more, more_codes), adapted)
    assert refitted is not adapted
    assert refitted.name == "adapt"
    assert not adapted.is_close_to(refitted)


def test_too_many_features_are_not_whitened(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (discriminant, tuning):
        monkeypatch.setattr(module, "WHITENED_DIMENSION_MAX", 8)
    transform = choose_transform("auto", training_set(*features()))
    assert transform.name == "adapt"
    assert transform.adaptation is not None
    assert transform.adaptation.residual_projection is None
    vectors, codes = features(seed=1)
    rows = transform.apply(vectors)
    assert rows.shape == vectors.shape
    assert mean_average_precision(rows, codes) > mean_average_precision(vectors, codes)


def test_tuning_stops_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrine.indexer.transform.choice.TUNING_S", -1.0)
    assert choose_transform("auto", training_set(*features())).name == "adapt"
