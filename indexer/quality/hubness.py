"""Products that stand oddly among the others: in very many recommendations, in none, or near nothing.

Shape letters: N products, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.subject import NEIGHBOURS, Subject

# A hub is in so many times as many top 10s as a product is on average, and in more than chance among few.
HUB_TIMES = 8.0
_HUB_LEAST = 30
# Robust standard deviations below the usual nearness of the nearest.
OUTLIER_FROM = 4.0
_OUTLIERS_AMONG = 30
_MAD_TO_SIGMA = 1.4826
_SHOWN = 4


def crowding(subject: Subject) -> Iterator[Finding]:
    """Yield hubs, orphans and outliers."""
    places = subject.served.places
    counts = np.bincount(places[places >= 0], minlength=len(subject))
    yield from _hubs(subject, counts)
    distances = _strangeness(subject)
    for place in np.flatnonzero(distances >= OUTLIER_FROM).tolist():
        reason = {
            "nearest": round(float(subject.alike.scores[place, 0]), 4),
            "sigmas": round(float(distances[place]), 1),
        }
        strength = float(1 - OUTLIER_FROM / (2 * distances[place]))
        yield Finding("outlier", (subject.ids[place],), strength, _nearest(subject, place), reason)
    if len(subject) <= NEIGHBOURS:
        return  # everybody is in every list
    for place in np.flatnonzero(counts == 0).tolist():
        strength = float(np.clip(0.25 + 0.1 * distances[place], 0, 1))
        reason = {"nearest": round(float(subject.served.scores[place, 0]), 4)}
        yield Finding("orphan", (subject.ids[place],), strength, _nearest(subject, place), reason)


def _hubs(subject: Subject, counts: Any) -> Iterator[Finding]:
    least = max(_HUB_LEAST, HUB_TIMES * NEIGHBOURS)
    for place in np.flatnonzero(counts >= least).tolist():
        among = np.flatnonzero((subject.served.places == place).any(axis=1))
        strength = float(1 - least / (2 * counts[place]))
        shown = tuple(subject.ids[other] for other in among[:: max(len(among) // _SHOWN, 1)][:_SHOWN])
        reason = {"lists": int(counts[place]), "share": round(float(counts[place]) / len(subject), 4)}
        yield Finding("hub", (subject.ids[place],), strength, shown, reason)


def _strangeness(subject: Subject) -> Any:
    """Return (N,) how many robust standard deviations each is farther from its nearest than is usual."""
    if len(subject) < _OUTLIERS_AMONG:
        return np.zeros(len(subject))
    nearness = subject.alike.scores[:, :3].mean(axis=1)
    middle = float(np.median(nearness))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(nearness - middle)))
    return np.asarray((middle - nearness) / max(spread, 1e-3))


def _nearest(subject: Subject, place: int) -> tuple[str, ...]:
    near = subject.alike.places[place]
    return tuple(subject.ids[other] for other in near[near >= 0][:_SHOWN])
