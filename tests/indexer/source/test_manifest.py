"""Manifests in CSV, Parquet and JSONL: types, renamed columns, reserved names and unreadable files."""

import datetime
import decimal
import gzip
import json

import pyarrow as pa
import pytest

from tests.indexer.source.manifests import NO_RENAMES, column_types, read_csv, read_jsonl, read_parquet
from vitrine.indexer.errors import SourceError
from vitrine.indexer.products.schema import COMPUTED_COLUMNS
from vitrine.indexer.source.manifest import manifest_format, parse_manifest


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"), ("A.TSV", "csv"), ("a.parquet", "parquet"), ("a.pq", "parquet"),
        ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.csv.gz", "csv"),
        ("a.jsonl.gz", "jsonl"), ("a.xlsx", None), ("a", None), ("csv", None),
        ("a.jpg", None), ("memory://a.csv/b", None),
    ],
)  # fmt: skip
def test_the_format_is_detected_from_the_name(name: str, format: str | None) -> None:
    assert manifest_format(name) == format


@pytest.mark.parametrize("name", ["shop.csv", "shop.jsonl"])
def test_a_row_may_be_longer_than_a_block_of_the_parser(name: str) -> None:
    rows = [{"image": f"{i}.jpg", "about": "x" * 3_000_000} for i in range(3)]
    lines = [json.dumps(row) for row in rows]
    csv_lines = ["image,about", *(f"{row['image']},{row['about']}" for row in rows)]
    data = "\n".join(csv_lines if name.endswith("csv") else lines).encode()
    assert parse_manifest(data, name, NO_RENAMES).to_pylist() == rows


def test_csv_may_be_compressed() -> None:
    data = gzip.compress(b"image\na.jpg\n")
    assert parse_manifest(data, "shop.csv.gz", NO_RENAMES)["image"].to_pylist() == ["a.jpg"]


def test_empty_columns_of_spreadsheets_and_index_columns_of_pandas_are_dropped() -> None:
    assert read_csv("image, name ,,\na.jpg,x,,\n").column_names == ["name", "image"]
    table = pa.table({"image": ["a"], "__index_level_0__": [1]})
    assert read_parquet(table).column_names == ["image"]


def test_an_empty_column_is_text() -> None:
    assert column_types(read_csv("image,x\na.jpg,\n"))["x"] == "string"
    assert column_types(read_parquet(pa.table({"image": ["a"], "x": pa.nulls(1)})))["x"] == "string"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Empty CSV file"),
        (b"image\0x\n", "not text"),
        (b"image,name\na,\x81\n", "cannot be read|not a readable csv"),
        (b"image,n\na,1\nb\n", r"Row #3: Expected 2 columns, got 1"),
        (b"name\nx\n", r"no column 'image' \(columns: name\); .* --column image=NAME"),
        (b"Images\nx\n", "--column image=Images"),
        (b'"a\nb"\nx\n', r"\(columns: a b\)"),
        (b"image,image\na,b\n", "the column 'image' occurs twice"),
        (b"image,\na,b\n", "a column without a name"),
        (b"\x89PNG\r\n\x1a\n", "not a readable csv manifest|no column 'image'"),
    ],
)
def test_an_unreadable_csv_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"^shop.csv: .*({message})"):
        read_csv(data)


def test_a_misspelt_field_is_refused_with_the_field_names() -> None:
    with pytest.raises(
        SourceError,
        match=r"no field 'categry', perhaps 'category'; the fields are id, name, category, group, image$",
    ):
        read_csv("image,label\na,b\n", {"categry": "label"})
    assert read_csv("image,preco\na,1\n", {"price": "preco"}).to_pylist() == [{"image": "a", "price": 1}]


@pytest.mark.parametrize("name", sorted(COMPUTED_COLUMNS))
def test_names_of_computed_columns_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match=rf"column '{name}' .* --column shop_{name}={name}"):
        read_csv(f"image,{name}\na,1\n")
    table = read_csv(f"image,{name}\na,1\n", {f"shop_{name}": name})
    assert table.to_pylist() == [{"image": "a", f"shop_{name}": 1}]
    with pytest.raises(SourceError, match="a name that Vitrine uses itself"):
        read_csv("image,x\na,1\n", {name: "x"})


def test_renaming_a_missing_column_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"no column 'label' for --column category=label \(columns: image\)"
    ):
        read_csv("image\na\n", {"category": "label"})


def test_a_renamed_column_replaces_a_column_of_that_name() -> None:
    table = read_csv("image,name,title\na,old,new\n", {"name": "title"})
    assert table.to_pylist() == [{"name": "new", "image": "a"}]


def test_parquet_types_are_kept() -> None:
    table = pa.table(
        {
            "image": ["a.jpg"],
            "price": pa.array([decimal.Decimal("1.50")], pa.decimal128(8, 2)),
            "stock": pa.array([3], pa.int16()),
            "tags": [["x", "y"]],
            "at": pa.array([datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)], pa.timestamp("us", "UTC")),
            "brand": pa.array(["B"]).dictionary_encode(),
            "note": pa.array(["n"], pa.large_string()),
            "view": pa.array(["v"], pa.string_view()),
        }
    )
    assert column_types(read_parquet(table)) == {
        "image": "string", "price": "decimal128(8, 2)", "stock": "int16", "tags": "list<element: string>",
        "at": "timestamp[us, tz=UTC]", "brand": "string", "note": "string", "view": "string",
    }  # fmt: skip


def test_nan_and_infinity_become_null() -> None:
    values = pa.array([1.5, float("nan"), float("inf"), None])
    for data_type in (pa.float16(), pa.float32(), pa.float64()):
        table = read_parquet(pa.table({"image": list("abcd"), "x": values.cast(data_type)}))
        assert table["x"].to_pylist() == [1.5, None, None, None]
        assert table["x"].type == data_type


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7, None]), ["7", None]),
        (pa.array([7.0, None]), ["7", None]),
        (pa.array([7.5, 8.0]), ["7.5", "8"]),
        (pa.array([7, 8], pa.uint64()), ["7", "8"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_parquet_ids_of_any_scalar_type_become_text(values: pa.Array, expected: list[str | None]) -> None:
    table = read_parquet(pa.table({"image": ["a", "b"], "id": values}))
    assert table["id"].to_pylist() == expected


@pytest.mark.parametrize("values", [pa.array([["a"]]), pa.array([{"bytes": b"x"}]), pa.array([b"\xff\xfe"])])
def test_images_that_are_not_text_are_refused(values: pa.Array) -> None:
    with pytest.raises(SourceError, match=r"the column 'image' is .* cannot be read as text"):
        read_parquet(pa.table({"image": values}))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"image\na.jpg\n"])
def test_an_unreadable_parquet_file_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"^shop\.parquet: not a readable parquet manifest: "):
        parse_manifest(data, "shop.parquet", NO_RENAMES)


def test_jsonl_types_are_kept() -> None:
    table = read_jsonl(
        {"id": "007", "image": "a.jpg", "price": 1.5, "stock": 3, "sale": True, "tags": ["x"], "none": None},
        {"id": "8", "image": "b.jpg", "price": 2, "extra": {"colour": "red"}},
    )
    assert column_types(table) == {
        "id": "string", "image": "string", "price": "double", "stock": "int64", "sale": "bool",
        "tags": "list<item: string>", "none": "string", "extra": "struct<colour: string>",
    }  # fmt: skip
    assert table["stock"].to_pylist() == [3, None]


def test_jsonl_ids_that_look_like_dates_or_numbers_stay_text() -> None:
    assert read_jsonl({"id": "2024-01-01", "image": "a"})["id"].to_pylist() == ["2024-01-01"]
    assert read_jsonl({"id": 7, "image": "a"}, {"id": 8, "image": "b"})["id"].to_pylist() == ["7", "8"]


def test_jsonl_may_have_a_byte_order_mark_and_blank_lines() -> None:
    data = b'\xef\xbb\xbf{"image":"a"}\n\n{"image":"b"}\n'
    assert parse_manifest(data, "shop.jsonl", NO_RENAMES)["image"].to_pylist() == ["a", "b"]


def test_an_empty_jsonl_file_has_no_rows() -> None:
    assert len(parse_manifest(b" \n", "shop.jsonl", NO_RENAMES)) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"image":"a"}]', "line 1: expected one JSON object per line"),
        (b'{"image":"a"}\nnull\n', "line 2: expected one JSON object"),
        (b'{"image":"a"}\n{"image":', "line 2: Expecting value"),
        (b'{"image":"a"} null', "line 1: Extra data"),
        (b'{"image":"a\xff"}', "line 1: 'utf-8' codec"),
        (b'{"image":' + b"[" * 100_000, "line 1: maximum recursion"),
        (
            b'{"id":1,"image":"a"}\n{"id":"x","image":"b"}',
            r"Column\(/id\) changed from number to string in row 1",
        ),
    ],
)
def test_an_unreadable_jsonl_file_is_refused_with_the_line_number(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"^shop\.jsonl: not a readable jsonl manifest: .*{message}"):
        parse_manifest(data, "shop.jsonl", NO_RENAMES)


def test_a_damaged_gzip_file_is_refused() -> None:
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(b"image\n", "shop.csv.gz", NO_RENAMES)
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(gzip.compress(b"image\na.jpg\n" * 50)[:-12], "shop.csv.gz", NO_RENAMES)
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(gzip.compress(b"image\n")[:10] + b"\xff" * 20, "shop.csv.gz", NO_RENAMES)
