"""The fixture `client`: a Milvus server in memory, to which every connection leads."""

from __future__ import annotations

import pytest

from tests.indexer.milvus.fake_client import DATA_TYPES, FakeClient
from vitrine.indexer.milvus import collection, connection


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(connection, "_client_class", lambda: lambda **_: fake)
    monkeypatch.setattr(collection, "data_types", lambda: DATA_TYPES)
    monkeypatch.setattr(connection, "RETRY_PAUSE_S", 0.0)
    return fake
