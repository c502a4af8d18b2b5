"""How sure a recommendation is, in a word: five steps of the API's `confidence`, or else of the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitrine.service.gallery.languages import gettext as _


@dataclass(frozen=True, slots=True)
class Likeness:
    """A score for people. share: 0..1, what is shown as percent. step: 5 the best of `WORDS`, 1 the least."""

    share: float
    step: int
    word: str


# The least value of each step. A confidence says how many products of the category have a nearest neighbour
# that is no nearer, so half of all first hits are below 0.5, and of three catalogues' first twelve hits a
# half are below 0.05. A score is a cosine, whose scale depends on the network: with those that Vitrine
# ships, unrelated pictures score about 0 and variants of one product above 0.8.
_BY_CONFIDENCE = (0.9, 0.5, 0.2, 0.05)
_BY_SCORE = (0.85, 0.65, 0.45, 0.25)
_SAME = 0.995


def likeness(hit: Mapping[str, Any]) -> Likeness:
    """Return the likeness of a hit of an answer."""
    confidence = hit.get("confidence")
    value, least = (hit["score"], _BY_SCORE) if confidence is None else (confidence, _BY_CONFIDENCE)
    step = 5 - next((place for place, bound in enumerate(least) if value >= bound), 4)
    word = _("the same") if hit["score"] >= _SAME else _words()[5 - step]
    return Likeness(min(1.0, max(0.0, float(hit["score"]))), step, word)


def _words() -> tuple[str, ...]:
    return (_("almost the same"), _("very alike"), _("alike"), _("somewhat alike"), _("little alike"))
