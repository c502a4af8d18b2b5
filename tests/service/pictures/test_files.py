"""Picture files over HTTP: those of products only, and from known folders only."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.http_client import Client, assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct, publish
from tests.pictures import jpeg, png
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.pictures.files import source_folders

IMAGE = "/api/v1/products/p03/image"


def test_the_original_is_sent_unchanged(client: Client, samples: list[SampleProduct]) -> None:
    response = client.get(IMAGE)
    assert (response.data, response.mimetype) == (samples[3].picture, "image/jpeg")
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    again = client.get(IMAGE, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_ranges_of_a_picture_can_be_requested(client: Client, samples: list[SampleProduct]) -> None:
    response = client.get(IMAGE, headers={"Range": "bytes=0-9"})
    assert (response.status_code, response.data) == (206, samples[3].picture[:10])
    assert_problem(
        client.get(IMAGE, headers={"Range": "bytes=999999-"}), 416, "requested-range-not-satisfiable"
    )


@pytest.mark.parametrize(
    ("accept", "format"),
    [("image/avif,image/webp,*/*", "WEBP"), ("*/*", "JPEG"), ("image/jpeg", "JPEG"), ("", "JPEG")],
)
def test_a_thumbnail_has_a_format_that_the_client_accepts(client: Client, accept: str, format: str) -> None:
    response = client.get(f"{IMAGE}?size=30", headers={"Accept": accept})
    image = Image.open(io.BytesIO(response.data))
    assert (image.format, response.mimetype) == (format, f"image/{format.lower()}")
    assert image.size == (48, 32)
    assert response.headers["Vary"] == "Accept"


@pytest.mark.parametrize(("size", "status"), [("0", 422), ("-3", 422), ("4097", 422), ("big", 400)])
def test_a_wrong_size_is_refused(client: Client, size: str, status: int) -> None:
    response = client.get(f"{IMAGE}?size={size}")
    assert (response.status_code, response.json["field"]) == (status, "size")


def test_an_unknown_product_has_no_picture_and_a_deleted_one_keeps_it(client: Client) -> None:
    assert_problem(client.get("/api/v1/products/nope/image"), 404, "unknown-product")
    client.delete("/api/v1/products/p03")
    assert client.get(IMAGE).status_code == 200


def catalogue_of(
    index: Path, source: Path, image: str, sha256: str, samples: list[SampleProduct], **settings: Any
) -> Catalogue:
    """Open a catalogue of two products, the first with this `image`."""
    odd = dataclasses.replace(samples[0].product, image=image, sha256=sha256)
    publish(index, [odd, samples[1].product], [samples[0].vector, samples[1].vector], source)
    return Catalogue.open(index, config=ServiceConfig(**settings), embedder=GridEmbedder())


def test_a_file_outside_the_known_folders_is_not_served(tmp_path: Path, samples: list[SampleProduct]) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.png").write_bytes(png(40, 40, 1))
    source = tmp_path / "source"
    source.mkdir()
    (source / "link.png").symlink_to(outside / "a.png")
    around = f"{source}/../elsewhere/a.png"
    images = (f"{outside}/a.png", f"{source}/link.png", around, "/etc/passwd", "../../../etc/passwd")
    for number, image in enumerate(images):
        with catalogue_of(tmp_path / f"index{number}", source, image, "0" * 64, samples) as catalogue:
            client = make_client(create_app(catalogue, ServiceConfig()))
            for query in ("", "?size=64"):
                assert_problem(client.get(f"/api/v1/products/p00/image{query}"), 404, "picture-absent")


def test_a_folder_can_be_allowed(tmp_path: Path, samples: list[SampleProduct]) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.png").write_bytes(png(40, 40, 1))
    with catalogue_of(
        tmp_path / "index",
        tmp_path / "s",
        f"{outside}/a.png",
        "0" * 64,
        samples,
        picture_roots=(str(outside),),
    ) as catalogue:
        picture = catalogue.picture("p00")
        assert (picture.data, picture.mime_type) == (png(40, 40, 1), "image/png")


@pytest.mark.parametrize(
    "name", ["missing.jpg", "text.jpg", "https://shop.example/a.jpg", "drawing.svg", "folder"]
)
def test_a_file_that_is_not_a_picture_any_more_is_404(
    tmp_path: Path, samples: list[SampleProduct], name: str
) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "text.jpg").write_text("not a picture")
    (source / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    image = name if "://" in name else str(source / name)
    with catalogue_of(tmp_path / "index", source, image, "1" * 64, samples) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        for query in ("", "?size=64"):
            assert_problem(client.get(f"/api/v1/products/p00/image{query}"), 404, "picture-absent")


def test_the_source_folder_of_a_manifest_is_its_folder(tmp_path: Path) -> None:
    manifest = tmp_path / "catalogue.csv"
    manifest.write_text("image\n")
    assert source_folders(str(manifest)) == [str(tmp_path)]
    assert source_folders(str(tmp_path)) == [str(tmp_path)]
    assert source_folders("s3://bucket/catalogue.csv") == []


def test_an_index_folder_can_be_moved(tmp_path: Path, catalogue: Catalogue, small_index: Path) -> None:
    added = catalogue.add(jpeg(40, 40, 8), name="x", category="y")
    moved = small_index.rename(tmp_path / "moved")
    with Catalogue.open(moved, embedder=GridEmbedder()) as there:
        assert there.picture(added["id"]).data == jpeg(40, 40, 8)
