"""Sources: folders and manifests, local and remote, and the pictures of their products."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from tests.indexer.source.folders import column_values, error_codes, make_folder, make_manifest
from tests.paths import CLOTHING
from tests.pictures import jpeg
from vitrine.indexer.errors import SourceError
from vitrine.indexer.pictures.preprocessing import MAX_BYTES
from vitrine.indexer.source.source import open_source

TEXT = pa.string()


@pytest.fixture
def write_remote() -> Iterator[Callable[[str, bytes], str]]:
    """Return a function that writes a file at a memory:// URL; the files are removed after the test."""
    filesystem = fsspec.filesystem("memory")

    def put(path: str, data: bytes) -> str:
        filesystem.pipe(f"/vitrine/{path}", data)
        return f"memory://vitrine/{path}"

    yield put
    filesystem.rm("/vitrine", recursive=True)


def test_a_folder_has_columns_id_name_category_and_image(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "shoes/red-01.jpg", "bags/summer/Big Bag.v2.PNG"))
    assert source.format == "folder"
    assert len(source) == 2
    assert source.products.to_pylist() == [
        {
            "id": "bags:summer:Big Bag.v2",
            "name": "Big Bag.v2",
            "category": "bags",
            "group": None,
            "image": "bags/summer/Big Bag.v2.PNG",
        },
        {
            "id": "shoes:red-01",
            "name": "red-01",
            "category": "shoes",
            "group": None,
            "image": "shoes/red-01.jpg",
        },
    ]
    assert [field.type for field in source.products.schema] == [TEXT] * 5
    assert source.read(1) == b"shoes/red-01.jpg"
    assert source.resolve_image(1) == str(tmp_path / "shoes/red-01.jpg")


def test_hidden_files_and_other_file_types_are_ignored(tmp_path: Path) -> None:
    make_folder(
        tmp_path, "a/1.jpg", "a/.2.jpg", ".b/3.jpg", "labels.csv", "LICENSE", "a/notes.txt", "a/x.svg"
    )
    make_folder(tmp_path, "a/4.webp", "a/5.AVIF", "a/6.tif", "a/7.gif", "a/8.bmp", "a/9.jpeg")
    assert column_values(open_source(tmp_path), "name") == ["1", "4", "5", "6", "7", "8", "9"]


def test_a_text_file_with_a_picture_extension_is_included(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    source = open_source(tmp_path)
    assert source.read(0) == b"not a picture"


def test_products_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    paths = ["b/2.jpg", "a/10.jpg", "a-b/1.jpg", "a/1.jpg", "Z.jpg"]
    assert column_values(open_source(make_folder(tmp_path, *paths)), "image") == sorted(paths)


def test_limit_keeps_the_first_products(tmp_path: Path) -> None:
    make_folder(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg")
    assert column_values(open_source(tmp_path, limit=2), "image") == ["a/1.jpg", "a/2.jpg"]
    assert len(open_source(tmp_path, limit=99)) == 3
    with pytest.raises(SourceError, match="--limit 0"):
        open_source(tmp_path, limit=0)


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"t\xeanis.jpg")).write_bytes(b"x")
    with pytest.raises(SourceError, match="not UTF-8"):
        open_source(tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = make_folder(tmp_path / "outside", "secret.jpg", "more/x.jpg")
    root = make_folder(tmp_path / "root", "a/1.jpg")
    (root / "a" / "2.jpg").symlink_to(outside / "secret.jpg")
    (root / "a" / "3.jpg").symlink_to("1.jpg")
    (root / "a" / "4.jpg").symlink_to("nowhere.jpg")
    (root / "more").symlink_to(outside / "more")
    source = open_source(root)
    assert column_values(source, "name") == ["1", "2", "3", "4"]
    assert source.read(2) == b"a/1.jpg"
    assert error_codes(source) == [None, "outside-source", None, "missing"]


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    make_folder(tmp_path / "real", "a/1.jpg")
    (tmp_path / "link").symlink_to("real")
    assert open_source(tmp_path / "link").read(0) == b"a/1.jpg"


def test_an_unreadable_file_is_a_picture_error_and_leaves_the_others(tmp_path: Path) -> None:
    make_folder(tmp_path, "1.jpg", "2.jpg", "5.jpg")
    (tmp_path / "2.jpg").unlink()
    os.mkfifo(tmp_path / "3.jpg")
    with (tmp_path / "4.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    source = open_source(tmp_path)
    (tmp_path / "5.jpg").unlink()
    assert error_codes(source) == [None, "unreadable", "too-large", "missing"]
    assert source.fingerprint(1) is None
    assert source.fingerprint(3) is None


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, "a/1.jpg")

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="cannot be listed: Permission denied"):
        open_source(tmp_path)


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "1.jpg"))
    status = (tmp_path / "1.jpg").stat()
    assert source.fingerprint(0) == (status.st_size, status.st_mtime_ns)
    os.utime(tmp_path / "1.jpg", ns=(1, 1))
    assert source.fingerprint(0) == (status.st_size, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root, "no products found, no JPEG"),
        (lambda root: make_folder(root, "a.txt", ".b.jpg"), "no products found"),
        (lambda root: root / "absent", "no such file or folder"),
        (lambda root: make_folder(root, "a.jpg") / "a.jpg", "neither a folder nor a manifest"),
        (lambda root: make_manifest(root, "image\n"), "no products found, no rows"),
        (lambda root: "http://127.0.0.1:9/x.csv", r"cannot be read: cannot be fetched \(ConnectionError\)"),
        (lambda root: "http://127.0.0.1:9/folder", "cannot be listed"),
        (lambda root: "nope://x/catalogue.csv", "Protocol not known: nope"),
        (lambda root: "s3://bucket/catalogue.csv", "Install s3fs"),
        (lambda root: "memory://nothing/here", "cannot be listed: no such folder"),
    ],
)
def test_an_invalid_source_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], Path | str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(make(tmp_path))


def test_columns_are_refused_for_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--column is for manifests"):
        open_source(make_folder(tmp_path, "a.jpg"), columns={"category": "label"})


def test_columns_are_renamed(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "foto,label,category,sku\na.jpg,Sapato,old,9\n")
    source = open_source(manifest, columns={"image": "foto", "category": "label", "id": "sku", "name": "sku"})
    assert source.products.to_pylist() == [
        {"id": "9", "name": "9", "category": "Sapato", "group": None, "image": "a.jpg"}
    ]


def test_a_link_out_of_the_manifest_folder_is_a_picture_error(tmp_path: Path) -> None:
    make_folder(tmp_path, "secret.jpg")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    source = open_source(make_manifest(tmp_path / "shop", "image\na.jpg\n"))
    assert error_codes(source) == ["outside-source"]


def test_a_row_without_an_image_is_a_picture_error_not_a_source_error(tmp_path: Path) -> None:
    source = open_source(make_manifest(tmp_path, "id,image\n1,\n2,a.jpg\n"))
    assert error_codes(source) == ["missing", "missing"]
    assert source.resolve_image(0) == ""
    assert source.fingerprint(0) is None


@pytest.mark.parametrize("image", ["a\0b.jpg", "x/" * 3000 + "a.jpg", "a" * 400 + ".jpg"])
def test_an_impossible_path_is_a_picture_error(tmp_path: Path, image: str) -> None:
    import json

    source = open_source(make_manifest(tmp_path, json.dumps({"id": "1", "image": image}) + "\n", "c.jsonl"))
    assert error_codes(source) == ["unreadable"]


def test_a_remote_folder(write_remote: Callable[[str, bytes], str]) -> None:
    write_remote("shop/shoes/1.jpg", b"one")
    write_remote("shop/.hidden/2.jpg", b"two")
    url = write_remote("shop/notes.txt", b"three").removesuffix("/notes.txt")
    source = open_source(url)
    assert column_values(source, "id") == ["shoes:1"]
    assert source.resolve_image(0) == "memory://vitrine/shop/shoes/1.jpg"
    assert source.read(0) == b"one"
    assert source.fingerprint(0) is None


def test_a_remote_manifest(write_remote: Callable[[str, bytes], str], tmp_path: Path) -> None:
    picture = make_folder(tmp_path, "x.jpg") / "x.jpg"
    other = write_remote("elsewhere/3.jpg", b"three")
    write_remote("shop/a/1.jpg", b"one")
    text = f"id,image\n1,a/1.jpg\n2,a/2.jpg\n3,{other}\n4,{picture}\n"
    source = open_source(write_remote("shop/catalogue.csv", text.encode()))
    assert error_codes(source) == [None, "missing", None, None]
    assert source.read(2) == b"three"
    assert source.resolve_image(1) == "memory://vitrine/shop/a/2.jpg"
    with pytest.raises(SourceError, match="leaves the source's folder"):
        open_source(write_remote("shop/bad.csv", b"image\n../elsewhere/3.jpg\n"))


def test_a_missing_remote_manifest(write_remote: Callable[[str, bytes], str]) -> None:
    write_remote("shop/a/1.jpg", b"one")
    with pytest.raises(SourceError, match=r"memory://vitrine/shop/no.csv: cannot be read"):
        open_source("memory://vitrine/shop/no.csv")


def test_a_file_url_is_a_local_file(tmp_path: Path) -> None:
    make_folder(tmp_path, "a/1.jpg")
    source = open_source(f"file://{tmp_path}")
    assert source.resolve_image(0) == f"{tmp_path}/a/1.jpg"
    assert source.fingerprint(0) is not None
    manifest = make_manifest(tmp_path, "image\na/1.jpg\n")
    assert open_source(f"file://{manifest}").read(0) == b"a/1.jpg"


def test_the_clothing_photos_are_1651_products_in_17_categories() -> None:
    folder = CLOTHING
    if not folder.is_dir():
        pytest.skip("the photos of shared/photos/clothing are not here")
    source = open_source(folder)
    assert len(source) == 1651
    assert len(set(column_values(source, "category"))) == 17
    labels = open_source(folder / "labels.csv", columns={"image": "path", "name": "nome_pt"})
    assert sorted(column_values(labels, "id")) == sorted(column_values(source, "id"))
    assert labels.products["kids"].type == pa.bool_()
    assert labels.read(0) == source.read(column_values(source, "id").index(column_values(labels, "id")[0]))


def test_several_threads_may_read_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg(16, 16, number))
    source = open_source(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, range(20))) == [jpeg(16, 16, number) for number in range(20)]


def test_excluding_products_keeps_the_pictures_of_the_others(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg"))
    assert source.exclude_products(()) is source
    rest = source.exclude_products({"a:1", "unknown"})
    assert column_values(rest, "id") == ["a:2", "b:3"]
    assert [rest.read(row) for row in range(len(rest))] == [b"a/2.jpg", b"b/3.jpg"]
