"""CSV manifests: column_types, delimiters, encodings, decimal commas, blank rows and warnings."""

import logging

import pytest

from tests.indexer.source.manifests import column_types, read_csv


def test_types_are_inferred_and_ids_stay_text() -> None:
    table = read_csv(
        "id,image,price,stock,sale,since,brand\n"
        "007,a.jpg,1.5,3,true,2024-05-01,Água\n"
        "1e5,b.jpg,,,false,,\n"
        "NA,null,2,4,true,2024-05-02,NA\n"
    )
    assert column_types(table) == {
        "id": "string", "image": "string", "price": "double", "stock": "int64", "sale": "bool",
        "since": "date32[day]", "brand": "string",
    }  # fmt: skip
    assert table["id"].to_pylist() == ["007", "1e5", "NA"]
    assert table["image"].to_pylist() == ["a.jpg", "b.jpg", "null"]
    assert table["price"].to_pylist() == [1.5, None, 2.0]
    assert table["brand"].to_pylist() == ["Água", None, "NA"]


def test_types_are_inferred_from_all_rows_not_only_the_first_megabyte() -> None:
    rows = "".join(f"{i}.jpg,{i}\n" for i in range(120_000))
    assert column_types(read_csv("image,price\n" + rows + "x.jpg,1.5\n"))["price"] == "double"
    assert column_types(read_csv("image,price\n" + rows + "x.jpg,cheap\n"))["price"] == "string"


def test_codes_with_leading_zeros_stay_text() -> None:
    table = read_csv("image,ean,cep,n\na.jpg,0789,01310,10\nb.jpg,1,2,20\n")
    assert column_types(table) == {"image": "string", "ean": "string", "cep": "string", "n": "int64"}
    assert table["ean"].to_pylist() == ["0789", "1"]
    assert column_types(read_csv("image,note\na.jpg,007 films\n"))["note"] == "string"
    assert column_types(read_csv("image,share\na.jpg,0.5\n"))["share"] == "double"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_detected(delimiter: str) -> None:
    text = f'image{delimiter}"name{delimiter}x"{delimiter}n\na.jpg{delimiter}"A {delimiter} B"{delimiter}1\n'
    assert read_csv(text).to_pylist() == [{"image": "a.jpg", f"name{delimiter}x": f"A {delimiter} B", "n": 1}]


@pytest.mark.parametrize("cells", ['"1,50"', "1,50"])
def test_decimal_commas_of_a_brazilian_spreadsheet(cells: str) -> None:
    text = f"sep=;\r\nimage;preço;estoque\r\na.jpg;{cells};3\r\nb.jpg;2,25;4\r\n"
    expected = [
        {"image": "a.jpg", "preço": 1.5, "estoque": 3},
        {"image": "b.jpg", "preço": 2.25, "estoque": 4},
    ]
    assert read_csv(text).to_pylist() == expected
    assert read_csv(text.encode("utf-8-sig")).to_pylist() == expected
    assert read_csv(text.encode("utf-16")).to_pylist() == expected


def test_semicolons_with_decimal_points() -> None:
    assert read_csv("image;price\na.jpg;1.50\nb.jpg;2.25\n")["price"].to_pylist() == [1.5, 2.25]


def test_windows_1252_is_read_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = read_csv("image;name\na.jpg;Tênis €\n".encode("cp1252"))
    assert table["name"].to_pylist() == ["Tênis €"]
    assert "Windows-1252" in caplog.text


def test_cells_may_contain_line_breaks_and_quotes() -> None:
    assert read_csv('image,name\na.jpg,"two\nlines ""quoted"""\n')["name"].to_pylist() == [
        'two\nlines "quoted"'
    ]


def test_blank_rows_are_dropped() -> None:
    table = read_csv("id;image;price;note\n1;a.jpg;1;\n;;;\n2;;;x\n;;;\n;;;\n")
    assert table["id"].to_pylist() == ["1", "2"]
    assert table["note"].to_pylist() == [None, "x"]


def prices(*cells: str) -> str:
    return "image;price\n" + "".join(f"{number}.jpg;{cell}\n" for number, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "problem"),
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
def test_non_numeric_cells_of_a_column_of_numbers_are_logged(
    cells: list[str], problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    table = read_csv(prices(*cells))
    if problem is None:
        assert caplog.messages == []
    else:
        assert column_types(table)["price"] == "string"
        assert caplog.messages == [f"shop.csv: the column 'price' is text, not numbers: {problem}"]
