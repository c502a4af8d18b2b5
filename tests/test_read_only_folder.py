"""Read-only index folders: they are served, and the changes of a writer elsewhere are followed."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http_client import Client, assert_problem, make_client
from tests.indexes import GridEmbedder
from tests.pictures import jpeg
from tests.service.test_cli import get, running
from vitrine.indexer.errors import StoreUnavailable
from vitrine.indexer.journal.reader import JournalReader
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue, ServiceConfig, create_app

API = "/api/v1"


@pytest.fixture
def mounted(small_index: Path, tmp_path: Path) -> Iterator[Path]:
    """Mount the small index read-only at another path; skip the test where that is not permitted."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    bind = ["mount", "--bind", str(small_index), str(folder)]
    if shutil.which("mount") is None or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("a folder cannot be mounted here")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def reader(mounted: Path) -> Iterator[Client]:
    with Catalogue.open(mounted, embedder=GridEmbedder()) as catalogue:
        yield make_client(create_app(catalogue, ServiceConfig(read_only=True)))


def similar_ids(client: Client) -> set[str]:
    response = client.get(f"{API}/products/p00/similar?limit=100").json
    return {hit["id"] for hit in response["hits"]}


@pytest.mark.parametrize("journal", ["none", "closed", "of a killed writer"])
def test_the_service_starts_on_a_read_only_folder(
    small_index: Path, mounted: Path, tmp_path: Path, journal: str
) -> None:
    if journal != "none":
        with IndexFolder(small_index).journal() as written:
            written.append("delete", ["p03"])
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{written.path}{suffix}", tmp_path / f"copy{suffix}")
    if journal == "of a killed writer":
        assert (tmp_path / "copy-wal").stat().st_size
        for suffix in ("", "-wal"):
            shutil.copyfile(tmp_path / f"copy{suffix}", small_index / f"journal.sqlite{suffix}")
    with running(mounted, "--read-only") as started:
        answer = get(f"{started['url']}{API}/products/p00/similar?limit=100")
        assert answer["returned"] == (11 if journal == "none" else 10)
        assert get(f"{started['url']}/readyz")["status"] == "ready"
        assert get(f"{started['url']}{API}/status")["journal_sequence"] == (0 if journal == "none" else 1)


def test_reading_writes_no_file(reader: Client, mounted: Path) -> None:
    assert len(similar_ids(reader)) == 11
    assert reader.get(f"{API}/products/p01/image?size=64").status_code == 200
    form = {"image": (io.BytesIO(jpeg(48, 32, 1)), "a.jpg")}
    assert reader.post(f"{API}/search/image", data=form).json["hits"][0]["id"] == "p01"
    assert_problem(reader.delete(f"{API}/products/p01"), 403, "write-forbidden")
    assert reader.get(f"{API}/changes").json == {"changes": []}
    assert not [path for path in mounted.iterdir() if path.name.startswith("journal")]


def test_changes_of_a_writer_elsewhere_appear(reader: Client, small_index: Path) -> None:
    before = similar_ids(reader)
    with Catalogue.open(small_index, embedder=GridEmbedder()) as writer:
        writer.delete("p05")
        assert similar_ids(reader) == before - {"p05"}
        added = writer.add(jpeg(60, 40, 77), name="Nova bolsa", category="bolsa")
        assert similar_ids(reader) == before - {"p05"} | {added["id"]}
        writer.restore("p05")
        assert similar_ids(reader) == before | {added["id"]}
    assert similar_ids(reader) == before | {added["id"]}
    kinds = [change["kind"] for change in reader.get(f"{API}/changes").json["changes"]]
    assert kinds == ["restore", "upload", "delete"]


def test_a_change_to_a_read_only_folder_is_an_error(mounted: Path) -> None:
    with Catalogue.open(mounted, embedder=GridEmbedder()) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        assert_problem(client.delete(f"{API}/products/p01"), 503, "store-unavailable")
    with IndexFolder(mounted).journal() as journal:
        assert isinstance(journal, JournalReader)
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            journal.append("delete", ["p01"])
