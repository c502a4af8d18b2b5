"""The demo catalogue of the repository: its manifest, its pictures and the script that draws them."""

from __future__ import annotations

import csv
import importlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.paths import DEMO, ROOT

DATA = ROOT / "data"
SIZE_PX = 384
MAX_BYTES = 3_000_000
# JPEG at quality 82 changes a pixel by less than 2 levels on average; another picture differs by more than
# 10.
MAX_MEAN_DIFFERENCE = 3.0
COLUMNS = ["id", "name", "category", "image", "group", "price", "brand", "colour", "in_stock"]
CATEGORIES = [
    "Tênis",
    "Camiseta",
    "Jaqueta",
    "Vestido",
    "Bolsa",
    "Relógio",
    "Óculos",
    "Perfume",
    "Boné",
    "Caneca",
]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (DEMO / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """Import the script with the same module path as `python data/make_demo.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DATA))
        yield importlib.import_module("make_demo")


def test_manifest_has_the_documented_columns(rows: list[dict[str, str]]) -> None:
    assert list(rows[0]) == COLUMNS
    assert all(value for row in rows for value in row.values())


def test_the_manifest_lists_the_pictures_of_the_folder(rows: list[dict[str, str]]) -> None:
    assert sorted(row["image"] for row in rows) == sorted(path.name for path in DEMO.glob("*.jpg"))
    assert {path.suffix for path in DEMO.iterdir()} == {".jpg", ".csv"}


def test_ids_and_names_are_unique_and_pictures_are_named_by_id(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert re.fullmatch(r"[a-z]+_\d\d", row["id"])
        assert row["image"] == f"{row['id']}.jpg"
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["name"] for row in rows}) == len(rows)


def test_there_are_enough_products_in_every_category(rows: list[dict[str, str]]) -> None:
    counts = Counter(row["category"] for row in rows)
    assert list(counts) == CATEGORIES
    assert 160 <= len(rows) <= 220
    assert min(counts.values()) >= 16


def test_every_file_prefix_stands_for_one_category(rows: list[dict[str, str]]) -> None:
    pairs = {(row["id"].partition("_")[0], row["category"]) for row in rows}
    assert len(pairs) == len(CATEGORIES)


def test_every_group_has_three_variants_of_one_category_and_brand(rows: list[dict[str, str]]) -> None:
    assert min(Counter(row["group"] for row in rows).values()) >= 3
    groups = {(row["group"], row["category"], row["brand"]) for row in rows}
    assert len(groups) == len({row["group"] for row in rows})


def test_prices_and_stock_are_valid(rows: list[dict[str, str]]) -> None:
    assert all(0 < float(row["price"]) < 1000 for row in rows)
    stock = Counter(row["in_stock"] for row in rows)
    assert set(stock) == {"true", "false"}
    assert 0.06 < stock["false"] / len(rows) < 0.18


def test_the_catalogue_is_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < MAX_BYTES


def test_every_picture_opens_at_the_stated_size(rows: list[dict[str, str]]) -> None:
    for row in rows:
        with Image.open(DEMO / row["image"]) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (SIZE_PX, SIZE_PX))


def test_the_script_writes_the_committed_manifest(script: ModuleType, tmp_path: Path) -> None:
    script.write_manifest(script.all_products(), tmp_path / "catalogue.csv")
    assert (tmp_path / "catalogue.csv").read_bytes() == (DEMO / "catalogue.csv").read_bytes()


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_script_draws_the_committed_picture(script: ModuleType, category: str) -> None:
    product = next(product for product in script.all_products() if product.family.category == category)
    drawn = np.asarray(script.draw_product(product), np.float64)
    with Image.open(DEMO / product.image) as image:
        committed = np.asarray(image, np.float64)
    assert np.abs(drawn - committed).mean() < MAX_MEAN_DIFFERENCE


def test_drawing_twice_gives_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    product = script.all_products()[-1]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        script.write_picture(product, folder)
    assert (first / product.image).read_bytes() == (second / product.image).read_bytes()
