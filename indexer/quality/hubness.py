"""Products that stand oddly among the others: in very many recommendations, in none, or near nothing.

Shape letters: N products, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.quality_input import NEIGHBOURS, QualityInput

# A hub is in so many times as many top 10s as a product is on average, and in more than chance among few.
HUB_TIMES = 8.0
_HUB_LEAST = 30
# Robust standard deviations below the usual nearness of the nearest.
OUTLIER_FROM = 4.0
_OUTLIERS_AMONG = 30
_MAD_TO_SIGMA = 1.4826
_SHOWN = 4


def crowding(data: QualityInput) -> Iterator[Finding]:
    """Yield hubs, orphans and outliers."""
    places = data.served.places
    counts = np.bincount(places[places >= 0], minlength=len(data))
    yield from _hubs(data, counts)
    distances = _strangeness(data)
    for place in np.flatnonzero(distances >= OUTLIER_FROM).tolist():
        reason = {
            "nearest": round(float(data.alike.scores[place, 0]), 4),
            "sigmas": round(float(distances[place]), 1),
        }
        strength = float(1 - OUTLIER_FROM / (2 * distances[place]))
        yield Finding("outlier", (data.ids[place],), strength, _nearest(data, place), reason)
    if len(data) <= NEIGHBOURS:
        return  # everybody is in every list
    for place in np.flatnonzero(counts == 0).tolist():
        strength = float(np.clip(0.25 + 0.1 * distances[place], 0, 1))
        reason = {"nearest": round(float(data.served.scores[place, 0]), 4)}
        yield Finding("orphan", (data.ids[place],), strength, _nearest(data, place), reason)


def _hubs(data: QualityInput, counts: Any) -> Iterator[Finding]:
    least = max(_HUB_LEAST, HUB_TIMES * NEIGHBOURS)
    for place in np.flatnonzero(counts >= least).tolist():
        among = np.flatnonzero((data.served.places == place).any(axis=1))
        strength = float(1 - least / (2 * counts[place]))
        shown = tuple(data.ids[other] for other in among[:: max(len(among) // _SHOWN, 1)][:_SHOWN])
        reason = {"lists": int(counts[place]), "share": round(float(counts[place]) / len(data), 4)}
        yield Finding("hub", (data.ids[place],), strength, shown, reason)


def _strangeness(data: QualityInput) -> Any:
    """Return (N,) how many robust standard deviations each is farther from its nearest than is usual."""
    if len(data) < _OUTLIERS_AMONG:
        return np.zeros(len(data))
    nearness = data.alike.scores[:, :3].mean(axis=1)
    middle = float(np.median(nearness))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(nearness - middle)))
    return np.asarray((middle - nearness) / max(spread, 1e-3))


def _nearest(data: QualityInput, place: int) -> tuple[str, ...]:
    near = data.alike.places[place]
    return tuple(data.ids[other] for other in near[near >= 0][:_SHOWN])
