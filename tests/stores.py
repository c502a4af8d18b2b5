"""A catalogue with unusual names and values, an oracle for it, and the stores of the contract tests."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.indexes import MODEL, publish
from tests.milvus_server import MilvusServer, running_server
from tests.queries_view import view_from_products
from tests.vectors import clustered
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.publish import publish_to_store
from vitrine.indexer.products.schema import Product
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.stores import Store
from vitrine.service.stores.embedded import EmbeddedStore
from vitrine.service.stores.milvus import MilvusStore

DIMENSION = 32
COUNT = 240
CATEGORIES = ("tênis", 'bolsa "a\\b"', "x' or deleted == true or 'y", "relógio", "{}[%s]\t")
BRANDS = ("acme", 'say "hi"', "back\\slash", "' or 1 == 1", "ção", "", "line\nbreak")


def make_catalogue(seed: int = 0, count: int = COUNT) -> tuple[list[Product], np.ndarray]:
    """Return products with hostile names and missing attributes, and their vectors, a tenth of them equal."""
    random = np.random.default_rng(seed)
    vectors = clustered(count, DIMENSION, seed, clusters=8)
    vectors[1::20] = vectors[0::20]
    products = []
    for number in range(count):
        attributes: dict[str, Any] = {
            "price": None if number % 7 == 0 else round(float(random.uniform(0, 100)), 2),
            "stock": None if number % 11 == 0 else int(random.integers(-3, 9)),
            "brand": None if number % 5 == 0 else BRANDS[number % len(BRANDS)],
            "in_stock": None if number % 13 == 0 else bool(number % 3),
            "since": dt.date(2024, 1 + number % 12, 1),
            'odd "name"': BRANDS[number % 3],
        }
        products.append(
            Product(
                id=f"p{(number * 37) % count:03d}",
                name=f"product {number}",
                category=CATEGORIES[number % len(CATEGORIES)],
                group=f"g{number // 3}" if number % 4 else None,
                image=f"/pictures/{number}.jpg",
                sha256="0" * 64,
                width_px=10,
                height_px=10,
                deleted_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC) if number % 17 == 0 else None,
                attributes=attributes,
            )
        )
    return products, vectors


class StoreSetup:
    """An index folder and the store that holds its current snapshot. uri: "faiss", or of Milvus."""

    def __init__(self, index: Path, uri: str) -> None:
        self.folder = IndexFolder(index)
        self.uri = uri

    def publish(self, products: list[Product], vectors: np.ndarray, *, load: bool = True) -> str:
        name = publish(self.folder.root, products, vectors, self.folder.root / "source")
        if load:
            self.load()
        return name

    def load(self) -> Any:
        """Load the current snapshot into the store, if it is not the embedded one."""
        if self.uri == "faiss":
            return None
        return publish_to_store(self.folder, StoreAddress.parse(self.uri), SilentProgress())

    def make_store(self, scan_rows: int = 0) -> Store:
        if self.uri == "faiss":
            return EmbeddedStore()
        return MilvusStore.from_uri(self.uri, scan_rows=scan_rows)

    def open(self, scan_rows: int = 0) -> SnapshotFollower:
        return SnapshotFollower(self.folder, self.make_store(scan_rows))


class Oracle:
    """The expected products after every change, searched by brute force."""

    def __init__(self, products: list[Product], vectors: np.ndarray) -> None:
        self.products = list(products)
        self.vectors = vectors
        self.live = np.array([product.deleted_at is None for product in products])
        self.base = len(products)

    def view(self) -> Any:
        """Return a view of the products."""
        return view_from_products(self.products, self.vectors, self.live, self.base)

    def set_live(self, product_id: str, is_live: bool) -> None:
        self.live[[product.id for product in self.products].index(product_id)] = is_live

    def move(self, product_id: str, category: str) -> str:
        """Change the category of a product; return the previous one."""
        row = [product.id for product in self.products].index(product_id)
        before = self.products[row].category
        self.products[row] = dataclasses.replace(self.products[row], category=category)
        return before

    def add(self, product: Product, vector: np.ndarray) -> None:
        self.products.append(product)
        self.vectors = np.concatenate([self.vectors, vector[None]])
        self.live = np.append(self.live, True)


def make_upload(product: Product, vector: np.ndarray) -> Upload:
    """Return the record of an uploaded product."""
    fields = {field.name: getattr(product, field.name) for field in dataclasses.fields(product)}
    del fields["deleted_at"]
    fields["attributes"] = {key: value for key, value in product.attributes.items() if key != "since"}
    return Upload(fields, MODEL.key, vector)


def skip_without(*packages: str) -> None:
    """Skip the test if a package is not installed."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")


def run_server(folder: Path) -> Iterator[MilvusServer]:
    """Yield a running Milvus server; stop it and remove its data afterwards."""
    skip_without("pymilvus", "milvus")
    with running_server(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)
