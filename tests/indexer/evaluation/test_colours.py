"""Tests of vitrine.indexer.evaluation.colours."""

import io

import numpy as np
import pytest
from PIL import Image

from vitrine.indexer.evaluation.colours import DIMENSION, colour_histogram


def histogram(left: str, right: str) -> np.ndarray:
    """Return the histogram of a picture with two colours side by side."""
    image = Image.new("RGB", (64, 64), left)
    image.paste(Image.new("RGB", (32, 64), right), (32, 0))
    out = io.BytesIO()
    image.save(out, "PNG")
    return colour_histogram(out.getvalue())


def test_a_histogram_depends_on_colours_and_their_positions() -> None:
    red, blue = histogram("red", "red"), histogram("blue", "blue")
    assert red.shape == (DIMENSION,)
    assert float(red @ histogram("red", "red")) == pytest.approx(1)
    assert float(red @ blue) == 0
    red_left, blue_left = histogram("red", "blue"), histogram("blue", "red")
    assert float(red_left @ blue_left) == 0
    assert float(red @ red_left) == pytest.approx(0.5, abs=0.01)
