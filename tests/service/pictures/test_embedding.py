"""Photos through the service: the packaged network, missing networks, the cache, crops."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.http_client import assert_problem, make_client
from tests.indexes import MODEL, GridEmbedder, SampleProduct, publish_samples
from tests.pictures import jpeg, rotated_jpeg
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import ModelUnavailable, PictureError, QueryError, SnapshotCorrupt
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.errors import TooManyRequests
from vitrine.service.pictures.embedding import EmbeddedPhoto, crop_picture, read_image

API = "/api/v1"


@pytest.fixture(scope="module")
def real_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    build_folder(write_folder(folder / "source"), folder / "index")
    return folder / "index"


def test_the_packaged_network_embeds_query_photos_and_uploads(real_index: Path) -> None:
    with Catalogue.open(real_index) as catalogue:
        catalogue.warm()
        client = make_client(create_app(catalogue, ServiceConfig()))
        known = jpeg(64, 48, 5)
        form = {"image": (io.BytesIO(known), "a.jpg"), "limit": "1"}
        hit = client.post(f"{API}/search/image", data=form).json["hits"][0]
        assert hit["id"] == "c1:p1"
        assert hit["score"] == pytest.approx(1, abs=1e-3)
        assert catalogue.photos.cache_hits == 1
        again = client.post(
            f"{API}/search/image", data={"image": (io.BytesIO(jpeg(64, 48, 5, quality=80)), "a")}
        )
        assert again.json["hits"][0]["id"] == "c1:p1"
        assert "embed;dur=" in again.headers["Server-Timing"]
        upload = {"image": (io.BytesIO(jpeg(90, 90, 77)), "a"), "name": "Novo", "category": "c0"}
        added = client.post(f"{API}/products", data=upload).json
        assert client.get(f"{API}/products/{added['id']}/similar?limit=20").json["returned"] == 12


class FailingEmbedder(GridEmbedder):
    """An embedder that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def embed(self, data: bytes, model: ModelRecord) -> EmbeddedPhoto:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelUnavailable("every source was tried"), 503, "no-model"),
        (TooManyRequests("too many photos wait"), 429, "too-many-requests"),
    ],
)
def test_without_a_network_only_photos_are_refused(
    small_index: Path, error: Exception, status: int, kind: str
) -> None:
    with Catalogue.open(small_index, embedder=FailingEmbedder(error)) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        form = {"image": (io.BytesIO(jpeg()), "a"), "name": "x", "category": "y"}
        assert_problem(client.post(f"{API}/products", data=form), status, kind)
        assert client.get(f"{API}/products/p00/similar").status_code == 200
        assert client.get(f"{API}/changes").json == {"changes": []}


class SwappingEmbedder(GridEmbedder):
    """An embedder that publishes a snapshot of another model during its first call."""

    def __init__(self, swap: Any) -> None:
        super().__init__()
        self.swap = swap

    def embed(self, data: bytes, model: ModelRecord) -> EmbeddedPhoto:
        self.calls += 1
        if self.calls == 1:
            self.swap()
        return EmbeddedPhoto(np.eye(1, model.dimension, dtype=np.float32)[0], 40, 40)


def test_an_upload_is_embedded_again_when_the_model_changes_meanwhile(
    small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    other = dataclasses.replace(MODEL, digest="sha256:1")
    embedder = SwappingEmbedder(lambda: publish_samples(small_index, samples, small_source, model=other))
    with Catalogue.open(small_index, embedder=embedder) as catalogue:
        added = catalogue.add(jpeg(40, 40, 8), name="x", category="y")
        assert embedder.calls == 2
        assert catalogue.similar(added["id"])["returned"] == 5


def test_a_broken_cache_only_costs_time(
    catalogue: Catalogue, embedder: GridEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise SnapshotCorrupt("gone")

    monkeypatch.setattr(EmbeddingCache, "sizes_px", broken)
    monkeypatch.setattr(EmbeddingCache, "put", broken)
    assert catalogue.add(jpeg(40, 40, 8), name="x", category="y")["name"] == "x"
    assert embedder.calls == 1


def test_a_folder_without_a_cache_embeds_every_photo(
    catalogue: Catalogue, embedder: GridEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise SnapshotCorrupt("read-only")

    monkeypatch.setattr(EmbeddingCache, "__init__", refuse)
    for _ in range(2):
        catalogue.search(image=jpeg(40, 40, 8))
    assert embedder.calls == 2


def test_a_crop_is_of_the_upright_picture() -> None:
    turned = rotated_jpeg(6, 96, 64)
    whole = read_image(turned)
    left, right = (crop_picture(whole, (x, 0, 0.25, 0.2)) for x in (0, 0.75))
    assert left != right
    assert crop_picture(whole, "0,0,1,1") != whole


def test_images_are_bytes_or_paths(catalogue: Catalogue, small_source: Path, tmp_path: Path) -> None:
    by_path = catalogue.search(image=small_source / "p03.jpg", limit=1)
    by_text = catalogue.search(image=str(small_source / "p03.jpg"), limit=1)
    assert by_path["hits"] == by_text["hits"]
    assert by_path["hits"][0]["id"] == "p03"
    with pytest.raises(PictureError, match="cannot be read"):
        catalogue.search(image=tmp_path / "none.jpg")
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(33 * 2**20))
    with pytest.raises(PictureError, match="larger than"):
        catalogue.search(image=tmp_path / "large.jpg")
    with pytest.raises(QueryError, match="crop needs"):
        catalogue.search(product="p00", crop="0,0,1,1")
    with pytest.raises(QueryError):
        catalogue.search(image=tmp_path, product="p00")
