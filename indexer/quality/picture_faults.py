"""Pictures that show too little: of nothing, out of focus, or a few pixels. Shape letters: N products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import Mask
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.subject import Subject

BLANK_SPAN = 14.0
# Of 1,651 photos of clothes the least sharp has 0.13; blurred by 1/45 of their side they have 0.03 to 0.06.
BLURRED_BELOW = 0.08
TINY_PX = 100


def is_blank(subject: Subject) -> Mask:
    """Return (N,) whether a picture is of one colour, or nearly."""
    blank: Mask = subject.pictures.known & (subject.pictures.span <= BLANK_SPAN)
    return blank


def picture_faults(subject: Subject) -> Iterator[Finding]:
    """Yield blank, blurred and tiny pictures; one that is blank is not called blurred as well."""
    pictures, blank = subject.pictures, is_blank(subject)
    for place in np.flatnonzero(blank).tolist():
        span = float(pictures.span[place])
        reason = {"span": round(span, 1)}
        yield Finding("blank", (subject.ids[place],), 1 - span / (2 * BLANK_SPAN), (), reason)
    shorter = subject.sizes_px.min(axis=1)
    tiny = shorter < TINY_PX
    for place in np.flatnonzero(
        pictures.known & ~blank & ~tiny & (pictures.sharpness < BLURRED_BELOW)
    ).tolist():
        sharpness = float(pictures.sharpness[place])
        reason = {"sharpness": round(sharpness, 4)}
        yield Finding("blurred", (subject.ids[place],), 1 - sharpness / (2 * BLURRED_BELOW), (), reason)
    for place in np.flatnonzero(tiny).tolist():
        width, height = subject.sizes_px[place].tolist()
        strength = 1 - float(shorter[place]) / (2 * TINY_PX)
        yield Finding("tiny", (subject.ids[place],), strength, (), {"width": width, "height": height})
