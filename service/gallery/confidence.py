"""Verdicts on similarity for people: five levels of the API's `confidence`, or else of the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitrine.service.gallery.languages import gettext as _


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score for people. share: 0..1, shown as a percentage. level: 5 the best, 1 the lowest."""

    share: float
    level: int
    word: str


# Lower bounds of the levels. A confidence is the share of the category's products whose nearest neighbour is
# not nearer: half of all first hits are below 0.5, and in three catalogues half of the first twelve hits were
# below 0.05. A score is a cosine, whose scale depends on the model: with the models that Vitrine ships,
# unrelated pictures score about 0 and variants of one product above 0.8.
_BY_CONFIDENCE = (0.9, 0.5, 0.2, 0.05)
_BY_SCORE = (0.85, 0.65, 0.45, 0.25)
_IDENTICAL = 0.995


def verdict(hit: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a hit of an answer."""
    confidence = hit.get("confidence")
    value, bounds = (hit["score"], _BY_SCORE) if confidence is None else (confidence, _BY_CONFIDENCE)
    level = 5 - next((index for index, bound in enumerate(bounds) if value >= bound), 4)
    word = _("identical") if hit["score"] >= _IDENTICAL else _words()[5 - level]
    return Verdict(min(1.0, max(0.0, float(hit["score"]))), level, word)


def _words() -> tuple[str, ...]:
    return (
        _("almost identical"),
        _("very similar"),
        _("similar"),
        _("somewhat similar"),
        _("not very similar"),
    )
