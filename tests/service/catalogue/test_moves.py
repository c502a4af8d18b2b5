"""Moves of products between categories: in every answer, undone, and kept by builds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.catalogues import build_folder, write_folder, write_upload
from tests.http_client import Client, assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct, publish_samples
from tests.pictures import jpeg
from vitrine.indexer.operations.compact import compact_snapshot
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Caller, Catalogue, ServiceConfig, create_app
from vitrine.service.errors import NothingToUndo

MOVES = {"p03": "chapéu", "p04": "chapéu", "p01": "tênis", "p02": "", "p05": "relógio"}
QUERIES: list[Callable[[Catalogue], Any]] = [
    lambda catalogue: catalogue.product("p03"),
    lambda catalogue: catalogue.similar("p03", same_category=True, limit=20),
    lambda catalogue: catalogue.similar("p00", same_category=True, limit=20),
    lambda catalogue: catalogue.similar("p06", limit=20),
    lambda catalogue: catalogue.search(product="p00", category=["chapéu", "tênis"], limit=20),
    lambda catalogue: catalogue.search(text="chapeu", limit=20),
    lambda catalogue: catalogue.products(q="chapéu"),
    lambda catalogue: catalogue.products(q="chapeo"),
    lambda catalogue: catalogue.products(q="tenis", limit=20),
    lambda catalogue: catalogue.products(q="bolsa 03", limit=20),
    lambda catalogue: catalogue.products(category=["chapéu"], limit=20),
    lambda catalogue: catalogue.products(limit=20),
    lambda catalogue: catalogue.categories(),
    lambda catalogue: catalogue.matrix(),
    lambda catalogue: catalogue.matrix(linkage="mean"),
    lambda catalogue: catalogue.pairs(a="chapéu", b="tênis"),
    lambda catalogue: catalogue.projection(category=["chapéu", "tênis", ""], fit="selection"),
    lambda catalogue: catalogue.projection(limit=4),
    lambda catalogue: catalogue.status()["categories"],
]


def comparable(answer: Any) -> Any:
    """Return an answer without what two snapshots never share."""
    if isinstance(answer, dict):
        left_out = ("snapshot", "took_ms", "confidence", "explained_variance_ratio")
        return {key: comparable(value) for key, value in answer.items() if key not in left_out}
    if isinstance(answer, list):
        return [comparable(each) for each in answer]
    return pytest.approx(answer, abs=1e-5) if isinstance(answer, float) else answer


def move_all(catalogue: Catalogue) -> None:
    for category in dict.fromkeys(MOVES.values()):
        catalogue.move([name for name, each in MOVES.items() if each == category], category)


@pytest.fixture
def expected(samples: list[SampleProduct], small_source: Path, tmp_path: Path) -> Catalogue:
    """The catalogue as if its source had said so."""
    put = [
        dataclasses.replace(
            each,
            product=dataclasses.replace(
                each.product, category=MOVES.get(each.product.id, each.product.category)
            ),
        )
        for each in samples
    ]
    publish_samples(tmp_path / "expected", put, small_source)
    return Catalogue.open(tmp_path / "expected", embedder=GridEmbedder())


@pytest.mark.parametrize("compacted", [False, True])
def test_every_answer_equals_that_of_a_catalogue_built_with_the_new_categories(
    catalogue: Catalogue, expected: Catalogue, compacted: bool
) -> None:
    for ask in QUERIES[3:4]:
        ask(catalogue)  # what is kept from before must not come back
    catalogue.matrix()
    move_all(catalogue)
    if compacted:
        assert compact_snapshot(catalogue.follower.folder, keep=2).changes == 4  # p05 is where it was
        catalogue.reload()
        assert not catalogue.view().state.segments.moved
    with expected:
        for number, ask in enumerate(QUERIES):
            assert comparable(ask(catalogue)) == comparable(ask(expected)), number


def test_undo_reverts_a_whole_batch_of_moves(catalogue: Catalogue, client: Client) -> None:
    before = [comparable(ask(catalogue)) for ask in (*QUERIES[:4], *QUERIES[11:15])]
    catalogue.move("p03", "bolsa")
    answer = client.post("/api/v1/products/move", json={"ids": ["p03", "p04"], "category": " chapéu "})
    assert [product["category"] for product in answer.json["products"]] == ["chapéu", "chapéu"]
    listed = client.get("/api/v1/changes").json["changes"]
    assert [(each["kind"], each["details"]) for each in listed[:2]] == [
        ("move", {"category": "chapéu", "from": "bolsa"}),
        ("move", {"category": "chapéu", "from": "bolsa"}),
    ]
    assert len(catalogue.undo()["changes"]) == 2
    assert [catalogue.product(name)["category"] for name in ("p03", "p04")] == ["bolsa", "bolsa"]
    catalogue.undo()
    assert [comparable(ask(catalogue)) for ask in (*QUERIES[:4], *QUERIES[11:15])] == before
    with pytest.raises(NothingToUndo):
        catalogue.undo()


def test_a_move_to_the_present_category_is_no_change(catalogue: Catalogue) -> None:
    assert catalogue.move("p00", "tênis")["category"] == "tênis"
    assert catalogue.changes()["changes"] == []


def test_an_impossible_move_is_answered_with_a_problem(client: Client, catalogue: Catalogue) -> None:
    def move(*ids: str, category: str = "bolsa", **headers: str) -> Any:
        body = {"ids": list(ids), "category": category}
        return client.post("/api/v1/products/move", json=body, headers=headers)

    catalogue.delete("p03")
    assert_problem(move("nobody"), 404, "unknown-product")
    assert_problem(move("p00", "p03"), 410, "deleted-product")
    assert_problem(move("p00", category="a\nb"), 422, "impossible-request")
    assert_problem(move("p00", category="x" * 501), 422, "impossible-request")
    assert catalogue.product("p00")["category"] == "tênis"
    first = move("p00", **{"Idempotency-Key": "k"})
    assert move("p00", **{"Idempotency-Key": "k"}).json == first.json
    assert_problem(move("p00", category="other", **{"Idempotency-Key": "k"}), 409, "idempotency-key-reused")
    assert len(catalogue.changes()["changes"]) == 2


def test_other_processes_see_a_move_and_the_etag_changes(small_index: Path) -> None:
    with (
        Catalogue.open(small_index, embedder=GridEmbedder()) as one,
        Catalogue.open(small_index, embedder=GridEmbedder()) as two,
    ):
        web = make_client(create_app(two, ServiceConfig()))
        tag = web.get("/api/v1/products/p00").headers["ETag"]
        one.move("p00", "chapéu", by=Caller("ana"))
        again = web.get("/api/v1/products/p00", headers={"If-None-Match": tag})
        assert (again.status_code, again.json["category"]) == (200, "chapéu")
        added = two.add(jpeg(40, 40, 8), name="Nova", category="bolsa")
        one.move(added["id"], "chapéu")
        assert two.products(category=["chapéu"])["total"] == 2
    with Catalogue.open(small_index, embedder=GridEmbedder()) as later:
        assert later.products(q="chapeu")["total"] == 2
        assert later.similar("p00", same_category=True)["hits"][0]["id"] == added["id"]


def test_builds_keep_a_move_until_the_source_changes_the_category(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", categories=2, per_category=2)
    manifest = photos / "list.csv"

    def build(category: str) -> dict[str, str]:
        lines = [f"a,c0/p0.jpg,{category}", "b,c0/p1.jpg,mugs", "c,c1/p0.jpg,hats"]
        manifest.write_text("\n".join(["id,image,category", *lines]) + "\n")
        build_folder(manifest, tmp_path / "index")
        products = IndexFolder(tmp_path / "index").open().table
        return dict(zip(products.ids(), products.column("category"), strict=True))

    build("mugs")
    folder = IndexFolder(tmp_path / "index")
    snapshot = folder.open()
    uploaded = write_upload(folder.root, "new", jpeg(seed=70))
    uploaded.product["category"] = "mugs"
    record = dataclasses.replace(uploaded, model=snapshot.manifest.model.key, vector=snapshot.vectors[0])
    with folder.journal() as journal:
        journal.append("upload", ["new"], upload=record)
    with Catalogue.open(tmp_path / "index") as catalogue:
        catalogue.move(["a", "new"], "cups")
        catalogue.move("a", "glasses")
        catalogue.move("b", "cups")
        catalogue.undo()
    wanted = {"a": "glasses", "b": "mugs", "c": "hats", "new": "cups"}
    assert build("mugs") == wanted
    assert build("mugs") == wanted
    wanted["a"] = "hats"
    assert build("hats") == wanted
    with Catalogue.open(tmp_path / "index") as catalogue:
        catalogue.undo()  # of a → glasses, which the source has overruled
        assert catalogue.product("a")["category"] == "hats"
        catalogue.move("a", "caps")
        catalogue.move("b", "hats")
        catalogue.move("b", "mugs")
    wanted["a"] = "caps"
    assert build("hats") == wanted
    assert build("caps") == wanted
    with Catalogue.open(tmp_path / "index") as catalogue:
        catalogue.move("a", "berets")
    wanted["a"] = "berets"
    assert build("caps") == wanted
