"""Purging: nothing of a product is left below the index folder, and a kill in between is made good."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.indexer.build.test_build import upload
from tests.pictures import jpeg
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import InputError
from vitrine.indexer.operations import purge as module
from vitrine.indexer.operations.purge import purge
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.service import Catalogue


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("purge")
    photos = write_folder(root / "photos", categories=2, each=3)
    (photos / "c1" / "twin.jpg").write_bytes((photos / "c0" / "p1.jpg").read_bytes())
    build_folder(photos, root / "index")
    (photos / "c1" / "later.jpg").write_bytes(jpeg(64, 48, 80))
    build_folder(photos, root / "index")
    return root / "index"


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> IndexFolder:
    shutil.copytree(built, tmp_path / "index")
    return IndexFolder(tmp_path / "index")


def content(folder: IndexFolder, product_id: str) -> bytes:
    table = folder.open().table
    row = table.row_of(product_id)
    assert row is not None
    return bytes.fromhex(table.product(row).sha256)


def in_cache(folder: IndexFolder, sha: bytes) -> bool:
    with EmbeddingCache.open(folder.layout.cache) as cache:
        return cache.forget([sha]) > 0


def test_a_purged_product_is_nowhere_and_stays_away(folder: IndexFolder, built: Path) -> None:
    sha = content(folder, "c0:p0")
    thumbnail = folder.layout.cache / "thumbnails" / f"{sha.hex()}-256.webp"
    thumbnail.parent.mkdir()
    thumbnail.write_bytes(b"picture")
    old = folder.names()
    report = purge(folder, ["c0:p0"])
    assert (report.vectors, report.snapshots) == (1, old)
    assert report.cache_entries >= 1
    assert report.files == [f"cache/thumbnails/{sha.hex()}-256.webp"]
    assert folder.names() == [report.snapshot]
    snapshot = folder.open(full_check=True)
    assert snapshot.table.row_of("c0:p0") is None
    assert len(snapshot.vectors) == snapshot.index.ntotal == 7
    assert not in_cache(folder, sha)
    again = build_folder(built.parent / "photos", folder.root)
    assert again.products == 7
    assert folder.open().table.row_of("c0:p0") is None


def record_recipe(folder: IndexFolder, **recorded: object) -> None:
    """Let the manifest of the live snapshot say something else of its recipe."""
    manifest = folder.manifest()
    dataclasses.replace(manifest, recipe=manifest.recipe | recorded).write(folder.path_of(folder.current()))


def test_the_index_keeps_its_recipe_and_the_reason_for_it(folder: IndexFolder) -> None:
    chosen = {"recipe": "codes", "factory": "SQ8", "why": "the quickest of 2", "tried": [{"recipe": "SQ8"}]}
    record_recipe(folder, **chosen)
    purge(folder, ["c0:p0"])
    recipe = folder.open().manifest.recipe
    assert {name: recipe[name] for name in chosen} == chosen
    assert recipe["parameters"]["family"] == "codes"


def test_another_recipe_is_chosen_where_too_little_is_left_for_it(folder: IndexFolder) -> None:
    record_recipe(folder, recipe="ivf", factory="IVF64,SQ8", why="the quickest of 2")
    purge(folder, ["c0:p0"])
    recipe = folder.open().manifest.recipe
    assert recipe["recipe"] == "flat"
    assert "so few" in recipe["why"]


def test_a_picture_that_another_product_has_too_is_kept(folder: IndexFolder) -> None:
    sha = content(folder, "c0:p1")
    purge(folder, ["c0:p1"])
    assert in_cache(folder, sha)
    assert folder.open().table.row_of("c1:twin") is not None


def test_an_upload_is_purged_from_the_journal_and_the_disk(folder: IndexFolder) -> None:
    record = upload(folder.root, "ab" * 32, jpeg(seed=70))
    record.product.update(id="novo", name="Segredo", sha256="ab" * 32)
    with folder.journal() as journal:
        journal.append("upload", ["novo"], upload=record)
    report = purge(folder, ["novo"])
    assert report.files == [f"uploads/{'ab' * 32}.jpg"]
    assert b"Segredo" not in folder.layout.journal.read_bytes()
    with folder.journal() as journal:
        assert [(change.kind, change.upload) for change in journal.since(0)] == [
            ("upload", None),
            ("purge", None),
        ]
        assert journal.last_undoable()[0].kind == "upload"


def test_the_id_of_a_purged_upload_can_be_used_again(folder: IndexFolder) -> None:
    def add(name: str) -> None:
        record = upload(folder.root, name, jpeg(seed=70))
        record.product.update(id="novo", name=name)
        key = folder.open().manifest.model.key
        with folder.journal() as journal:
            journal.append("upload", ["novo"], upload=dataclasses.replace(record, model=key, vector=vector))

    vector = np.array(folder.open().vectors[0], np.float32)
    add("Segredo")
    with Catalogue.open(folder.root) as running:
        running.delete("novo")
        running.move("c0:p1", "c1")
        purge(folder, ["novo"])
        running.reload()
        add("Outro")
        with Catalogue.open(folder.root) as later:
            for each in (running, later):
                assert each.product("novo")["name"] == "Outro"
                assert each.product("c0:p1")["category"] == "c1"


def test_unknown_ids_and_the_last_product_are_refused(folder: IndexFolder) -> None:
    before = folder.current()
    with pytest.raises(InputError, match="nothing is stored of 'nope'"):
        purge(folder, ["c0:p0", "nope"])
    with pytest.raises(InputError, match="all the products"):
        purge(folder, folder.open().table.ids())
    assert folder.current() == before
    with folder.journal() as journal:
        assert journal.since(0) == []


@pytest.mark.parametrize("step", ["_rewrite", "_remove_files"])
def test_a_kill_in_between_is_finished_by_the_same_command(
    folder: IndexFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sha = content(folder, "c0:p0")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(KeyboardInterrupt):
            purge(folder, ["c0:p0"])
    report = purge(folder, ["c0:p0"])
    assert folder.names() == [report.snapshot]
    assert not in_cache(folder, sha)
