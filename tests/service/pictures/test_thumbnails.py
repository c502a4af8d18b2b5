"""The thumbnail cache: size steps, size limit, unwritable folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.http_client import Client
from vitrine.service import Catalogue
from vitrine.service.pictures.thumbnails import ThumbnailCache, rounded_size

IMAGE = "/api/v1/products/p03/image"


def test_sizes_are_rounded_up() -> None:
    assert [rounded_size(size) for size in (1, 64, 65, 300, 1024, 4000)] == [64, 64, 128, 384, 1024, 1024]


def test_a_thumbnail_is_made_once(client: Client, catalogue: Catalogue, small_source: Path) -> None:
    cache = catalogue.pictures.thumbnails
    first = client.get(f"{IMAGE}?size=64").data
    assert (cache.hits, cache.misses) == (0, 1)
    assert client.get(f"{IMAGE}?size=50").data == first
    assert (cache.hits, cache.misses) == (1, 1)


def test_thumbnails_stay_within_the_size_limit(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path / "thumbnails", max_bytes=10_000)
    for number in range(60):
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        cache.get(sha256, 64, "WEBP", lambda: b"x" * 500)
    kept = list((tmp_path / "thumbnails").glob("*/*"))
    assert 5_000 <= sum(path.stat().st_size for path in kept) <= 11_000


def test_an_unwritable_folder_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = ThumbnailCache(blocked / "thumbnails", max_bytes=10_000)
    assert cache.folder != blocked / "thumbnails"
    cache.folder.rmdir()
    cache.folder.write_text("in the way too")
    assert cache.get("a" * 64, 64, "JPEG", lambda: b"data") == b"data"
    cache.folder.unlink()
