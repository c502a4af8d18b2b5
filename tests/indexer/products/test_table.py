"""The table: look-ups against plain Python, round trips, tombstones, sources joined."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.assembly import assemble_table, join_products, sort_rows_by_id
from vitrine.indexer.products.failures import read_failures, write_failures
from vitrine.indexer.products.schema import Product
from vitrine.indexer.products.table import Table

NOW = dt.datetime(2026, 11, 22, 10, 30, tzinfo=dt.UTC)


def product(product_id: str, category: str = "tênis", **others: object) -> Product:
    fields = {
        "group": None,
        "image": f"/photos/{product_id}.jpg",
        "sha256": "00",
        "width_px": 3,
        "height_px": 4,
    }
    return Product(id=product_id, name=product_id.upper(), category=category, **(fields | others))  # type: ignore[arg-type]


def test_columns_of_few_rows_are_those_of_many() -> None:
    moment = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    products = [
        product(
            f"é{n:03d}",
            group=None if n % 3 else f"g{n}",
            attributes={"price": n / 2, "at": moment, "tags": ["a"]},
        )
        for n in range(90)
    ]
    table, names = Table.from_products(products), ("id", "group", "width", "price", "at", "tags")
    every = table.columns(names, np.arange(90))
    for rows in ([], [3], [80, 4, 4], list(range(60, 2, -1))):
        assert table.columns(names, np.array(rows, np.int64)) == [
            [column[row] for row in rows] for column in every
        ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1), unique=True))
def test_row_of_finds_every_id_and_no_other(ids: list[str]) -> None:
    table = Table.from_products([product(name) for name in ids])
    assert [table.row_of(name) for name in ids] == list(range(len(ids)))
    assert table.row_of("/") is None
    assert table.rows_of([*ids, "/"]).tolist() == [*range(len(ids)), -1]
    assert [table.ids()[row] for row in table.id_order] == sorted(ids)


def test_a_product_comes_back_as_it_went_in(tmp_path: Path) -> None:
    products = [
        product("a", group="g", attributes={"price": 9.5, "brand": "x", "in_stock": True}),
        product("b", "bolsa", deleted_at=NOW, attributes={"price": None, "brand": None, "in_stock": False}),
    ]
    Table.from_products(products).write(tmp_path / "t.parquet")
    table = Table.read(tmp_path / "t.parquet")
    assert [table.product(row) for row in range(2)] == products
    assert table.attribute_names == ("price", "brand", "in_stock")
    assert table.deleted.tolist() == [False, True]
    assert table.tombstones() == {"b": NOW}
    with pytest.raises(KeyError):
        table.attribute("name")


def test_categories_and_groups_are_coded() -> None:
    table = Table.from_products(
        [product("a", "z", group="g2"), product("b", "a"), product("c", "z", group="g1")]
    )
    assert table.categories == ("a", "z")
    assert table.category_codes.tolist() == [1, 0, 1]
    assert [table.groups[code] if code >= 0 else None for code in table.group_codes] == ["g2", None, "g1"]


def test_an_empty_table_answers() -> None:
    table = Table.from_products([])
    assert (len(table), table.row_of("a"), table.categories, table.deleted.tolist()) == (0, None, (), [])


def test_tombstones_change_only_the_copy() -> None:
    table = Table.from_products([product("a"), product("b", deleted_at=NOW)])
    changed = table.with_deletions({0: NOW, 1: None})
    assert changed.tombstones() == {"a": NOW}
    assert table.tombstones() == {"b": NOW}


def test_attributes_of_several_kinds_become_text() -> None:
    table = Table.from_products(
        [product("a", attributes={"size": 40}), product("b", attributes={"size": "M"})]
    )
    assert [table.product(row).attributes["size"] for row in range(2)] == ["40", "M"]


def test_a_table_without_a_core_column_is_refused(tmp_path: Path) -> None:
    arrow = Table.from_products([product("a")]).arrow.drop_columns(["sha256"])
    with pytest.raises(SnapshotCorrupt, match="sha256"):
        Table(arrow)
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(SnapshotCorrupt, match=r"t\.parquet"):
        Table.read(tmp_path / "t.parquet")


def columns(ids: list[str], **attributes: list[object]) -> pa.Table:
    text = pa.array(ids)
    fixed = {
        "id": text,
        "name": text,
        "category": text,
        "group": pa.nulls(len(ids), pa.string()),
        "image": text,
    }
    return pa.table({**fixed, **attributes})


def test_sources_join_and_an_attribute_of_two_types_becomes_text() -> None:
    joined = join_products(columns(["a"], price=[1.5], size=[40]), columns(["b"], size=["M"]))
    assert joined.column("size").to_pylist() == ["40", "M"]
    assert joined.column("price").to_pylist() == [1.5, None]


def test_assembled_rows_follow_the_order_asked() -> None:
    products = columns(["b", "a", "c"], price=[2, 1, 3])
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


def test_failures_round_trip(tmp_path: Path) -> None:
    write_failures(tmp_path / "none.parquet", [])
    write_failures(tmp_path / "one.parquet", [("a", "a.jpg", "empty file")])
    assert read_failures(tmp_path / "none.parquet") == []
    assert read_failures(tmp_path / "one.parquet") == [{"id": "a", "image": "a.jpg", "reason": "empty file"}]
