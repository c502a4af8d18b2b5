"""Tests of vitrine.indexer.operations.purge: no data of a product is left, even after an interruption."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder, write_upload
from tests.pictures import jpeg
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import InputError
from vitrine.indexer.operations import purge
from vitrine.indexer.operations.purge import purge_products
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("purge")
    photos = write_folder(root / "photos", categories=2, per_category=3)
    (photos / "c1" / "twin.jpg").write_bytes((photos / "c0" / "p1.jpg").read_bytes())
    build_folder(photos, root / "index")
    (photos / "c1" / "later.jpg").write_bytes(jpeg(64, 48, 80))
    build_folder(photos, root / "index")
    return root / "index"


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> IndexFolder:
    shutil.copytree(built, tmp_path / "index")
    return IndexFolder(tmp_path / "index")


def picture_digest(folder: IndexFolder, product_id: str) -> bytes:
    table = folder.open().table
    row = table.row_of(product_id)
    assert row is not None
    return bytes.fromhex(table.product(row).sha256)


def is_cached(folder: IndexFolder, digest: bytes) -> bool:
    with EmbeddingCache(folder.layout.cache) as cache:
        return cache.delete([digest]) > 0


def test_a_purged_product_is_removed_and_later_builds_skip_it(folder: IndexFolder, built: Path) -> None:
    digest = picture_digest(folder, "c0:p0")
    thumbnail = folder.layout.cache / "thumbnails" / f"{digest.hex()}-256.webp"
    thumbnail.parent.mkdir()
    thumbnail.write_bytes(b"picture")
    old = folder.snapshot_names()
    report = purge_products(folder, ["c0:p0"])
    assert (report.vectors, report.snapshots) == (1, old)
    assert report.cache_entries >= 1
    assert report.files == [f"cache/thumbnails/{digest.hex()}-256.webp"]
    assert folder.snapshot_names() == [report.snapshot]
    snapshot = folder.open(full_check=True)
    assert snapshot.table.row_of("c0:p0") is None
    assert len(snapshot.vectors) == snapshot.index.ntotal == 7
    assert not is_cached(folder, digest)
    again = build_folder(built.parent / "photos", folder.root)
    assert again.products == 7
    assert folder.open().table.row_of("c0:p0") is None


def record_recipe(folder: IndexFolder, **recorded: object) -> None:
    """Change the recipe in the manifest of the current snapshot."""
    manifest = folder.manifest()
    dataclasses.replace(manifest, recipe=manifest.recipe | recorded).write(
        folder.snapshot_path(folder.current_name())
    )


def test_the_index_keeps_its_recipe_and_the_reason_for_it(folder: IndexFolder) -> None:
    chosen = {"recipe": "codes", "factory": "SQ8", "why": "the quickest of 2", "tried": [{"recipe": "SQ8"}]}
    record_recipe(folder, **chosen)
    purge_products(folder, ["c0:p0"])
    recipe = folder.open().manifest.recipe
    assert {name: recipe[name] for name in chosen} == chosen
    assert recipe["parameters"]["family"] == "codes"


def test_another_recipe_is_chosen_if_too_few_products_are_left(folder: IndexFolder) -> None:
    record_recipe(folder, recipe="ivf", factory="IVF64,SQ8", why="the quickest of 2")
    purge_products(folder, ["c0:p0"])
    recipe = folder.open().manifest.recipe
    assert recipe["recipe"] == "flat"
    assert "so few" in recipe["why"]


def test_a_picture_of_two_products_is_kept(folder: IndexFolder) -> None:
    digest = picture_digest(folder, "c0:p1")
    purge_products(folder, ["c0:p1"])
    assert is_cached(folder, digest)
    assert folder.open().table.row_of("c1:twin") is not None


def test_an_upload_is_purged_from_the_journal_and_the_disk(folder: IndexFolder) -> None:
    record = write_upload(folder.root, "ab" * 32, jpeg(seed=70))
    record.product.update(id="novo", name="Segredo", sha256="ab" * 32)
    with folder.journal() as journal:
        journal.append("upload", ["novo"], upload=record)
    report = purge_products(folder, ["novo"])
    assert report.files == [f"uploads/{'ab' * 32}.jpg"]
    assert b"Segredo" not in folder.layout.journal.read_bytes()
    with folder.journal() as journal:
        assert [(change.kind, change.upload) for change in journal.changes_since(0)] == [
            ("upload", None),
            ("purge", None),
        ]
        assert journal.last_undoable_batch()[0].kind == "upload"


def test_the_id_of_a_purged_upload_can_be_used_again(folder: IndexFolder) -> None:
    def add(name: str) -> None:
        record = write_upload(folder.root, name, jpeg(seed=70))
        record.product.update(id="novo", name=name)
        key = folder.open().manifest.model.key
        with folder.journal() as journal:
            journal.append("upload", ["novo"], upload=dataclasses.replace(record, model=key, vector=vector))

    vector = np.array(folder.open().vectors[0], np.float32)
    add("Segredo")
    with Catalogue.open(folder.root) as running:
        running.delete("novo")
        running.move("c0:p1", "c1")
        purge_products(folder, ["novo"])
        running.reload()
        add("Outro")
        with Catalogue.open(folder.root) as later:
            for catalogue in (running, later):
                assert catalogue.product("novo")["name"] == "Outro"
                assert catalogue.product("c0:p1")["category"] == "c1"


def test_unknown_ids_and_the_last_product_are_refused(folder: IndexFolder) -> None:
    before = folder.current_name()
    with pytest.raises(InputError, match="no data is stored for 'nope'"):
        purge_products(folder, ["c0:p0", "nope"])
    with pytest.raises(InputError, match="all products"):
        purge_products(folder, folder.open().table.ids())
    assert folder.current_name() == before
    with folder.journal() as journal:
        assert journal.changes_since(0) == []


@pytest.mark.parametrize("step", ["_publish_without", "_remove_files"])
def test_the_same_command_finishes_an_interrupted_purge(
    folder: IndexFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    digest = picture_digest(folder, "c0:p0")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(purge, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            purge_products(folder, ["c0:p0"])
    report = purge_products(folder, ["c0:p0"])
    assert folder.snapshot_names() == [report.snapshot]
    assert not is_cached(folder, digest)
