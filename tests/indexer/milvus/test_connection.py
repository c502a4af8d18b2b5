"""Tests of vitrine.indexer.milvus.connection: retries, errors of one line, and new clients."""

from __future__ import annotations

import os

import pytest

from tests.indexer.milvus.fake_client import FakeClient
from vitrine.indexer.errors import StoreUnavailable
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.connection import ATTEMPTS, Connection

ADDRESS = StoreAddress.parse("milvus://db:1234/shop")


def test_a_call_is_repeated_until_it_succeeds(client: FakeClient) -> None:
    client.failures_left = ATTEMPTS - 1
    assert Connection(ADDRESS).call("has_collection", "shop") is False
    assert client.calls == ["has_collection"] * ATTEMPTS


def test_the_last_failure_is_an_error_of_one_line(client: FakeClient) -> None:
    client.failures_left = 10
    message = r"^Milvus at http://db:1234 does not answer \(has_collection: no route to host second line\)$"
    with pytest.raises(StoreUnavailable, match=message):
        Connection(ADDRESS).call("has_collection", "shop", attempts=2)
    assert len(client.calls) == 2


def test_a_closed_connection_opens_a_new_client_at_the_next_call(client: FakeClient) -> None:
    connection = Connection(ADDRESS)
    connection.close()
    assert client.closed_count == 0
    connection.call("has_collection", "shop")
    connection.close()
    assert client.closed_count == 1
    assert connection.call("has_collection", "shop") is False


def test_a_forked_process_does_not_use_the_client_of_its_parent(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(ADDRESS)
    first = connection._open_client()
    monkeypatch.setattr("vitrine.indexer.milvus.connection._client_class", lambda: FakeClient)
    assert connection._open_client() is first
    monkeypatch.setattr(os, "getpid", lambda: -2)
    assert connection._open_client() is not first
