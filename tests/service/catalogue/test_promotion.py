"""Tests of follower and journal: a replica that becomes the writer, and journals that do not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.http_client import Client, assert_problem, make_client
from tests.indexes import GridEmbedder
from tests.pictures import jpeg
from vitrine.indexer.errors import JournalMismatch, SnapshotError
from vitrine.indexer.operations.compact import compact_snapshot
from vitrine.indexer.operations.replication import Remote, pull_snapshot, push_snapshot
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue, ServiceConfig, create_app


@pytest.fixture
def writer(small_index: Path, embedder: GridEmbedder) -> Path:
    """An index folder whose snapshot contains three changes."""
    with Catalogue.open(small_index, embedder=embedder) as catalogue:
        for product_id in ("p01", "p02", "p03"):
            catalogue.delete(product_id)
    compact_snapshot(IndexFolder(small_index), keep=3)
    return small_index


@pytest.fixture
def replica(writer: Path, tmp_path: Path) -> Path:
    """A folder pulled from the writer, without its journal."""
    push_snapshot(IndexFolder(writer), Remote(str(tmp_path / "remote")), SilentProgress())
    pull_snapshot(Remote(str(tmp_path / "remote")), IndexFolder(tmp_path / "replica"), SilentProgress())
    return tmp_path / "replica"


def client_of(catalogue: Catalogue) -> Client:
    return make_client(create_app(catalogue, ServiceConfig()))


def test_a_promoted_replica_obeys_every_change_that_it_acknowledges(
    replica: Path, embedder: GridEmbedder
) -> None:
    with Catalogue.open(replica, embedder=embedder) as catalogue:
        client = client_of(catalogue)
        assert_problem(client.get("/api/v1/products/p01"), 410, "deleted-product")
        assert client.delete("/api/v1/products/p04").status_code == 200
        assert_problem(client.get("/api/v1/products/p04"), 410, "deleted-product")
        assert "p04" not in {hit["id"] for hit in catalogue.similar("p05", limit=20)["hits"]}
        assert client.post("/api/v1/products/p01/restore").status_code == 200
        assert client.get("/api/v1/products/p01").status_code == 200
        added = catalogue.add(jpeg(40, 40, 8), name="new", category="x")
        assert catalogue.product(added["id"])["name"] == "new"
    with Catalogue.open(replica, embedder=embedder) as again:
        assert again.product(added["id"])["name"] == "new"
        assert {each["id"] for each in again.products(deleted=True)["products"]} == {"p02", "p03", "p04"}


def test_a_promoted_replica_refuses_later_snapshots_of_the_old_writer(
    writer: Path, replica: Path, embedder: GridEmbedder, tmp_path: Path
) -> None:
    with Catalogue.open(replica, embedder=embedder) as promoted:
        promoted.delete("p04")
        with Catalogue.open(writer, embedder=embedder) as old:
            for product_id in ("p05", "p06"):
                old.delete(product_id)
        compact_snapshot(IndexFolder(writer), keep=3)
        push_snapshot(IndexFolder(writer), Remote(str(tmp_path / "remote")), SilentProgress())
        pull_snapshot(Remote(str(tmp_path / "remote")), IndexFolder(replica), SilentProgress())
        with pytest.raises(SnapshotError, match="does not open"):
            promoted.reload()
        assert "p04" in {each["id"] for each in promoted.products(deleted=True)["products"]}
        assert promoted.product("p05")["deleted_at"] is None


def test_a_replica_without_changes_of_its_own_follows_the_writer(
    writer: Path, replica: Path, embedder: GridEmbedder, tmp_path: Path
) -> None:
    with Catalogue.open(replica, embedder=embedder) as catalogue:
        with Catalogue.open(writer, embedder=embedder) as old:
            old.delete("p07")
        compact_snapshot(IndexFolder(writer), keep=3)
        push_snapshot(IndexFolder(writer), Remote(str(tmp_path / "remote")), SilentProgress())
        pull_snapshot(Remote(str(tmp_path / "remote")), IndexFolder(replica), SilentProgress())
        catalogue.reload()
        assert "p07" in {each["id"] for each in catalogue.products(deleted=True)["products"]}
        catalogue.delete("p08")
        assert "p08" in {each["id"] for each in catalogue.products(deleted=True)["products"]}


def test_an_older_copy_of_the_journal_is_refused(
    small_index: Path, embedder: GridEmbedder, tmp_path: Path
) -> None:
    with Catalogue.open(small_index, embedder=embedder) as catalogue:
        catalogue.delete("p01")
    shutil.copy(small_index / "journal.sqlite", tmp_path / "older.sqlite")
    with Catalogue.open(small_index, embedder=embedder) as catalogue:
        catalogue.delete("p02")
    compact_snapshot(IndexFolder(small_index), keep=3)
    for path in small_index.glob("journal.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "older.sqlite", small_index / "journal.sqlite")
    with pytest.raises(
        JournalMismatch, match="ends at change 1, but a snapshot contains the changes up to 2"
    ):
        Catalogue.open(small_index, embedder=embedder)


def test_a_journal_removed_while_serving_stops_writes_and_readiness(catalogue: Catalogue) -> None:
    client = client_of(catalogue)
    assert client.delete("/api/v1/products/p01").status_code == 200
    for path in catalogue.follower.folder.root.glob("journal.sqlite*"):
        path.unlink()
    assert_problem(client.delete("/api/v1/products/p02"), 503, "store-unavailable")
    assert client.get("/readyz").status_code == 503
    assert_problem(client.get("/api/v1/products/p01"), 410, "deleted-product")
    assert client.get("/api/v1/products/p02").status_code == 200
