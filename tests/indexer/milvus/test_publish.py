"""Tests of vitrine.indexer.milvus.publish: loading, switching, and dropping old collections."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.indexer.milvus.fake_client import FakeClient
from tests.indexes import SampleProduct, publish_samples
from vitrine.indexer.errors import StoreUnavailable
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.publish import publish_to_store
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder

ADDRESS = StoreAddress.parse("milvus://db:1234/shop")


def test_a_snapshot_is_loaded_once_and_then_only_switched_to(client: FakeClient, small_index: Path) -> None:
    folder = IndexFolder(small_index)
    first = publish_to_store(folder, ADDRESS, SilentProgress())
    assert (first.products, first.loaded, first.dropped) == (12, 12, [])
    assert client.aliases == {"shop": first.collection}
    assert len(client.collections[first.collection]) == 13  # the products and the state
    assert publish_to_store(folder, ADDRESS, SilentProgress()).loaded == 0


def test_collections_of_removed_snapshots_are_dropped(
    client: FakeClient, small_index: Path, samples: list[SampleProduct]
) -> None:
    folder = IndexFolder(small_index)
    first = publish_to_store(folder, ADDRESS, SilentProgress())
    publish_samples(small_index, samples[:5], Path("source"))
    folder.prune(1)
    second = publish_to_store(folder, ADDRESS, SilentProgress())
    assert (second.loaded, second.dropped) == (5, [first.snapshot])
    assert list(client.collections) == [second.collection]


def test_a_failed_load_leaves_the_alias_and_is_repeated_from_the_start(
    client: FakeClient, small_index: Path
) -> None:
    folder = IndexFolder(small_index)
    name = ADDRESS.collection_name(folder.current_name())
    client.collections[name] = {5: {}}
    client.failures_left = 100
    with pytest.raises(StoreUnavailable):
        publish_to_store(folder, ADDRESS, SilentProgress())
    assert client.aliases == {}
    client.failures_left = 0
    assert publish_to_store(folder, ADDRESS, SilentProgress()).loaded == 12
