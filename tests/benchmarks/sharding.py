"""A small simulation of answering from many shards: the slowest of them decides.

Latencies of one shard are lognormal, fitted to a median and a p95; Q queries, S shards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

QUERIES = 20_000
# The 95th percentile of a standard normal distribution.
_Z95 = 1.6449


@dataclass(frozen=True, slots=True)
class Tail:
    """What a query costs in milliseconds; requests: how many each query sends, spares included."""

    shards: int
    p50_ms: float
    p99_ms: float
    hedged_p99_ms: float
    requests: float


def fan_out(p50_ms: float, p95_ms: float, shards: int, seed: int = 0) -> Tail:
    """Simulate queries that wait for every shard; hedged: one not back by p95 is asked for again elsewhere.

    Dean and Barroso, "The Tail at Scale", CACM 2013.
    """
    random = np.random.default_rng(seed)
    spread = math.log(p95_ms / p50_ms) / _Z95
    slowest, hedged, again = np.zeros(QUERIES), np.zeros(QUERIES), 0
    for _ in range(shards):
        first = p50_ms * np.exp(spread * random.standard_normal(QUERIES))
        second = p95_ms + p50_ms * np.exp(spread * random.standard_normal(QUERIES))
        late = first > p95_ms
        again += int(late.sum())
        np.maximum(slowest, first, out=slowest)
        np.maximum(hedged, np.where(late, np.minimum(first, second), first), out=hedged)
    p50, p99 = np.percentile(slowest, [50, 99])
    requests = shards + again / QUERIES
    return Tail(shards, float(p50), float(p99), float(np.percentile(hedged, 99)), requests)
