"""Tests of vitrine.indexer.evaluation.photographs."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.pictures import jpeg
from vitrine.indexer.evaluation.photographs import PHOTO_CHANGES, simulate_photo


@pytest.mark.parametrize("change", PHOTO_CHANGES)
def test_a_simulated_photo_is_another_picture_and_reproducible(change: str) -> None:
    data = jpeg(80, 60, 1)
    photo = simulate_photo(data, change, np.random.default_rng(0))
    assert photo != data
    assert photo == simulate_photo(data, change, np.random.default_rng(0))
    assert Image.open(io.BytesIO(photo)).format == "JPEG"
