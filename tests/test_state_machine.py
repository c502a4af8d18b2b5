"""Stateful test of a catalogue: builds, changes, compactions, rollbacks and searches, against an oracle.

The vectors of the pictures are already in the embedding cache, so a whole build takes milliseconds and still
runs the usual code. The oracle is brute force over dictionaries.
"""

import dataclasses
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.catalogues import MODEL
from vitrine.indexer.build.build import BuildOptions, build_snapshot
from vitrine.indexer.config import Layout
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.models import resolve_model
from vitrine.indexer.operations.compact import compact_snapshot
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.snapshot.folder import IndexFolder, roll_back
from vitrine.service import Catalogue
from vitrine.service.errors import DeletedProduct, NothingToUndo, UnknownProduct

PICTURES = 24
CATEGORIES = ("blusa", "calça", "tênis")
DIMENSION = 1280


def picture_vector(number: int) -> np.ndarray[Any, Any]:
    """Return the unit vector of a picture, (DIMENSION,); pictures are in clusters of four."""
    centre = np.random.default_rng(1000 + number // 4).normal(size=DIMENSION)
    offset = np.random.default_rng(number).normal(size=DIMENSION)
    vector = centre + 0.7 * offset
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def picture_bytes(number: int) -> bytes:
    return f"picture {number}".encode()


@dataclasses.dataclass
class ExpectedProduct:
    """A product in the oracle."""

    category: str
    picture: int
    price: int


@dataclasses.dataclass(frozen=True)
class ExpectedSnapshot:
    """The products of a snapshot, and the number of moves that it contains."""

    products: dict[str, ExpectedProduct]
    move_count: int


class CatalogueMachine(RuleBasedStateMachine):
    """Rules that change a catalogue and its oracle alike, and invariants that compare the two."""

    recipe = "flat"

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="catalogue-"))
        self.folder = IndexFolder(self.root / "index")
        key = resolve_model(MODEL).key
        with EmbeddingCache(Layout(self.root / "index").cache) as cache:
            cache.put(
                key,
                [
                    CacheEntry(hashlib.sha256(picture_bytes(n)).digest(), 9, 9, picture_vector(n))
                    for n in range(PICTURES)
                ],
            )
        self.source: dict[str, ExpectedProduct] = {
            f"p{n}": ExpectedProduct(CATEGORIES[n % 3], n, n) for n in range(6)
        }
        self.deleted: set[str] = set()
        self.undoable: list[tuple[str, list[str], dict[str, str]]] = []
        self.published: dict[str, ExpectedSnapshot] = {}
        self.moves: list[tuple[str, str]] = []
        self.moved: dict[str, tuple[str, str]] = {}
        self.build()
        self.catalogue = Catalogue.open(self.root / "index")

    def teardown(self) -> None:
        if hasattr(self, "catalogue"):
            self.catalogue.close()
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def set_current(self, name: str) -> None:
        """Let the oracle follow the catalogue to its current snapshot, with the later moves applied."""
        published = self.published[name]
        self.products = {
            product_id: dataclasses.replace(item) for product_id, item in published.products.items()
        }
        for product_id, category in self.moves[published.move_count :]:
            if product_id in self.products:
                self.products[product_id].category = category
        if hasattr(self, "catalogue"):
            self.catalogue.reload()
        self.published = {name: self.published[name] for name in self.folder.snapshot_names()}

    def write_source(self) -> Path:
        photos = self.root / "photos"
        photos.mkdir(exist_ok=True)
        lines = ["id,name,category,image,price"]
        for product_id, item in self.source.items():
            (photos / f"{product_id}.jpg").write_bytes(picture_bytes(item.picture))
            lines.append(f"{product_id},nome {product_id},{item.category},{product_id}.jpg,{item.price}")
        manifest = photos / "catalogue.csv"
        manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return manifest

    @rule()
    def build(self) -> None:
        options = BuildOptions(
            model=MODEL, transform="none", recipe=RecipeRequest(self.recipe, 0.9), force=True, keep=4
        )
        report = build_snapshot(str(self.write_source()), self.folder, options, SilentProgress())
        assert (report.embedded, report.products) == (0, len(self.source))
        items = {name: dataclasses.replace(item) for name, item in self.source.items()}
        for name, (old, new) in self.moved.items():
            if name in items and items[name].category == old:
                items[name].category = new
        self.published[report.snapshot] = ExpectedSnapshot(items, len(self.moves))
        self.set_current(report.snapshot)

    @rule(
        number=st.integers(0, 20), picture=st.integers(0, PICTURES - 1), category=st.sampled_from(CATEGORIES)
    )
    def add_or_change(self, number: int, picture: int, category: str) -> None:
        self.source[f"p{number}"] = ExpectedProduct(category, picture, picture % 7)

    @precondition(lambda self: len(self.source) > 2)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        del self.source[data.draw(st.sampled_from(sorted(self.source)))]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        product_id = data.draw(st.sampled_from([*sorted(self.products), "unknown"]))
        if product_id == "unknown":
            with pytest.raises(UnknownProduct):
                self.catalogue.delete(product_id)
        elif product_id in self.deleted:
            with pytest.raises(DeletedProduct):
                self.catalogue.delete(product_id)
        else:
            self.catalogue.delete(product_id)
            self.deleted.add(product_id)
            self.undoable.append(("delete", [product_id], {}))

    @rule(data=st.data())
    def delete_several(self, data: st.DataObject) -> None:
        live_ids = sorted(set(self.products) - self.deleted)
        if len(live_ids) > 2:
            chosen = data.draw(st.lists(st.sampled_from(live_ids), min_size=2, max_size=3, unique=True))
            self.catalogue.delete(chosen)
            self.deleted |= set(chosen)
            self.undoable.append(("delete", chosen, {}))

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        product_id = data.draw(st.sampled_from(sorted(self.products)))
        self.catalogue.restore(product_id)
        if product_id in self.deleted:
            self.deleted.discard(product_id)
            self.undoable.append(("restore", [product_id], {}))

    @rule(data=st.data(), category=st.sampled_from((*CATEGORIES, "chapéu")))
    def move(self, data: st.DataObject, category: str) -> None:
        live_ids = sorted(set(self.products) - self.deleted)
        if not live_ids:
            return
        chosen = data.draw(st.lists(st.sampled_from(live_ids), min_size=1, max_size=3, unique=True))
        before = {
            name: self.products[name].category for name in chosen if self.products[name].category != category
        }
        self.catalogue.move(chosen, category)
        if before:
            self.undoable.append(("move", list(before), before))
        for name in before:
            self.record_move(name, category)

    def record_move(self, name: str, category: str) -> None:
        first = self.moved[name][0] if name in self.moved else self.products[name].category
        self.moved[name] = first, category
        self.moves.append((name, category))
        self.products[name].category = category

    @rule()
    def undo(self) -> None:
        if not self.undoable:
            with pytest.raises(NothingToUndo):
                self.catalogue.undo()
            return
        change, ids, old_categories = self.undoable[-1]
        if not set(ids) <= set(self.products):
            return  # the products are not in the current snapshot: tested elsewhere
        self.catalogue.undo()
        self.undoable.pop()
        for name, category in old_categories.items():
            self.record_move(name, category)
        if change == "move":
            return
        self.deleted = self.deleted - set(ids) if change == "delete" else self.deleted | set(ids)

    @rule()
    def compact(self) -> None:
        before = self.folder.current_name()
        report = compact_snapshot(self.folder, keep=4)
        self.published[report.snapshot] = self.published[before]
        self.set_current(report.snapshot)

    @precondition(
        lambda self: any(name < self.folder.current_name() for name in self.folder.snapshot_names())
    )
    @rule()
    def roll_back(self) -> None:
        self.set_current(roll_back(self.folder)[1])

    @rule(
        data=st.data(),
        limit=st.integers(1, 25),
        offset=st.integers(0, 3),
        same_category=st.booleans(),
        is_cheap=st.booleans(),
        exact=st.booleans(),
        min_score=st.sampled_from([None, 0.0, 0.4]),
    )
    def search(self, data: st.DataObject, limit: int, offset: int, **options: Any) -> None:
        live_ids = sorted(set(self.products) - self.deleted)
        if not live_ids:
            return
        product_id = data.draw(st.sampled_from(live_ids))
        excluded = data.draw(st.lists(st.sampled_from(live_ids), max_size=2, unique=True))
        reference = self.products[product_id]
        expected = []
        for name in live_ids:
            item = self.products[name]
            score = float(np.clip(picture_vector(reference.picture) @ picture_vector(item.picture), -1, 1))
            if name == product_id or name in excluded or (options["is_cheap"] and item.price >= 3):
                continue
            if options["same_category"] and item.category != reference.category:
                continue
            if options["min_score"] is not None and score < options["min_score"]:
                continue
            expected.append((-round(score, 6), name))
        expected = sorted(expected)[offset : offset + limit]
        query: dict[str, Any] = {"limit": limit, "offset": offset, "exclude": excluded}
        query |= {"same_category": options["same_category"], "exact": options["exact"]}
        if options["is_cheap"]:
            query["where"] = {"price": {"lt": 3}}
        if options["min_score"] is not None:
            query["min_score"] = options["min_score"]
        answer = self.catalogue.similar(product_id, **query)
        assert [hit["id"] for hit in answer["hits"]] == [name for _, name in expected]
        assert [-hit["score"] for hit in answer["hits"]] == pytest.approx([s for s, _ in expected], abs=1e-5)
        assert answer["returned"] == len(expected)
        assert (answer["reason"] is None) == (len(expected) == limit)

    @invariant()
    def product_lists_are_equal(self) -> None:
        if not hasattr(self, "catalogue"):
            return
        for is_deleted in (False, True):
            listed = self.catalogue.products(deleted=is_deleted, limit=100)
            expected = {name for name in self.products if (name in self.deleted) == is_deleted}
            assert {product["id"] for product in listed["products"]} == expected
            counts: dict[str, int] = {}
            for name in expected:
                counts[self.products[name].category] = counts.get(self.products[name].category, 0) + 1
            assert {name: n for name, n in listed["facets"]["category"].items() if n} == counts


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "auto"])
def test_a_catalogue_always_equals_its_oracle(recipe: str) -> None:
    machine = type(f"CatalogueMachine_{recipe}", (CatalogueMachine,), {"recipe": recipe})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
