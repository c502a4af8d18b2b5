"""Tests of vitrine.indexer.quality.pictures: the cache of picture measures."""

from pathlib import Path

import numpy as np

from tests.indexer.quality.catalogues import encode_jpeg, random_image
from vitrine.indexer.errors import PictureError
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.quality.pictures import MeasureCache


class CountingSource:
    """Pictures by row, of which row 2 is unreadable."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, row: int) -> bytes:
        self.reads += 1
        if row == 2:
            raise PictureError("gone")
        return encode_jpeg(random_image(row))


def test_pictures_are_measured_once_until_removed_or_damaged(tmp_path: Path) -> None:
    source, rows, progress = CountingSource(), np.arange(3), SilentProgress()
    first = MeasureCache(tmp_path).measures(source, rows, ["a", "b", "c"], progress)
    again = MeasureCache(tmp_path).measures(source, rows[:2], ["a", "b"], progress)
    assert (source.reads, first.known.tolist()) == (3, [True, True, False])
    assert (again.thumbnails == first.thumbnails[:2]).all()
    MeasureCache(tmp_path).remove(["a"])
    left = MeasureCache(tmp_path).measures(source, rows[1:2], ["b"], progress)
    assert (source.reads, left.sharpness[0]) == (3, first.sharpness[1])
    (tmp_path / "pictures.npz").write_bytes(b"no")
    assert MeasureCache(tmp_path).measures(source, rows[:1], ["a"], progress).known.all()


def test_stored_names_do_not_change(tmp_path: Path) -> None:
    MeasureCache(tmp_path).measures(CountingSource(), np.arange(1), ["a"], SilentProgress())
    with np.load(tmp_path / "pictures.npz") as stored:
        assert set(stored) == {"digests", "small", "figures"}
