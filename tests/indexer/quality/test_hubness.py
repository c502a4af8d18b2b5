"""Tests of vitrine.indexer.quality.hubness on synthetic vectors."""

import numpy as np

from vitrine.indexer.arrays import unit
from vitrine.indexer.quality.hubness import find_hubness
from vitrine.indexer.quality.pictures import THUMBNAIL_SIDE_PX, PictureMeasures
from vitrine.indexer.quality.quality_input import QualityInput, nearest_neighbours


def quality_input(vectors: np.ndarray) -> QualityInput:
    n = len(vectors)
    neighbours = nearest_neighbours(vectors)
    thumbnails = np.zeros((n, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX, 3), np.uint8)
    zeros = np.zeros(n, np.float32)
    return QualityInput(
        ids=[f"id{row}" for row in range(n)],
        categories=("c",),
        category_codes=np.zeros(n, np.int32),
        group_codes=np.full(n, -1, np.int32),
        digests=[str(row) for row in range(n)],
        sizes_px=np.full((n, 2), 300, np.int64),
        model_vectors=vectors,
        has_model_vectors=True,
        search_neighbours=neighbours,
        model_neighbours=neighbours,
        pictures=PictureMeasures(np.zeros(n, bool), thumbnails, zeros, zeros),
    )


def test_the_centre_of_many_directions_is_a_hub() -> None:
    random = np.random.default_rng(0)
    spokes = random.normal(size=(200, 256)) + 1.0
    centre = np.ones((1, 256))
    data = quality_input(unit(np.concatenate([centre, spokes]).astype(np.float32)))
    hubs = [finding for finding in find_hubness(data) if finding.type == "hub"]
    assert "id0" in {finding.ids[0] for finding in hubs}
    first = next(finding for finding in hubs if finding.ids == ("id0",))
    assert first.reason["lists"] == 200
    assert len(first.evidence) == 4


def test_a_vector_far_from_all_others_is_an_outlier() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(80, 16)) * 0.3 + 1.0
    vectors[7] = -np.arange(16)
    findings = find_hubness(quality_input(unit(vectors.astype(np.float32))))
    outliers = [finding for finding in findings if finding.type == "outlier"]
    assert max(outliers, key=lambda finding: finding.strength).ids == ("id7",)
