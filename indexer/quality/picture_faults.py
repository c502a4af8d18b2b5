"""Pictures that show too little: of nothing, out of focus, or a few pixels. Shape letters: N products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import Mask
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.quality_input import QualityInput

BLANK_SPAN = 14.0
# Of 1,651 photos of clothes the least sharp has 0.13; blurred by 1/45 of their side they have 0.03 to 0.06.
BLURRED_BELOW = 0.08
TINY_PX = 100


def is_blank(data: QualityInput) -> Mask:
    """Return (N,) whether a picture is of one colour, or nearly."""
    blank: Mask = data.pictures.known & (data.pictures.span <= BLANK_SPAN)
    return blank


def picture_faults(data: QualityInput) -> Iterator[Finding]:
    """Yield blank, blurred and tiny pictures; one that is blank is not called blurred as well."""
    pictures, blank = data.pictures, is_blank(data)
    for place in np.flatnonzero(blank).tolist():
        span = float(pictures.span[place])
        reason = {"span": round(span, 1)}
        yield Finding("blank", (data.ids[place],), 1 - span / (2 * BLANK_SPAN), (), reason)
    shorter = data.sizes_px.min(axis=1)
    tiny = shorter < TINY_PX
    for place in np.flatnonzero(
        pictures.known & ~blank & ~tiny & (pictures.sharpness < BLURRED_BELOW)
    ).tolist():
        sharpness = float(pictures.sharpness[place])
        reason = {"sharpness": round(sharpness, 4)}
        yield Finding("blurred", (data.ids[place],), 1 - sharpness / (2 * BLURRED_BELOW), (), reason)
    for place in np.flatnonzero(tiny).tolist():
        width, height = data.sizes_px[place].tolist()
        strength = 1 - float(shorter[place]) / (2 * TINY_PX)
        yield Finding("tiny", (data.ids[place],), strength, (), {"width": width, "height": height})
