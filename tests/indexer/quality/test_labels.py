"""Tests of vitrine.indexer.quality.labels: swapped labels and small categories."""

from pathlib import Path

import numpy as np
import pytest

from tests.indexer.quality.catalogues import (
    Pictures,
    analyse_folder,
    encode_jpeg,
    findings_of_type,
    publish_catalogue,
    random_image,
)
from vitrine.indexer.arrays import unit
from vitrine.indexer.quality.labels import estimate_label_errors
from vitrine.service import Catalogue


def test_swapped_labels_are_distinguished_from_right_ones() -> None:
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(4, dtype=np.int32), 40)
    centres = random.normal(size=(4, 24))
    vectors = unit((centres[true] + 0.6 * random.normal(size=(160, 24))).astype(np.float32))
    given = true.copy()
    swapped = random.choice(160, 8, replace=False)
    given[swapped] = (given[swapped] + 1) % 4
    errors = estimate_label_errors(vectors, given, np.ones(160, bool), 4)
    assert errors is not None
    suspects = np.flatnonzero(errors.probabilities >= 0.5)
    assert set(suspects.tolist()) == set(swapped.tolist())
    assert errors.rate == pytest.approx(0.05, abs=0.03)
    assert errors.suggestions[swapped].tolist() == true[swapped].tolist()


def test_one_category_alone_gives_no_estimate() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32))
    assert estimate_label_errors(vectors, np.zeros(60, np.int32), np.ones(60, bool), 1) is None


def test_a_category_becomes_small_by_deletion(tmp_path: Path, pictures: Pictures) -> None:
    pictures |= {f"q{number}": ("few", encode_jpeg(random_image(70 + number))) for number in range(6)}
    folder = publish_catalogue(tmp_path, pictures)
    assert not findings_of_type(analyse_folder(folder), "small-category")
    with Catalogue.open(folder.root) as catalogue:
        catalogue.delete(["q0", "q1"])
    (small,) = findings_of_type(analyse_folder(folder), "small-category")
    assert (small.ids, small.reason) == (("q2", "q3", "q4", "q5"), {"category": "few", "products": 4})
