"""Tests of vitrine.indexer.milvus.address: valid and invalid URIs, and hidden passwords."""

from __future__ import annotations

import pytest

from vitrine.indexer.errors import InputError
from vitrine.indexer.milvus.address import StoreAddress


@pytest.mark.parametrize(
    ("uri", "endpoint", "collection", "token"),
    [
        ("milvus://db:1234/shop", "http://db:1234", "shop", ""),
        ("milvus://db/shop", "http://db:19530", "shop", ""),
        ("milvus+tls://me:p%40ss@[::1]:1/shop_2", "https://[::1]:1", "shop_2", "me:p@ss"),
        ("milvus:///data/it.db/shop", "/data/it.db", "shop", ""),
    ],
)
def test_valid_addresses(uri: str, endpoint: str, collection: str, token: str) -> None:
    address = StoreAddress.parse(uri)
    assert (address.endpoint, address.collection, address.token) == (endpoint, collection, token)
    assert "p@ss" not in f"{address} {address!r}"
    assert (
        address.snapshot_name(address.collection_name("20260101T010203004Z-ab12"))
        == "20260101T010203004Z-ab12"
    )
    assert address.snapshot_name(collection) is None


@pytest.mark.parametrize(
    "uri",
    ["milvus://", "http://db/shop", "milvus://db", "milvus://db/a-b", "milvus:///shop", "milvus://db:x/shop",
     "milvus://db:1/a/b", "faiss2", "milvus://db/shop?x=1", "milvus://me:secret@db/no-good"],
)  # fmt: skip
def test_invalid_addresses(uri: str) -> None:
    with pytest.raises(InputError) as error:
        StoreAddress.parse(uri)
    assert "secret" not in str(error.value)
