"""The product table: look-ups compared with plain Python, round trips, and changed copies."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.indexer.errors import SnapshotCorrupt
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


def test_columns_of_few_rows_equal_those_of_many() -> None:
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
    all_rows = table.columns(names, np.arange(90))
    for rows in ([], [3], [80, 4, 4], list(range(60, 2, -1))):
        assert table.columns(names, np.array(rows, np.int64)) == [
            [column[row] for row in rows] for column in all_rows
        ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1), unique=True))
def test_row_of_finds_known_ids_only(ids: list[str]) -> None:
    table = Table.from_products([product(name) for name in ids])
    assert [table.row_of(name) for name in ids] == list(range(len(ids)))
    assert table.row_of("/") is None
    assert table.rows_of([*ids, "/"]).tolist() == [*range(len(ids)), -1]
    assert [table.ids()[row] for row in table.id_order] == sorted(ids)


def test_products_round_trip(tmp_path: Path) -> None:
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


def test_category_and_group_codes() -> None:
    table = Table.from_products(
        [product("a", "z", group="g2"), product("b", "a"), product("c", "z", group="g1")]
    )
    assert table.categories == ("a", "z")
    assert table.category_codes.tolist() == [1, 0, 1]
    assert [table.groups[code] if code >= 0 else None for code in table.group_codes] == ["g2", None, "g1"]


def test_an_empty_table() -> None:
    table = Table.from_products([])
    assert (len(table), table.row_of("a"), table.categories, table.deleted.tolist()) == (0, None, (), [])


def test_with_deletions_returns_a_changed_copy() -> None:
    table = Table.from_products([product("a"), product("b", deleted_at=NOW)])
    changed = table.with_deletions({0: NOW, 1: None})
    assert changed.tombstones() == {"a": NOW}
    assert table.tombstones() == {"b": NOW}


def test_drop_rows_renumbers_the_remaining_rows() -> None:
    table = Table.from_products([product("a"), product("b", deleted_at=NOW), product("c")])
    remaining = table.drop_rows(np.array([0], np.int64))
    assert (remaining.ids(), remaining.column("row")) == (["b", "c"], [0, 1])
    assert remaining.tombstones() == {"b": NOW}
    assert len(table) == 3


def test_attribute_values_of_several_types_become_text() -> None:
    table = Table.from_products(
        [product("a", attributes={"size": 40}), product("b", attributes={"size": "M"})]
    )
    assert [table.product(row).attributes["size"] for row in range(2)] == ["40", "M"]


def test_a_table_without_a_core_column_is_corrupt(tmp_path: Path) -> None:
    arrow = Table.from_products([product("a")]).arrow.drop_columns(["sha256"])
    with pytest.raises(SnapshotCorrupt, match="sha256"):
        Table(arrow)
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(SnapshotCorrupt, match=r"t\.parquet"):
        Table.read(tmp_path / "t.parquet")
