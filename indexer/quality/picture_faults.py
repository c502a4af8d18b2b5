"""Picture faults: blank, blurred and tiny pictures. Shape letters: N products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import Mask
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.quality_input import QualityInput

BLANK_RANGE_MAX = 14.0
# Of 1,651 photos of clothes the least sharp has 0.13; blurred by 1/45 of their side they have 0.03 to 0.06.
SHARPNESS_MIN = 0.08
SIDE_MIN_PX = 100


def is_blank(data: QualityInput) -> Mask:
    """Return (N,) True for pictures of one colour, or nearly."""
    blank: Mask = data.pictures.known & (data.pictures.intensity_range <= BLANK_RANGE_MAX)
    return blank


def find_picture_faults(data: QualityInput) -> Iterator[Finding]:
    """Yield blank, blurred and tiny pictures; blank and tiny ones are not reported as blurred."""
    pictures, blank = data.pictures, is_blank(data)
    for index in np.flatnonzero(blank).tolist():
        intensity_range = float(pictures.intensity_range[index])
        reason = {"span": round(intensity_range, 1)}
        strength = 1 - intensity_range / (2 * BLANK_RANGE_MAX)
        yield Finding("blank", (data.ids[index],), strength, (), reason)
    shorter_sides = data.sizes_px.min(axis=1)
    tiny = shorter_sides < SIDE_MIN_PX
    blurred = pictures.known & ~blank & ~tiny & (pictures.sharpness < SHARPNESS_MIN)
    for index in np.flatnonzero(blurred).tolist():
        sharpness = float(pictures.sharpness[index])
        reason = {"sharpness": round(sharpness, 4)}
        yield Finding("blurred", (data.ids[index],), 1 - sharpness / (2 * SHARPNESS_MIN), (), reason)
    for index in np.flatnonzero(tiny).tolist():
        width, height = data.sizes_px[index].tolist()
        strength = 1 - float(shorter_sides[index]) / (2 * SIDE_MIN_PX)
        yield Finding("tiny", (data.ids[index],), strength, (), {"width": width, "height": height})
