"""Pictures that several products share: the same file, the same picture made anew, or one for very many.

Vectors propose, pictures decide: two shirts can lie closer than a photo and its cut copy, but only the copy
can be laid over the photo. Shape letters: N products, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.arrays import DoubleArray, Mask, Pixels, RowMatrix, Rows
from vitrine.indexer.quality.alignment import compare_aligned
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.pictures import SIDE, Measures
from vitrine.indexer.quality.quality_input import QualityInput

# Measured on 1,651 photos of clothes and on a catalogue of drawings, many of one outline: of 99 copies saved
# again, made smaller or cut by up to 5 % a side all have a cosine of at least 0.8, correlate at 0.993 or more
# once aligned, and the worst block is at most 0.66 apart; of other pairs that correlate so, at least 0.85.
ALIKE_FROM = 0.75
LAID_OVER_FROM = 0.992
APART_MAX = 0.75
_ROUGHLY_FROM = 0.6
# Without pictures to look at, only vectors that are nearly one count.
VECTORS_ALONE_FROM = 0.98
PLACEHOLDER_FROM = 4
_SHOWN = 6


def duplicates(data: QualityInput, blank: Mask) -> Iterator[Finding]:
    """Yield what is a copy of another product's picture. blank: (N,), pictures of nothing, left out."""
    same = _same_files(data, blank)
    pairs, sure = _near_pairs(data, blank)
    members = _clusters(len(data), np.concatenate([same, pairs]))
    certainty = {
        (first, second): value for (first, second), value in zip(pairs.tolist(), sure.tolist(), strict=True)
    }
    for cluster in members:
        if _is_placeholder(data, cluster):
            yield _placeholder(data, cluster)
            continue
        area = data.sizes_px[cluster].prod(axis=1)
        kept = int(cluster[np.lexsort((cluster, -area))[0]])
        for place in cluster[cluster != kept].tolist():
            yield _copy(data, place, kept, certainty)


def _same_files(data: QualityInput, blank: Mask) -> RowMatrix:
    """Return (P, 2), ascending: products with the very same file, each with the first of them."""
    first: dict[str, int] = {}
    pairs = [
        (first[digest], place)
        for place, digest in enumerate(data.digests)
        if not blank[place] and first.setdefault(digest, place) != place
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _near_pairs(data: QualityInput, blank: Mask) -> tuple[RowMatrix, DoubleArray]:
    """Return (P, 2), ascending, of pictures that can be laid over each other, and (P,) how sure that is."""
    near = data.alike
    owners = np.repeat(np.arange(len(data)), near.places.shape[1])
    others, scores = near.places.ravel(), near.scores.ravel()
    known = (others >= 0) & (scores >= ALIKE_FROM) & ~blank[owners] & ~blank[others]
    pairs, firsts = np.unique(np.sort(np.stack([owners[known], others[known]], 1)), axis=0, return_index=True)
    scores = scores[known][firsts]
    digests = np.array(data.digests, object)
    differ = digests[pairs[:, 0]] != digests[pairs[:, 1]]
    pairs, scores = pairs[differ], scores[differ]
    seen = data.pictures.known[pairs].all(axis=1)
    sure = np.where(seen, 0.0, (scores - VECTORS_ALONE_FROM) / (1 - VECTORS_ALONE_FROM))
    sure[seen] = _laid_over(data.pictures, pairs[seen])
    found = sure > 0
    return pairs[found], sure[found]


def _laid_over(pictures: Measures, pairs: RowMatrix) -> DoubleArray:
    """Return (P,) in 0..1, 0 for pictures that cannot be laid over each other."""
    first, second = pictures.small[pairs[:, 0]], pictures.small[pairs[:, 1]]
    rough = _rough_likeness(first, second) >= _ROUGHLY_FROM
    sure = np.zeros(len(pairs))
    likeness, apart = compare_aligned(first[rough], second[rough])
    is_one = (likeness >= LAID_OVER_FROM) & (apart <= APART_MAX)
    sure[rough] = np.where(is_one, 1 - 0.5 * apart / APART_MAX, 0)
    return sure


def _rough_likeness(first: Pixels, second: Pixels) -> DoubleArray:
    one, two = (each.mean(axis=-1).reshape(len(each), SIDE * SIDE) for each in (first, second))
    one, two = one - one.mean(axis=1, keepdims=True), two - two.mean(axis=1, keepdims=True)
    length = np.sqrt((one * one).sum(axis=1) * (two * two).sum(axis=1))
    return np.asarray((one * two).sum(axis=1) / np.maximum(length, 1e-6))


def _clusters(count: int, pairs: RowMatrix) -> list[Rows]:
    """Return the places that pairs tie together, clusters of two or more, each ascending."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    ties = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(ties, directed=False)
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _is_placeholder(data: QualityInput, cluster: Rows) -> bool:
    """Whether so many different things share one picture that it shows none of them."""
    groups = data.groups[cluster]
    return len(np.unique(groups[groups >= 0])) + int((groups < 0).sum()) >= PLACEHOLDER_FROM


def _placeholder(data: QualityInput, cluster: Rows) -> Finding:
    ids = tuple(data.ids[place] for place in cluster.tolist())
    strength = 1 - 1 / len(cluster)
    return Finding("placeholder", ids, strength, ids[1 : 1 + _SHOWN], {"products": len(cluster)})


def _copy(data: QualityInput, place: int, kept: int, certainty: dict[tuple[int, int], float]) -> Finding:
    is_same = data.digests[place] == data.digests[kept]
    sure = 1.0 if is_same else certainty.get((min(place, kept), max(place, kept)), 0.5)
    same_group = data.groups[place] >= 0 and data.groups[place] == data.groups[kept]
    reason = {
        "same_category": bool(data.codes[place] == data.codes[kept]),
        "same_group": bool(same_group),
        "cosine": round(float(data.raw[place] @ data.raw[kept]), 4),
    }
    # Pictures of one item may well be alike; across categories, one of the two is surely wrong.
    strength = sure * (0.5 if same_group else 1.0 if not reason["same_category"] else 0.9)
    kind = "exact-duplicate" if is_same else "near-duplicate"
    return Finding(kind, (data.ids[place],), strength, (data.ids[kept],), reason)
