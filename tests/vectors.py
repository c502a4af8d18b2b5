"""Vectors like features: clustered, of low intrinsic dimension, unit length."""

import numpy as np


def clustered(
    count: int, dimension: int, seed: int = 0, *, latent: int = 12, clusters: int = 30
) -> np.ndarray:
    """Return (count, dimension) float32 unit rows, non-negative as a network's last features are."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, latent))
    codes = centres[random.integers(clusters, size=count)] + 0.6 * random.normal(size=(count, latent))
    mixed = codes @ random.normal(size=(latent, dimension)) / np.sqrt(latent)
    features = np.maximum(mixed + 0.02 * random.normal(size=mixed.shape), 0).astype(np.float32)
    features[:, 0] += 1e-3
    return np.ascontiguousarray(features / np.linalg.norm(features, axis=1, keepdims=True))
