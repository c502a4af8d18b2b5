"""Assembly of the product table from the columns of sources."""

import datetime as dt

import numpy as np
import pyarrow as pa

from vitrine.indexer.products.assembly import assemble_table, encode_column, join_products, sort_rows_by_id

NOW = dt.datetime(2026, 11, 22, 10, 30, tzinfo=dt.UTC)


def source_columns(ids: list[str], **attributes: list[object]) -> pa.Table:
    text = pa.array(ids)
    fixed = {
        "id": text,
        "name": text,
        "category": text,
        "group": pa.nulls(len(ids), pa.string()),
        "image": text,
    }
    return pa.table({**fixed, **attributes})


def test_an_attribute_of_two_types_becomes_text_in_joined_products() -> None:
    joined = join_products(source_columns(["a"], price=[1.5], size=[40]), source_columns(["b"], size=["M"]))
    assert joined.column("size").to_pylist() == ["40", "M"]
    assert joined.column("price").to_pylist() == [1.5, None]


def test_rows_are_assembled_in_the_given_order() -> None:
    products = source_columns(["b", "a", "c"], price=[2, 1, 3])
    rows = sort_rows_by_id(products, np.array([0, 1], np.int64))
    assert rows.tolist() == [1, 0]
    table = assemble_table(
        products,
        rows,
        images=["/a.jpg", "/b.jpg"],
        sha256=np.array([[1] * 32, [2] * 32], np.uint8),
        sizes_px=np.array([[3, 4], [5, 6]]),
        deleted_at={"b": NOW},
    )
    assert table.ids() == ["a", "b"]
    second = table.product(1)
    assert (second.sha256, second.width_px, second.height_px) == ("02" * 32, 5, 6)
    assert (second.deleted_at, second.attributes) == (NOW, {"price": 2})


def test_encode_column_returns_values_and_codes() -> None:
    products = source_columns(["a", "b", "c"]).set_column(3, "group", pa.array(["g", None, "h"]))
    values, codes = encode_column(products, "group", np.array([2, 1, 0, 2], np.int64))
    assert values == ["h", "g"]
    assert codes.tolist() == [0, -1, 1, 0]
