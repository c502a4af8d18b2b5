"""Completion of products: default ids, names and categories, and the errors of invalid ids and paths."""

from pathlib import Path

import pytest

from tests.indexer.source.folders import column_values, error_codes, make_folder, make_manifest
from vitrine.indexer.errors import SourceError
from vitrine.indexer.source.source import open_source


def test_without_folders_the_leading_letters_are_the_category(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "tenis_01.jpg", "óculos-2.jpg", "Bolsa3.jpg", "77.jpg"))
    assert dict(zip(column_values(source, "id"), column_values(source, "category"), strict=True)) == {
        "tenis_01": "tenis",
        "óculos-2": "óculos",
        "Bolsa3": "Bolsa",
        "77": "",
    }


def test_a_file_beside_folders_has_its_leading_letters_as_category(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "shoes/1.jpg", "tenis_01.jpg"))
    assert column_values(source, "category") == ["shoes", "tenis"]


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
def test_category_from_selects_the_origin_of_the_category(
    tmp_path: Path, category_from: str, expected: list[str]
) -> None:
    source = open_source(make_folder(tmp_path, "a/b/bolsa_1.jpg", "tenis_2.jpg"), category_from=category_from)
    assert column_values(source, "category") == expected


def test_an_invalid_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--category-from '\(': not 'auto'"):
        open_source(make_folder(tmp_path, "a.jpg"), category_from="(")


def test_two_files_with_the_same_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'a/1.png': the same id as 'a/1.jpg', 'a:1'"):
        open_source(make_folder(tmp_path, "a/1.jpg", "a/1.png"))


def test_accents_are_composed_so_that_equal_names_are_one_category(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "te\u0302nis/1.jpg", "t\u00eanis/2.jpg"))
    assert column_values(source, "category") == ["tênis", "tênis"]
    assert sorted(column_values(source, "id")) == ["tênis:1", "tênis:2"]
    assert {source.read(0), source.read(1)} == {"te\u0302nis/1.jpg".encode(), "t\u00eanis/2.jpg".encode()}


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\u202fb.jpg", "a\x7fb.jpg", "x" * 201 + ".jpg"])
def test_a_file_name_that_is_no_valid_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="an id has"):
        open_source(make_folder(tmp_path, name))


def test_missing_columns_of_a_manifest_are_filled_in(tmp_path: Path) -> None:
    make_folder(tmp_path, "shoes/red-01.jpg")
    source = open_source(make_manifest(tmp_path, "image\nshoes/red-01.jpg\n./bolsa_2.png\n"))
    assert source.format == "csv"
    assert column_values(source, "id") == ["shoes:red-01", "bolsa_2"]
    assert column_values(source, "name") == ["red-01", "bolsa_2"]
    assert column_values(source, "category") == ["shoes", "bolsa"]
    assert column_values(source, "group") == [None, None]
    assert source.read(0) == b"shoes/red-01.jpg"
    assert error_codes(source) == [None, "missing"]


def test_columns_of_a_manifest_are_kept(tmp_path: Path) -> None:
    text = 'id,name,category,group,image,price\n007,"Tênis, azul", shoes ,g1,a.jpg,1.5\nNA,,,,b.jpg,2\n'
    source = open_source(make_manifest(tmp_path, text))
    assert source.products.to_pylist() == [
        {
            "id": "007", "name": "Tênis, azul", "category": "shoes", "group": "g1",
            "image": "a.jpg", "price": 1.5,
        },
        {"id": "NA", "name": "b", "category": "", "group": None, "image": "b.jpg", "price": 2.0},
    ]  # fmt: skip


def test_an_explicit_category_from_overrides_the_column(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "image,category\nshoes/tenis_1.jpg,x\n")
    assert column_values(open_source(manifest), "category") == ["x"]
    assert column_values(open_source(manifest, category_from="folder"), "category") == ["shoes"]


@pytest.mark.parametrize("image", ["../x.jpg", "a/../../x.jpg", "..", "./../x.jpg"])
def test_an_image_outside_the_manifest_folder_is_refused_with_its_row(tmp_path: Path, image: str) -> None:
    make_folder(tmp_path, "x.jpg")
    (tmp_path / "shop").mkdir()
    with pytest.raises(SourceError, match=r"row 2: image .* leaves the source's folder"):
        open_source(make_manifest(tmp_path / "shop", f"id,image\n1,fine.jpg\n2,{image}\n"))


def test_a_parent_reference_that_stays_inside_is_accepted(tmp_path: Path) -> None:
    make_folder(tmp_path, "b/1.jpg", "a/2.jpg")
    source = open_source(make_manifest(tmp_path, "image\na/../b/1.jpg\n"))
    assert column_values(source, "id") == ["b:1"]
    assert source.read(0) == b"b/1.jpg"


def test_absolute_paths_may_be_outside_the_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, "photos/shoes/1.jpg", "shop/bags/2.jpg")
    text = f"image\n{tmp_path}/photos/shoes/1.jpg\n{tmp_path}/shop/bags/2.jpg\nfile://{tmp_path}/photos/shoes/1.jpg\n"
    manifest = make_manifest(tmp_path / "shop", text.replace("file:", "file:", 1))
    with pytest.raises(SourceError, match="row 3: the same id as row 1"):
        open_source(manifest)
    source = open_source(manifest, limit=2)
    assert column_values(source, "category") == ["shoes", "bags"]
    assert column_values(source, "id")[1] == "bags:2"
    assert column_values(source, "id")[0].endswith(":photos:shoes:1")
    assert error_codes(source) == [None, None]
    assert source.resolve_image(0) == f"{tmp_path}/photos/shoes/1.jpg"


def test_ids_of_urls_have_no_scheme_host_or_query(tmp_path: Path) -> None:
    text = "image\nhttps://cdn.example/shop/shoes/1.jpg?w=2\nhttps://cdn.example/2.png#x\n"
    source = open_source(make_manifest(tmp_path, text))
    assert column_values(source, "id") == ["shop:shoes:1", "2"]
    assert column_values(source, "category") == ["shoes", ""]
    assert source.resolve_image(0) == "https://cdn.example/shop/shoes/1.jpg?w=2"
    assert source.fingerprint(0) is None


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
def test_an_invalid_id_is_refused_with_its_row(tmp_path: Path, id: str, message: str) -> None:
    with pytest.raises(SourceError, match=rf"catalogue.csv: row 2: .*{message}"):
        open_source(make_manifest(tmp_path, f'id,image\n1,a.jpg\n"{id}",b.jpg\n'))


def test_a_null_id_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="row 2: there is no id"):
        open_source(make_manifest(tmp_path, '{"id":"1","image":"a"}\n{"id":null,"image":"b"}\n', "c.jsonl"))


def test_a_repeated_id_is_refused_with_both_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"row 4: the same id as row 2, 'b' \(1 more rows repeat an id\)"):
        open_source(make_manifest(tmp_path, "id,image\na,1.jpg\nb,2.jpg\nc,3.jpg\nb,4.jpg\na,5.jpg\n"))


def test_a_hundred_thousand_products_are_completed(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("id", ["x" * 200, "007", "é" * 200, "a b:c.d", "🙂", "...", "日本"])
def test_ids_of_any_script_are_accepted(tmp_path: Path, id: str) -> None:
    source = open_source(make_manifest(tmp_path, f"id,image\n{id},a.jpg\n"))
    assert column_values(source, "id") == [id]
