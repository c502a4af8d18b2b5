"""Clustered unit vectors of low intrinsic dimension, like features, and a test of uniformity."""

import numpy as np

_BLOCK_ROWS = 8192


def clustered(
    count: int, dimension: int, seed: int = 0, *, latent: int = 12, clusters: int = 30
) -> np.ndarray:
    """Return (count, dimension) float32 unit rows, non-negative as a network's last features are."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, latent)).astype(np.float32)
    mixing = (random.normal(size=(latent, dimension)) / np.sqrt(latent)).astype(np.float32)
    features = np.empty((count, dimension), np.float32)
    for start in range(0, count, _BLOCK_ROWS):
        block = features[start : start + _BLOCK_ROWS]
        spread = random.standard_normal((len(block), latent), np.float32)
        codes = centres[random.integers(clusters, size=len(block))] + np.float32(0.6) * spread
        noise = random.standard_normal(block.shape, np.float32)
        block[:] = np.maximum(codes @ mixing + np.float32(0.02) * noise, 0)
        block[:, 0] += 1e-3
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return features


def kolmogorov_smirnov(values: np.ndarray) -> float:
    """Return the greatest distance between the distribution of (n,) values and the uniform one on [0, 1]."""
    ranked = np.sort(np.asarray(values, np.float64))
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max()))
