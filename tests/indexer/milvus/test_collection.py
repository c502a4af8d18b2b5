"""Tests of vitrine.indexer.milvus.collection: stored values, entities, sequences and the alias."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from tests.indexer.milvus.fake_client import FakeClient
from tests.queries_view import product
from vitrine.indexer.milvus import collection as module
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.collection import (
    FLAT_ROWS,
    TEXT_MAX_BYTES,
    Alias,
    Collection,
    stored_attributes,
    stored_number,
    stored_text,
    to_entity,
)
from vitrine.indexer.milvus.connection import Connection

CONNECTION = Connection(StoreAddress.parse("milvus://db:1234/shop"))
VECTORS = np.eye(4, dtype=np.float32)


@pytest.fixture
def collection(client: FakeClient) -> Collection:
    created = Collection(Connection(CONNECTION.address), "shop_1")
    created.create(4)
    return created


@pytest.mark.parametrize("value", [None, 3, "line\nbreak", "x" * (TEXT_MAX_BYTES + 1)])
def test_some_values_are_not_stored_as_text(value: Any) -> None:
    assert stored_text(value) is None
    assert stored_text("ção") == "ção"


@pytest.mark.parametrize("value", [None, True, "3", 2**53 + 1, float("nan"), float("inf")])
def test_some_values_are_not_stored_as_numbers(value: Any) -> None:
    assert stored_number(value) is None
    assert stored_number(2**53) == 2.0**53


def test_attributes_that_conditions_cannot_use_are_left_out() -> None:
    attributes = {
        "price": 3,
        "new": True,
        "brand": "acme",
        "since": dt.date(2024, 5, 1),
        "none": None,
        "\n": 1,
    }
    assert stored_attributes(attributes) == {"price": 3.0, "new": True, "brand": "acme"}


def test_large_inserts_are_split_into_messages(
    client: FakeClient, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MESSAGE_MAX_BYTES", 2 * (4 * 4 + 2 * TEXT_MAX_BYTES))
    collection.insert([to_entity(row, product(f"p{row}"), VECTORS[row], deleted=False) for row in range(4)])
    assert client.calls == ["upsert", "upsert"]
    assert sorted(client.collections["shop_1"]) == [0, 1, 2, 3]


def test_a_collection_is_incomplete_until_its_sequence_is_recorded(collection: Collection) -> None:
    assert Collection(Connection(CONNECTION.address), "shop_2").read_sequence() is None
    assert collection.read_sequence() is None
    collection.record_sequence(7, 4)
    assert collection.read_sequence() == 7


def test_a_search_returns_the_best_entities_but_never_the_state(collection: Collection) -> None:
    collection.insert(
        [to_entity(row, product(f"p{row}"), VECTORS[row], deleted=row == 3) for row in range(4)]
    )
    collection.record_sequence(1, 4)
    best, empty = collection.search(np.array([[0.6, 0.8, 0, 0], [0, 0, 0, 1]], np.float32), 2, "")
    assert best.rows.tolist() == [1, 0]
    assert best.scores.tolist() == pytest.approx([0.8, 0.6])
    assert empty.scores.tolist() == [0, 0]


def test_a_large_collection_has_a_graph_index(client: FakeClient, collection: Collection) -> None:
    collection.load(FLAT_ROWS)
    assert client.index_type == "FLAT"
    collection.load(FLAT_ROWS + 1)
    assert client.index_type == "HNSW"


def test_the_alias_is_switched_from_one_collection_to_another(client: FakeClient) -> None:
    alias = Alias(Connection(CONNECTION.address))
    assert alias.target() is None
    for name in ("shop_20260101T010203004Z_ab12", "shop_20260102T010203004Z_ab12"):
        Collection(Connection(CONNECTION.address), name).create(4)
        alias.switch_to(name)
        assert alias.target() == name
    client.collections["other"] = {}
    assert sorted(alias.collections()) == ["20260101T010203004Z-ab12", "20260102T010203004Z-ab12"]
