"""Tests of vitrine.indexer.quality.alignment with cropped copies of random pictures."""

import numpy as np

from tests.indexer.quality.catalogues import encode_jpeg, random_image
from vitrine.indexer.quality.alignment import compare_aligned
from vitrine.indexer.quality.pictures import THUMBNAIL_SIDE_PX, measure_picture


def test_cropped_copies_align_and_other_pictures_do_not() -> None:
    images = [random_image(seed) for seed in range(6)]
    cropped = [image.crop((10, 6, 236, 190)) for image in images]
    first, second = (
        np.stack([measure_picture(encode_jpeg(image))[0] for image in pictures])
        for pictures in (images, cropped)
    )
    assert first.shape == (6, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX, 3)
    correlations, differences = compare_aligned(first, second)
    assert correlations.min() > 0.995
    assert differences.max() < 0.75
    others, _ = compare_aligned(first, np.roll(second, 1, axis=0))
    assert others.max() < 0.9


def test_no_pairs_give_empty_results() -> None:
    none = np.zeros((0, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX, 3), np.uint8)
    correlations, differences = compare_aligned(none, none)
    assert (len(correlations), len(differences)) == (0, 0)
