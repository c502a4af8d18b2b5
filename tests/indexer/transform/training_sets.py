"""Synthetic training sets: categories hidden behind stronger differences of light and background."""

from __future__ import annotations

from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.transform.sample import TrainingSet
from vitrine.indexer.vectors.metrics import LabelledVectors, evaluate_retrieval

D = 48
CATEGORIES = 6


def features(per_category: int = 40, seed: int = 0) -> tuple[Any, Any]:
    """Return (N, D) non-negative unit vectors and (N,) category codes of CATEGORIES categories."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(CATEGORIES, D))
    nuisance = np.random.default_rng(98).normal(size=(4, D)) * 3
    codes = np.repeat(np.arange(CATEGORIES), per_category).astype(np.int32)
    residual = rng.normal(size=(len(codes), 4)) @ nuisance + rng.normal(size=(len(codes), D))
    return unit(np.maximum(means[codes] + residual + 4, 0).astype(np.float32)), codes


def training_set(
    vectors: FloatMatrix, codes: Any, names: list[str] | None = None, items: Any = None
) -> TrainingSet:
    names = names or [f"c{code}" for code in range(int(codes.max(initial=0)) + 1)]
    items = np.arange(len(codes), dtype=np.int32) if items is None else items
    return TrainingSet(lambda rows: vectors[rows], names, codes, items)


def mean_average_precision(vectors: FloatMatrix, codes: Any) -> float:
    labelled = LabelledVectors(vectors, codes, np.arange(len(codes), dtype=np.int32))
    return evaluate_retrieval(labelled, labelled).summary()["map"]
