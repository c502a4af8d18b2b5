"""Manifests as they come out of spreadsheets, databases and pandas: every column keeps its type."""

import datetime
import decimal
import gzip
import io
import json
import logging
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from vitrine.indexer.errors import SourceError
from vitrine.indexer.products.schema import COMPUTED_COLUMNS
from vitrine.indexer.source.manifest import manifest_format, parse_manifest

NO_RENAMES: Mapping[str, str] = {}


def read_csv(text: str | bytes, columns: Mapping[str, str] = NO_RENAMES) -> pa.Table:
    return parse_manifest(text.encode() if isinstance(text, str) else text, "shop.csv", columns)


def read_jsonl(*rows: Mapping[str, Any]) -> pa.Table:
    return parse_manifest("\n".join(json.dumps(row) for row in rows).encode(), "shop.jsonl", NO_RENAMES)


def read_parquet(table: pa.Table) -> pa.Table:
    out = io.BytesIO()
    pa_parquet.write_table(table, out)
    return parse_manifest(out.getvalue(), "shop.parquet", NO_RENAMES)


def types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"), ("A.TSV", "csv"), ("a.parquet", "parquet"), ("a.pq", "parquet"),
        ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.csv.gz", "csv"),
        ("a.jsonl.gz", "jsonl"), ("a.xlsx", None), ("a", None), ("csv", None),
        ("a.jpg", None), ("memory://a.csv/b", None),
    ],
)  # fmt: skip
def test_the_kind_is_told_by_the_name(name: str, kind: str | None) -> None:
    assert manifest_format(name) == kind


def test_csv_types_are_inferred_and_ids_stay_text() -> None:
    table = read_csv(
        "id,image,price,stock,sale,since,brand\n"
        "007,a.jpg,1.5,3,true,2024-05-01,Água\n"
        "1e5,b.jpg,,,false,,\n"
        "NA,null,2,4,true,2024-05-02,NA\n"
    )
    assert types(table) == {
        "id": "string", "image": "string", "price": "double", "stock": "int64", "sale": "bool",
        "since": "date32[day]", "brand": "string",
    }  # fmt: skip
    assert table["id"].to_pylist() == ["007", "1e5", "NA"]
    assert table["image"].to_pylist() == ["a.jpg", "b.jpg", "null"]
    assert table["price"].to_pylist() == [1.5, None, 2.0]
    assert table["brand"].to_pylist() == ["Água", None, "NA"]


def test_csv_types_come_from_all_rows_and_not_from_the_first_megabyte() -> None:
    rows = "".join(f"{i}.jpg,{i}\n" for i in range(120_000))
    assert types(read_csv("image,price\n" + rows + "x.jpg,1.5\n"))["price"] == "double"
    assert types(read_csv("image,price\n" + rows + "x.jpg,cheap\n"))["price"] == "string"


@pytest.mark.parametrize("name", ["shop.csv", "shop.jsonl"])
def test_a_row_may_be_longer_than_a_block_of_the_reader(name: str) -> None:
    rows = [{"image": f"{i}.jpg", "about": "x" * 3_000_000} for i in range(3)]
    lines = [json.dumps(row) for row in rows]
    csv = ["image,about", *(f"{row['image']},{row['about']}" for row in rows)]
    data = "\n".join(csv if name.endswith("csv") else lines).encode()
    assert parse_manifest(data, name, NO_RENAMES).to_pylist() == rows


def test_csv_codes_with_leading_zeros_stay_text() -> None:
    table = read_csv("image,ean,cep,n\na.jpg,0789,01310,10\nb.jpg,1,2,20\n")
    assert types(table) == {"image": "string", "ean": "string", "cep": "string", "n": "int64"}
    assert table["ean"].to_pylist() == ["0789", "1"]
    assert types(read_csv("image,note\na.jpg,007 films\n"))["note"] == "string"
    assert types(read_csv("image,share\na.jpg,0.5\n"))["share"] == "double"


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_csv_separators_are_recognised(mark: str) -> None:
    text = f'image{mark}"name{mark}x"{mark}n\na.jpg{mark}"A {mark} B"{mark}1\n'
    assert read_csv(text).to_pylist() == [{"image": "a.jpg", f"name{mark}x": f"A {mark} B", "n": 1}]


@pytest.mark.parametrize("cells", ['"1,50"', "1,50"])
def test_csv_of_a_brazilian_spreadsheet(cells: str) -> None:
    text = f"sep=;\r\nimage;preço;estoque\r\na.jpg;{cells};3\r\nb.jpg;2,25;4\r\n"
    expected = [
        {"image": "a.jpg", "preço": 1.5, "estoque": 3},
        {"image": "b.jpg", "preço": 2.25, "estoque": 4},
    ]
    assert read_csv(text).to_pylist() == expected
    assert read_csv(text.encode("utf-8-sig")).to_pylist() == expected
    assert read_csv(text.encode("utf-16")).to_pylist() == expected


def test_csv_with_semicolons_and_decimal_points() -> None:
    assert read_csv("image;price\na.jpg;1.50\nb.jpg;2.25\n")["price"].to_pylist() == [1.5, 2.25]


def test_csv_of_windows_1252_is_read_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = read_csv("image;name\na.jpg;Tênis €\n".encode("cp1252"))
    assert table["name"].to_pylist() == ["Tênis €"]
    assert "Windows-1252" in caplog.text


def test_csv_cells_may_have_line_breaks_and_quotes() -> None:
    assert read_csv('image,name\na.jpg,"two\nlines ""quoted"""\n')["name"].to_pylist() == [
        'two\nlines "quoted"'
    ]


def test_csv_rows_of_separators_alone_are_no_products() -> None:
    table = read_csv("id;image;price;note\n1;a.jpg;1;\n;;;\n2;;;x\n;;;\n;;;\n")
    assert table["id"].to_pylist() == ["1", "2"]
    assert table["note"].to_pylist() == [None, "x"]


def test_csv_may_be_compressed() -> None:
    data = gzip.compress(b"image\na.jpg\n")
    assert parse_manifest(data, "shop.csv.gz", NO_RENAMES)["image"].to_pylist() == ["a.jpg"]


def test_empty_columns_of_spreadsheets_and_index_columns_of_pandas_are_dropped() -> None:
    assert read_csv("image, name ,,\na.jpg,x,,\n").column_names == ["name", "image"]
    table = pa.table({"image": ["a"], "__index_level_0__": [1]})
    assert read_parquet(table).column_names == ["image"]


def test_a_column_of_nothing_is_text() -> None:
    assert types(read_csv("image,x\na.jpg,\n"))["x"] == "string"
    assert types(read_parquet(pa.table({"image": ["a"], "x": pa.nulls(1)})))["x"] == "string"


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
def test_csv_that_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"^shop.csv: .*({message})"):
        read_csv(data)


def prices(*cells: str) -> str:
    return "image;price\n" + "".join(f"{number}.jpg;{cell}\n" for number, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1,5"] * 9 + ["n/d"], "row 10 has 'n/d'; leave such cells empty"),
        (["", "12", "N/A", "sob\u00a0consulta", *["-0,5", "1e3"] * 9, "1.299,00"],
         "row 4 has 'sob consulta' and 1 more rows have no number either; leave such cells empty"),
        (["1,5"] * 8 + ["n/d"], None),
        (["7,0"] * 9 + ["N/A"], None),
        (["0078", *["1234"] * 19, "n/d"], None),
        (["P", "M", "G"], None),
        ([""], None),
    ],
)  # fmt: skip
def test_what_keeps_a_column_of_numbers_from_being_one_is_told(
    cells: list[str], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    table = read_csv(prices(*cells))
    if told is None:
        assert caplog.messages == []
    else:
        assert types(table)["price"] == "string"
        assert caplog.messages == [f"shop.csv: the column 'price' is text, not numbers: {told}"]


def test_a_column_for_a_field_that_is_none_names_those_there_are() -> None:
    with pytest.raises(
        SourceError,
        match=r"no field 'categry', perhaps 'category'; the fields are id, name, category, group, image$",
    ):
        read_csv("image,label\na,b\n", {"categry": "label"})
    assert read_csv("image,preco\na,1\n", {"price": "preco"}).to_pylist() == [{"image": "a", "price": 1}]


@pytest.mark.parametrize("name", sorted(COMPUTED_COLUMNS))
def test_names_that_the_snapshot_uses_itself_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match=rf"column '{name}' .* --column shop_{name}={name}"):
        read_csv(f"image,{name}\na,1\n")
    table = read_csv(f"image,{name}\na,1\n", {f"shop_{name}": name})
    assert table.to_pylist() == [{"image": "a", f"shop_{name}": 1}]
    with pytest.raises(SourceError, match="a name that Vitrine uses itself"):
        read_csv("image,x\na,1\n", {name: "x"})


def test_a_rename_of_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"no column 'label' for --column category=label \(columns: image\)"
    ):
        read_csv("image\na\n", {"category": "label"})


def test_a_rename_wins_over_a_column_of_the_old_name() -> None:
    table = read_csv("image,name,title\na,old,new\n", {"name": "title"})
    assert table.to_pylist() == [{"name": "new", "image": "a"}]


def test_parquet_types_stay() -> None:
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
    assert types(read_parquet(table)) == {
        "image": "string", "price": "decimal128(8, 2)", "stock": "int16", "tags": "list<element: string>",
        "at": "timestamp[us, tz=UTC]", "brand": "string", "note": "string", "view": "string",
    }  # fmt: skip


def test_numbers_that_json_has_no_word_for_become_null() -> None:
    values = pa.array([1.5, float("nan"), float("inf"), None])
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        table = read_parquet(pa.table({"image": list("abcd"), "x": values.cast(kind)}))
        assert table["x"].to_pylist() == [1.5, None, None, None]
        assert table["x"].type == kind


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
def test_parquet_ids_of_any_simple_type_become_text(values: pa.Array, expected: list[str | None]) -> None:
    table = read_parquet(pa.table({"image": ["a", "b"], "id": values}))
    assert table["id"].to_pylist() == expected


@pytest.mark.parametrize("values", [pa.array([["a"]]), pa.array([{"bytes": b"x"}]), pa.array([b"\xff\xfe"])])
def test_images_that_are_no_text_are_refused(values: pa.Array) -> None:
    with pytest.raises(SourceError, match=r"the column 'image' is .* cannot be read as text"):
        read_parquet(pa.table({"image": values}))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"image\na.jpg\n"])
def test_parquet_that_cannot_be_read_says_so(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"^shop\.parquet: not a readable parquet manifest: "):
        parse_manifest(data, "shop.parquet", NO_RENAMES)


def test_jsonl_types_stay() -> None:
    table = read_jsonl(
        {"id": "007", "image": "a.jpg", "price": 1.5, "stock": 3, "sale": True, "tags": ["x"], "none": None},
        {"id": "8", "image": "b.jpg", "price": 2, "extra": {"colour": "red"}},
    )
    assert types(table) == {
        "id": "string", "image": "string", "price": "double", "stock": "int64", "sale": "bool",
        "tags": "list<item: string>", "none": "string", "extra": "struct<colour: string>",
    }  # fmt: skip
    assert table["stock"].to_pylist() == [3, None]


def test_jsonl_ids_that_look_like_dates_or_numbers_stay_as_written() -> None:
    assert read_jsonl({"id": "2024-01-01", "image": "a"})["id"].to_pylist() == ["2024-01-01"]
    assert read_jsonl({"id": 7, "image": "a"}, {"id": 8, "image": "b"})["id"].to_pylist() == ["7", "8"]


def test_jsonl_may_begin_with_a_byte_order_mark_and_have_blank_lines() -> None:
    data = b'\xef\xbb\xbf{"image":"a"}\n\n{"image":"b"}\n'
    assert parse_manifest(data, "shop.jsonl", NO_RENAMES)["image"].to_pylist() == ["a", "b"]


def test_jsonl_of_nothing_has_no_rows() -> None:
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
def test_jsonl_that_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"^shop\.jsonl: not a readable jsonl manifest: .*{message}"):
        parse_manifest(data, "shop.jsonl", NO_RENAMES)


def test_a_compressed_file_that_is_none_says_so() -> None:
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(b"image\n", "shop.csv.gz", NO_RENAMES)
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(gzip.compress(b"image\na.jpg\n" * 50)[:-12], "shop.csv.gz", NO_RENAMES)
    with pytest.raises(SourceError, match=r"^shop\.csv\.gz: not a readable csv manifest"):
        parse_manifest(gzip.compress(b"image\n")[:10] + b"\xff" * 20, "shop.csv.gz", NO_RENAMES)
