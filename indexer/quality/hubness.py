"""Hubness: products in very many recommendations (hubs) or none (orphans), and outliers.

Shape letters: N products, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import DoubleArray, Rows
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.quality_input import NEIGHBOURS, QualityInput

# A hub is in this many times as many neighbour lists as the average product, and at least in _HUB_LISTS_MIN,
# which excludes chance in small catalogues.
HUB_FACTOR = 8.0
_HUB_LISTS_MIN = 30
# Robust standard deviations below the usual score of the nearest neighbours.
OUTLIER_SIGMAS = 4.0
_OUTLIER_PRODUCTS_MIN = 30
# Standard deviation of a normal distribution over its median absolute deviation (MAD).
_MAD_TO_SIGMA = 1.4826
_EVIDENCE_MAX = 4


def find_hubness(data: QualityInput) -> Iterator[Finding]:
    """Yield hubs, outliers and orphans."""
    neighbours = data.search_neighbours.indices
    list_counts = np.bincount(neighbours[neighbours >= 0], minlength=len(data))
    yield from _hubs(data, list_counts)
    sigmas = _outlier_sigmas(data)
    for index in np.flatnonzero(sigmas >= OUTLIER_SIGMAS).tolist():
        reason = {
            "nearest": round(float(data.model_neighbours.scores[index, 0]), 4),
            "sigmas": round(float(sigmas[index]), 1),
        }
        strength = float(1 - OUTLIER_SIGMAS / (2 * sigmas[index]))
        yield Finding("outlier", (data.ids[index],), strength, _nearest_ids(data, index), reason)
    if len(data) <= NEIGHBOURS:
        return  # every product is in every list
    for index in np.flatnonzero(list_counts == 0).tolist():
        strength = float(np.clip(0.25 + 0.1 * sigmas[index], 0, 1))
        reason = {"nearest": round(float(data.search_neighbours.scores[index, 0]), 4)}
        yield Finding("orphan", (data.ids[index],), strength, _nearest_ids(data, index), reason)


def _hubs(data: QualityInput, list_counts: Rows) -> Iterator[Finding]:
    """Yield hubs. list_counts: (N,) the number of neighbour lists that contain each product."""
    threshold = max(_HUB_LISTS_MIN, HUB_FACTOR * NEIGHBOURS)
    for index in np.flatnonzero(list_counts >= threshold).tolist():
        owners = np.flatnonzero((data.search_neighbours.indices == index).any(axis=1))
        strength = float(1 - threshold / (2 * list_counts[index]))
        sample = owners[:: max(len(owners) // _EVIDENCE_MAX, 1)][:_EVIDENCE_MAX]
        evidence = tuple(data.ids[owner] for owner in sample)
        reason = {
            "lists": int(list_counts[index]),
            "share": round(float(list_counts[index]) / len(data), 4),
        }
        yield Finding("hub", (data.ids[index],), strength, evidence, reason)


def _outlier_sigmas(data: QualityInput) -> DoubleArray:
    """Return (N,) how far the mean of the three best scores is below the median, in robust sigmas."""
    if len(data) < _OUTLIER_PRODUCTS_MIN:
        return np.zeros(len(data))
    nearness = data.model_neighbours.scores[:, :3].mean(axis=1)
    median = float(np.median(nearness))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(nearness - median)))
    return np.asarray((median - nearness) / max(spread, 1e-3))


def _nearest_ids(data: QualityInput, index: int) -> tuple[str, ...]:
    neighbours = data.model_neighbours.indices[index]
    return tuple(data.ids[other] for other in neighbours[neighbours >= 0][:_EVIDENCE_MAX])
