"""Folders and manifests become products that keep every rule, or one clear error."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from tests.paths import CLOTHING
from tests.pictures import jpeg
from vitrine.indexer.errors import PictureError, SourceError
from vitrine.indexer.pictures.preprocessing import MAX_BYTES
from vitrine.indexer.products.ids import MAX_ID_LENGTH, invalid_id_reason
from vitrine.indexer.source.source import Source, open_source

TEXT = pa.string()


def make_folder(root: Path, *paths: str) -> Path:
    """Put a file with some bytes at every path."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    return root


def make_manifest(root: Path, text: str, name: str = "catalogue.csv") -> Path:
    file = root / name
    file.write_text(text, encoding="utf-8")
    return file


def column(source: Source, name: str) -> list[Any]:
    values: list[Any] = source.products[name].to_pylist()
    return values


@pytest.fixture
def memory() -> Iterator[Callable[[str, bytes], str]]:
    """Put files behind memory:// URLs; they are gone after the test."""
    filesystem = fsspec.filesystem("memory")

    def put(path: str, data: bytes) -> str:
        filesystem.pipe(f"/vitrine/{path}", data)
        return f"memory://vitrine/{path}"

    yield put
    filesystem.rm("/vitrine", recursive=True)


def test_a_folder_gives_id_name_category_and_image(tmp_path: Path) -> None:
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


def test_without_sub_folders_the_leading_letters_are_the_category(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "tenis_01.jpg", "óculos-2.jpg", "Bolsa3.jpg", "77.jpg"))
    assert dict(zip(column(source, "id"), column(source, "category"), strict=True)) == {
        "tenis_01": "tenis",
        "óculos-2": "óculos",
        "Bolsa3": "Bolsa",
        "77": "",
    }


def test_a_loose_file_beside_folders_takes_its_leading_letters(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "shoes/1.jpg", "tenis_01.jpg"))
    assert column(source, "category") == ["shoes", "tenis"]


@pytest.mark.parametrize(
    ("category_from", "expected"),
    [
        ("auto", ["a", "tenis"]),
        ("folder", ["a", ""]),
        ("filename", ["bolsa", "tenis"]),
        (r"_(\d)", ["1", "2"]),
        (r"^a/b|tenis", ["a/b", "tenis"]),
        (r"(x)?bolsa", ["", ""]),
    ],
)
def test_the_category_comes_from_where_it_is_asked(
    tmp_path: Path, category_from: str, expected: list[str]
) -> None:
    source = open_source(make_folder(tmp_path, "a/b/bolsa_1.jpg", "tenis_2.jpg"), category_from=category_from)
    assert column(source, "category") == expected


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--category-from '\(': not 'auto'"):
        open_source(make_folder(tmp_path, "a.jpg"), category_from="(")


def test_what_is_hidden_or_no_picture_is_ignored(tmp_path: Path) -> None:
    make_folder(
        tmp_path, "a/1.jpg", "a/.2.jpg", ".b/3.jpg", "labels.csv", "LICENSE", "a/notes.txt", "a/x.svg"
    )
    make_folder(tmp_path, "a/4.webp", "a/5.AVIF", "a/6.tif", "a/7.gif", "a/8.bmp", "a/9.jpeg")
    assert column(open_source(tmp_path), "name") == ["1", "4", "5", "6", "7", "8", "9"]


def test_a_text_with_a_picture_extension_stays_to_become_a_failure(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    source = open_source(tmp_path)
    assert source.read(0) == b"not a picture"


def test_the_order_is_that_of_the_paths_whatever_the_file_system_says(tmp_path: Path) -> None:
    paths = ["b/2.jpg", "a/10.jpg", "a-b/1.jpg", "a/1.jpg", "Z.jpg"]
    assert column(open_source(make_folder(tmp_path, *paths)), "image") == sorted(paths)


def test_limit_keeps_the_first_products(tmp_path: Path) -> None:
    make_folder(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg")
    assert column(open_source(tmp_path, limit=2), "image") == ["a/1.jpg", "a/2.jpg"]
    assert len(open_source(tmp_path, limit=99)) == 3
    with pytest.raises(SourceError, match="--limit 0"):
        open_source(tmp_path, limit=0)


def test_two_files_that_make_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'a/1.png': the same id as 'a/1.jpg', 'a:1'"):
        open_source(make_folder(tmp_path, "a/1.jpg", "a/1.png"))


def test_accents_are_composed_so_that_one_name_is_one_category(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "te\u0302nis/1.jpg", "t\u00eanis/2.jpg"))
    assert column(source, "category") == ["tênis", "tênis"]
    assert sorted(column(source, "id")) == ["tênis:1", "tênis:2"]
    assert {source.read(0), source.read(1)} == {"te\u0302nis/1.jpg".encode(), "t\u00eanis/2.jpg".encode()}


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\u202fb.jpg", "a\x7fb.jpg", "x" * 201 + ".jpg"])
def test_a_file_name_that_makes_no_id_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="an id has"):
        open_source(make_folder(tmp_path, name))


def test_a_file_name_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"t\xeanis.jpg")).write_bytes(b"x")
    with pytest.raises(SourceError, match="not UTF-8"):
        open_source(tmp_path)


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = make_folder(tmp_path / "outside", "secret.jpg", "more/x.jpg")
    root = make_folder(tmp_path / "root", "a/1.jpg")
    (root / "a" / "2.jpg").symlink_to(outside / "secret.jpg")
    (root / "a" / "3.jpg").symlink_to("1.jpg")
    (root / "a" / "4.jpg").symlink_to("nowhere.jpg")
    (root / "more").symlink_to(outside / "more")
    source = open_source(root)
    assert column(source, "name") == ["1", "2", "3", "4"]
    assert source.read(2) == b"a/1.jpg"
    assert kinds_of_failure(source) == [None, "outside-source", None, "missing"]


def test_a_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    make_folder(tmp_path / "real", "a/1.jpg")
    (tmp_path / "link").symlink_to("real")
    assert open_source(tmp_path / "link").read(0) == b"a/1.jpg"


def kinds_of_failure(source: Source) -> list[str | None]:
    kinds: list[str | None] = []
    for row in range(len(source)):
        try:
            source.read(row)
        except PictureError as error:
            kinds.append(error.code)
        else:
            kinds.append(None)
    return kinds


def test_files_that_cannot_be_read_are_failures_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path, "1.jpg", "2.jpg", "5.jpg")
    (tmp_path / "2.jpg").unlink()
    os.mkfifo(tmp_path / "3.jpg")
    with (tmp_path / "4.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    source = open_source(tmp_path)
    (tmp_path / "5.jpg").unlink()
    assert kinds_of_failure(source) == [None, "unreadable", "too-large", "missing"]
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
def test_what_is_no_source_is_one_clear_error(
    tmp_path: Path, make: Callable[[Path], Path | str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(make(tmp_path))


def test_columns_are_for_manifests(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--column is for manifests"):
        open_source(make_folder(tmp_path, "a.jpg"), columns={"category": "label"})


def test_a_manifest_fills_in_what_it_does_not_say(tmp_path: Path) -> None:
    make_folder(tmp_path, "shoes/red-01.jpg")
    source = open_source(make_manifest(tmp_path, "image\nshoes/red-01.jpg\n./bolsa_2.png\n"))
    assert source.format == "csv"
    assert column(source, "id") == ["shoes:red-01", "bolsa_2"]
    assert column(source, "name") == ["red-01", "bolsa_2"]
    assert column(source, "category") == ["shoes", "bolsa"]
    assert column(source, "group") == [None, None]
    assert source.read(0) == b"shoes/red-01.jpg"
    assert kinds_of_failure(source) == [None, "missing"]


def test_a_manifest_keeps_what_it_says(tmp_path: Path) -> None:
    text = 'id,name,category,group,image,price\n007,"Tênis, azul", shoes ,g1,a.jpg,1.5\nNA,,,,b.jpg,2\n'
    source = open_source(make_manifest(tmp_path, text))
    assert source.products.to_pylist() == [
        {
            "id": "007", "name": "Tênis, azul", "category": "shoes", "group": "g1",
            "image": "a.jpg", "price": 1.5,
        },
        {"id": "NA", "name": "b", "category": "", "group": None, "image": "b.jpg", "price": 2.0},
    ]  # fmt: skip


def test_a_category_rule_that_is_asked_for_wins_over_the_column(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "image,category\nshoes/tenis_1.jpg,x\n")
    assert column(open_source(manifest), "category") == ["x"]
    assert column(open_source(manifest, category_from="folder"), "category") == ["shoes"]


def test_columns_of_another_name_are_renamed(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "foto,label,category,sku\na.jpg,Sapato,old,9\n")
    source = open_source(manifest, columns={"image": "foto", "category": "label", "id": "sku", "name": "sku"})
    assert source.products.to_pylist() == [
        {"id": "9", "name": "9", "category": "Sapato", "group": None, "image": "a.jpg"}
    ]


@pytest.mark.parametrize("image", ["../x.jpg", "a/../../x.jpg", "..", "./../x.jpg"])
def test_an_image_that_leaves_the_manifest_folder_is_refused_by_row(tmp_path: Path, image: str) -> None:
    make_folder(tmp_path, "x.jpg")
    (tmp_path / "shop").mkdir()
    with pytest.raises(SourceError, match=r"row 2: image .* leaves the source's folder"):
        open_source(make_manifest(tmp_path / "shop", f"id,image\n1,fine.jpg\n2,{image}\n"))


def test_a_step_up_that_stays_inside_is_fine(tmp_path: Path) -> None:
    make_folder(tmp_path, "b/1.jpg", "a/2.jpg")
    source = open_source(make_manifest(tmp_path, "image\na/../b/1.jpg\n"))
    assert column(source, "id") == ["b:1"]
    assert source.read(0) == b"b/1.jpg"


def test_a_link_out_of_the_manifest_folder_is_a_failure(tmp_path: Path) -> None:
    make_folder(tmp_path, "secret.jpg")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    source = open_source(make_manifest(tmp_path / "shop", "image\na.jpg\n"))
    assert kinds_of_failure(source) == ["outside-source"]


def test_absolute_paths_are_read_wherever_they_lie(tmp_path: Path) -> None:
    make_folder(tmp_path, "photos/shoes/1.jpg", "shop/bags/2.jpg")
    text = f"image\n{tmp_path}/photos/shoes/1.jpg\n{tmp_path}/shop/bags/2.jpg\nfile://{tmp_path}/photos/shoes/1.jpg\n"
    manifest = make_manifest(tmp_path / "shop", text.replace("file:", "file:", 1))
    with pytest.raises(SourceError, match="row 3: the same id as row 1"):
        open_source(manifest)
    source = open_source(manifest, limit=2)
    assert column(source, "category") == ["shoes", "bags"]
    assert column(source, "id")[1] == "bags:2"
    assert column(source, "id")[0].endswith(":photos:shoes:1")
    assert kinds_of_failure(source) == [None, None]
    assert source.resolve_image(0) == f"{tmp_path}/photos/shoes/1.jpg"


def test_urls_make_ids_without_scheme_host_or_query(tmp_path: Path) -> None:
    text = "image\nhttps://cdn.example/shop/shoes/1.jpg?w=2\nhttps://cdn.example/2.png#x\n"
    source = open_source(make_manifest(tmp_path, text))
    assert column(source, "id") == ["shop:shoes:1", "2"]
    assert column(source, "category") == ["shoes", ""]
    assert source.resolve_image(0) == "https://cdn.example/shop/shoes/1.jpg?w=2"
    assert source.fingerprint(0) is None


def test_a_row_without_image_is_a_failure_and_not_an_error(tmp_path: Path) -> None:
    source = open_source(make_manifest(tmp_path, "id,image\n1,\n2,a.jpg\n"))
    assert kinds_of_failure(source) == ["missing", "missing"]
    assert source.resolve_image(0) == ""
    assert source.fingerprint(0) is None


@pytest.mark.parametrize("image", ["a\0b.jpg", "x/" * 3000 + "a.jpg", "a" * 400 + ".jpg"])
def test_an_impossible_path_is_a_failure(tmp_path: Path, image: str) -> None:
    import json

    source = open_source(make_manifest(tmp_path, json.dumps({"id": "1", "image": image}) + "\n", "c.jsonl"))
    assert kinds_of_failure(source) == ["unreadable"]


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("a/b", "cannot contain '/'"),
        ("", "cannot be empty"),
        ("x" * 500, "at most 200 characters, this one has 500"),
        ("..", "cannot be '..'"),
        (".", "cannot be '.'"),
        ("a\tb", "printable"),
        ("a\x01b", "printable"),
        ("a\u200bb", "printable"),
        ("a\u00a0b", "printable"),
        ("a\ue000b", "printable"),
    ],
)
def test_an_id_that_breaks_a_rule_is_refused_by_row(tmp_path: Path, id: str, message: str) -> None:
    with pytest.raises(SourceError, match=rf"catalogue.csv: row 2: .*{message}"):
        open_source(make_manifest(tmp_path, f'id,image\n1,a.jpg\n"{id}",b.jpg\n'))


def test_a_null_id_is_refused_by_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="row 2: there is no id"):
        open_source(make_manifest(tmp_path, '{"id":"1","image":"a"}\n{"id":null,"image":"b"}\n', "c.jsonl"))


@pytest.mark.parametrize("id", ["x" * 200, "007", "é" * 200, "a b:c.d", "🙂", "...", "日本"])
def test_an_id_of_any_script_is_fine(tmp_path: Path, id: str) -> None:
    source = open_source(make_manifest(tmp_path, f"id,image\n{id},a.jpg\n"))
    assert column(source, "id") == [id]
    assert invalid_id_reason(id) is None


def test_the_rules_of_ids_are_the_same_for_one(tmp_path: Path) -> None:
    assert invalid_id_reason("x" * MAX_ID_LENGTH) is None
    for bad in ("", "x" * (MAX_ID_LENGTH + 1), "a/b", "a\0b", "a\ud800b"):
        assert invalid_id_reason(bad)


def test_a_repeated_id_names_both_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"row 4: the same id as row 2, 'b' \(1 more rows repeat an id\)"):
        open_source(make_manifest(tmp_path, "id,image\na,1.jpg\nb,2.jpg\nc,3.jpg\nb,4.jpg\na,5.jpg\n"))


def test_a_folder_behind_a_url(memory: Callable[[str, bytes], str]) -> None:
    memory("shop/shoes/1.jpg", b"one")
    memory("shop/.hidden/2.jpg", b"two")
    url = memory("shop/notes.txt", b"three").removesuffix("/notes.txt")
    source = open_source(url)
    assert column(source, "id") == ["shoes:1"]
    assert source.resolve_image(0) == "memory://vitrine/shop/shoes/1.jpg"
    assert source.read(0) == b"one"
    assert source.fingerprint(0) is None


def test_a_manifest_behind_a_url(memory: Callable[[str, bytes], str], tmp_path: Path) -> None:
    picture = make_folder(tmp_path, "x.jpg") / "x.jpg"
    other = memory("elsewhere/3.jpg", b"three")
    memory("shop/a/1.jpg", b"one")
    text = f"id,image\n1,a/1.jpg\n2,a/2.jpg\n3,{other}\n4,{picture}\n"
    source = open_source(memory("shop/catalogue.csv", text.encode()))
    assert kinds_of_failure(source) == [None, "missing", None, None]
    assert source.read(2) == b"three"
    assert source.resolve_image(1) == "memory://vitrine/shop/a/2.jpg"
    with pytest.raises(SourceError, match="leaves the source's folder"):
        open_source(memory("shop/bad.csv", b"image\n../elsewhere/3.jpg\n"))


def test_a_missing_manifest_behind_a_url(memory: Callable[[str, bytes], str]) -> None:
    memory("shop/a/1.jpg", b"one")
    with pytest.raises(SourceError, match=r"memory://vitrine/shop/no.csv: cannot be read"):
        open_source("memory://vitrine/shop/no.csv")


def test_a_file_url_is_a_local_file(tmp_path: Path) -> None:
    make_folder(tmp_path, "a/1.jpg")
    source = open_source(f"file://{tmp_path}")
    assert source.resolve_image(0) == f"{tmp_path}/a/1.jpg"
    assert source.fingerprint(0) is not None
    manifest = make_manifest(tmp_path, "image\na/1.jpg\n")
    assert open_source(f"file://{manifest}").read(0) == b"a/1.jpg"


def test_a_hundred_thousand_products_are_read(tmp_path: Path) -> None:
    rows = "".join(f"sku-{i},c{i % 50}/img_{i}.jpg,{i / 4}\n" for i in range(100_000))
    manifest = make_manifest(tmp_path, "id,image,price\n" + rows)
    source = open_source(manifest)
    assert len(source) == 100_000
    assert source.products.slice(51, 1).to_pylist() == [
        {
            "id": "sku-51", "name": "img_51", "category": "c1", "group": None,
            "image": "c1/img_51.jpg", "price": 12.75,
        }
    ]  # fmt: skip


def test_real_photos_are_1651_products_of_17_categories() -> None:
    folder = CLOTHING
    if not folder.is_dir():
        pytest.skip("the photos of shared/photos/clothing are not here")
    source = open_source(folder)
    assert len(source) == 1651
    assert len(set(column(source, "category"))) == 17
    labels = open_source(folder / "labels.csv", columns={"image": "path", "name": "nome_pt"})
    assert sorted(column(labels, "id")) == sorted(column(source, "id"))
    assert labels.products["kids"].type == pa.bool_()
    assert labels.read(0) == source.read(column(source, "id").index(column(labels, "id")[0]))


def test_threads_read_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg(16, 16, number))
    source = open_source(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, range(20))) == [jpeg(16, 16, number) for number in range(20)]


def test_a_source_without_some_products_still_reads_the_right_pictures(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg"))
    assert source.exclude_products(()) is source
    rest = source.exclude_products({"a:1", "unknown"})
    assert column(rest, "id") == ["a:2", "b:3"]
    assert [rest.read(row) for row in range(len(rest))] == [b"a/2.jpg", b"b/3.jpg"]
