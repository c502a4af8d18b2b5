"""Progress that is recorded, reports as a manifest stores them, and vectors for the tests of index builds."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from tests.vectors import clustered
from vitrine.indexer.arrays import unit
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.recipes import IndexReport

N, D = 2400, 160
VECTORS = clustered(N, D, seed=5)


class RecordedProgress(SilentProgress):
    """Progress reports kept in `notes` and `steps`."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps = 0

    def advance(self, steps: int) -> None:
        self.steps += steps

    def note(self, text: str) -> None:
        self.notes.append(text)


def as_stored(report: IndexReport) -> dict[str, Any]:
    """Return a report as it is read from a manifest."""
    stored: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(report)))
    return stored


def random_vectors(count: int, seed: int = 0) -> Any:
    """Return (count, D) unit vectors without structure, which no approximation represents well."""
    return unit(np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32))
