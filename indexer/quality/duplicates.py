"""Duplicate pictures: the same file, the same picture saved again, or a placeholder of many products.

Vectors select candidate pairs and pixels decide. Two different shirts can have closer vectors than a photo
and its cropped copy, but only the copy can be aligned with the photo. Shape letters: N products, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import DoubleArray, Mask, Pixels, RowMatrix, Rows
from vitrine.indexer.quality.alignment import compare_aligned
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.pictures import THUMBNAIL_SIDE_PX, PictureMeasures
from vitrine.indexer.quality.quality_input import QualityInput

# Measured on 1,651 photos of clothes and on a catalogue of drawings, many of one outline. All of 99 copies,
# saved again, made smaller or cropped by up to 5 % a side, have a cosine of at least 0.8, and once aligned
# correlate at 0.993 or more with a block difference of at most 0.66. Other pairs that correlate as much have
# a block difference of at least 0.85.
COSINE_MIN = 0.75
ALIGNED_CORRELATION_MIN = 0.992
BLOCK_DIFFERENCE_MAX = 0.75
_UNALIGNED_CORRELATION_MIN = 0.6
# Minimum cosine of pairs whose pictures cannot be read.
VECTORS_ONLY_COSINE_MIN = 0.98
PLACEHOLDER_ITEMS_MIN = 4
_EVIDENCE_MAX = 6


def find_duplicates(data: QualityInput, blank: Mask) -> Iterator[Finding]:
    """Yield exact and near-duplicates and placeholders. blank: (N,), pictures to leave out.

    Of each cluster of copies, the picture with the largest area is the original; ties go to the first.
    """
    exact_pairs = _exact_pairs(data, blank)
    near_pairs, confidences = _near_pairs(data, blank)
    confidence_by_pair = {
        (first, second): confidence
        for (first, second), confidence in zip(near_pairs.tolist(), confidences.tolist(), strict=True)
    }
    for cluster in _clusters(len(data), np.concatenate([exact_pairs, near_pairs])):
        if _is_placeholder(data, cluster):
            yield _placeholder(data, cluster)
            continue
        area = data.sizes_px[cluster].prod(axis=1)
        original = int(cluster[np.lexsort((cluster, -area))[0]])
        for copy in cluster[cluster != original].tolist():
            yield _duplicate(data, copy, original, confidence_by_pair)


def _exact_pairs(data: QualityInput, blank: Mask) -> RowMatrix:
    """Return (P, 2), ascending: each product with the first product that has the same file."""
    first_by_digest: dict[str, int] = {}
    pairs = [
        (first_by_digest[digest], index)
        for index, digest in enumerate(data.digests)
        if not blank[index] and first_by_digest.setdefault(digest, index) != index
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _near_pairs(data: QualityInput, blank: Mask) -> tuple[RowMatrix, DoubleArray]:
    """Return (P, 2), ascending, pairs of copies in different files, and (P,) confidences in 0..1."""
    neighbours = data.model_neighbours
    owners = np.repeat(np.arange(len(data)), neighbours.indices.shape[1])
    others, scores = neighbours.indices.ravel(), neighbours.scores.ravel()
    is_candidate = (others >= 0) & (scores >= COSINE_MIN) & ~blank[owners] & ~blank[others]
    candidates = np.sort(np.stack([owners[is_candidate], others[is_candidate]], 1))
    pairs, firsts = np.unique(candidates, axis=0, return_index=True)
    scores = scores[is_candidate][firsts]
    digests = np.array(data.digests, object)
    differ = digests[pairs[:, 0]] != digests[pairs[:, 1]]
    pairs, scores = pairs[differ], scores[differ]
    readable = data.pictures.known[pairs].all(axis=1)
    by_vectors = (scores - VECTORS_ONLY_COSINE_MIN) / (1 - VECTORS_ONLY_COSINE_MIN)
    confidences = np.where(readable, 0.0, by_vectors)
    confidences[readable] = _alignment_confidences(data.pictures, pairs[readable])
    is_copy = confidences > 0
    return pairs[is_copy], confidences[is_copy]


def _alignment_confidences(pictures: PictureMeasures, pairs: RowMatrix) -> DoubleArray:
    """Return (P,) confidences in 0..1; 0 for pictures that cannot be aligned."""
    first, second = pictures.thumbnails[pairs[:, 0]], pictures.thumbnails[pairs[:, 1]]
    is_candidate = _correlations(first, second) >= _UNALIGNED_CORRELATION_MIN
    confidences = np.zeros(len(pairs))
    correlations, differences = compare_aligned(first[is_candidate], second[is_candidate])
    is_copy = (correlations >= ALIGNED_CORRELATION_MIN) & (differences <= BLOCK_DIFFERENCE_MAX)
    confidences[is_candidate] = np.where(is_copy, 1 - 0.5 * differences / BLOCK_DIFFERENCE_MAX, 0)
    return confidences


def _correlations(first: Pixels, second: Pixels) -> DoubleArray:
    """Return (P,) correlations of lightness without alignment. first, second: (P, T, T, 3)."""
    one, two = (
        thumbnails.mean(axis=-1).reshape(len(thumbnails), THUMBNAIL_SIDE_PX * THUMBNAIL_SIDE_PX)
        for thumbnails in (first, second)
    )
    one, two = one - one.mean(axis=1, keepdims=True), two - two.mean(axis=1, keepdims=True)
    norms = np.sqrt((one * one).sum(axis=1) * (two * two).sum(axis=1))
    return np.asarray((one * two).sum(axis=1) / np.maximum(norms, 1e-6))


def _clusters(count: int, pairs: RowMatrix) -> list[Rows]:
    """Return the connected components of two or more products, each ascending."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, components = connected_components(graph, directed=False)
    order = np.argsort(components, kind="stable")
    clusters = np.split(order, np.flatnonzero(np.diff(components[order])) + 1)
    return [cluster for cluster in clusters if len(cluster) > 1]


def _is_placeholder(data: QualityInput, cluster: Rows) -> bool:
    """Return True if PLACEHOLDER_ITEMS_MIN or more different items share the picture."""
    groups = data.group_codes[cluster]
    return len(np.unique(groups[groups >= 0])) + int((groups < 0).sum()) >= PLACEHOLDER_ITEMS_MIN


def _placeholder(data: QualityInput, cluster: Rows) -> Finding:
    ids = tuple(data.ids[index] for index in cluster.tolist())
    strength = 1 - 1 / len(cluster)
    return Finding("placeholder", ids, strength, ids[1 : 1 + _EVIDENCE_MAX], {"products": len(cluster)})


def _duplicate(
    data: QualityInput, copy: int, original: int, confidence_by_pair: dict[tuple[int, int], float]
) -> Finding:
    is_exact = data.digests[copy] == data.digests[original]
    # Copies of one cluster that are not a pair themselves are linked by a third picture.
    pair = min(copy, original), max(copy, original)
    confidence = 1.0 if is_exact else confidence_by_pair.get(pair, 0.5)
    same_group = data.group_codes[copy] >= 0 and data.group_codes[copy] == data.group_codes[original]
    reason = {
        "same_category": bool(data.category_codes[copy] == data.category_codes[original]),
        "same_group": bool(same_group),
        "cosine": round(float(data.model_vectors[copy] @ data.model_vectors[original]), 4),
    }
    # Pictures of one item may well be equal; of two in different categories, one is certainly wrong.
    strength = confidence * (0.5 if same_group else 1.0 if not reason["same_category"] else 0.9)
    finding_type = "exact-duplicate" if is_exact else "near-duplicate"
    return Finding(finding_type, (data.ids[copy],), strength, (data.ids[original],), reason)
