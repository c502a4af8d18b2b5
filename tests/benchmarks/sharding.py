"""Simulation of queries over many shards, whose latency is that of the slowest shard.

The latencies of one shard are lognormal, fitted to a median and a p95.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

QUERIES = 20_000
# The 95th percentile of a standard normal distribution.
_Z95 = 1.6449


@dataclass(frozen=True, slots=True)
class TailLatency:
    """Latency of queries. requests: number per query, including repeated ones."""

    shards: int
    p50_ms: float
    p99_ms: float
    hedged_p99_ms: float
    requests: float


def simulate_fan_out(p50_ms: float, p95_ms: float, shards: int, seed: int = 0) -> TailLatency:
    """Simulate queries that wait for every shard. Hedged: a request that exceeds the p95 is sent again.

    Dean and Barroso, "The Tail at Scale", CACM 2013.
    """
    random = np.random.default_rng(seed)
    spread = math.log(p95_ms / p50_ms) / _Z95
    slowest, hedged, repeated = np.zeros(QUERIES), np.zeros(QUERIES), 0
    for _ in range(shards):
        first = p50_ms * np.exp(spread * random.standard_normal(QUERIES))
        second = p95_ms + p50_ms * np.exp(spread * random.standard_normal(QUERIES))
        is_late = first > p95_ms
        repeated += int(is_late.sum())
        np.maximum(slowest, first, out=slowest)
        np.maximum(hedged, np.where(is_late, np.minimum(first, second), first), out=hedged)
    p50, p99 = np.percentile(slowest, [50, 99])
    requests = shards + repeated / QUERIES
    return TailLatency(shards, float(p50), float(p99), float(np.percentile(hedged, 99)), requests)
