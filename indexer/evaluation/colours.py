"""Colour histograms: the baseline that compares pictures by colour alone."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vitrine.indexer.arrays import FloatVector
from vitrine.indexer.pictures.preprocessing import open_picture

SIDE_PX = 64
GRID = 2
HUES, SATURATIONS, VALUES = 12, 4, 4
DIMENSION = GRID * GRID * HUES * SATURATIONS * VALUES


def colour_histogram(data: bytes) -> FloatVector:
    """Return the HSV histograms of a picture's quarters: (DIMENSION,) float32, unit length.

    Values are square roots of shares, so that the inner product of two is their Bhattacharyya coefficient.
    Raises PictureError.
    """
    small = open_picture(data, target_px=(SIDE_PX, SIDE_PX)).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    hsv = np.asarray(small.convert("HSV"), np.int64)
    bins = (hsv[..., 0] * HUES // 256 * SATURATIONS + hsv[..., 1] * SATURATIONS // 256) * VALUES
    bins += hsv[..., 2] * VALUES // 256
    half = SIDE_PX // GRID
    quarter = np.arange(SIDE_PX) // half
    bins += (quarter[:, None] * GRID + quarter[None, :]) * (HUES * SATURATIONS * VALUES)
    counts = np.bincount(bins.ravel(), minlength=DIMENSION)
    roots: FloatVector = np.sqrt(counts / counts.sum()).astype(np.float32)
    return roots
