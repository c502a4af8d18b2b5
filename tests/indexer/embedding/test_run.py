"""Tests of vitrine.indexer.embedding.run: the outcome of each row, counts and the limit of failures."""

from pathlib import Path

import numpy as np
import pytest

from tests.pictures import jpeg
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.embedding.run import RunCollector
from vitrine.indexer.errors import SourceError
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.source.source import Source, open_source

MODEL_KEY = "model"
DIGEST = bytes(range(32))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A folder of five pictures."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        (tmp_path / "photos" / f"p_{number}.jpg").write_bytes(jpeg(24, 16, number))
    return open_source(tmp_path / "photos")


def make_collector(source: Source, folder: Path, max_failures: float = 5) -> RunCollector:
    cache = EmbeddingCache(folder)
    cache.put(MODEL_KEY, [CacheEntry(DIGEST, 24, 16, np.ones(3, np.float32))])
    return RunCollector(source, MODEL_KEY, cache, max_failures, SilentProgress())


def test_rows_of_one_new_picture_count_once_as_embedded(source: Source, tmp_path: Path) -> None:
    collector = make_collector(source, tmp_path)
    collector.add_embedded([1, 3], DIGEST, (24, 16))
    collector.add_cached([4], DIGEST, (24, 16))
    run = collector.finish()
    assert (run.embedded, run.from_cache) == (1, 2)
    assert run.ok.tolist() == [False, True, False, True, True]
    assert run.sha256[3].tobytes() == DIGEST
    assert run.sizes_px[4].tolist() == [24, 16]


def test_failures_are_in_row_order(source: Source, tmp_path: Path) -> None:
    collector = make_collector(source, tmp_path)
    collector.add_failed([4], "damaged")
    collector.add_failed([0, 2], "empty")
    assert [(failure.row, failure.id, failure.reason) for failure in collector.finish().failures] == [
        (0, "p_0", "empty"),
        (2, "p_2", "empty"),
        (4, "p_4", "damaged"),
    ]


def test_too_many_failures_are_an_error(source: Source, tmp_path: Path) -> None:
    collector = make_collector(source, tmp_path, max_failures=1)
    collector.add_failed([0], "empty")
    with pytest.raises(SourceError, match=r"2 of 5 pictures cannot be used, more than --max-failures allows"):
        collector.add_failed([1], "empty")


def test_the_dimension_is_read_from_the_cache(source: Source, tmp_path: Path) -> None:
    collector = make_collector(source, tmp_path)
    assert collector.finish().dimension is None
    collector.add_cached([2], DIGEST, (24, 16))
    assert collector.finish().dimension == 3
