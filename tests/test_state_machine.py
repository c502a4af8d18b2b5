"""A catalogue's life against an oracle in plain Python: build, delete, undo, compact, roll back, ask.

The pictures are stand-ins whose vectors lie in the embedding cache already, so that whole builds run in
milliseconds, by the code that always runs them. The oracle is brute force over dictionaries.
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

CONTENTS = 24
CATEGORIES = ("blusa", "calça", "tênis")
DIMENSION = 1280


def vector_of(content: int) -> np.ndarray[Any, Any]:
    """Return the unit vector of a content; contents come in clusters of four."""
    centre = np.random.default_rng(1000 + content // 4).normal(size=DIMENSION)
    own = np.random.default_rng(content).normal(size=DIMENSION)
    vector = centre + 0.7 * own
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def bytes_of(content: int) -> bytes:
    return f"picture {content}".encode()


@dataclasses.dataclass
class Item:
    """A product of the source as the oracle knows it."""

    category: str
    content: int
    price: int


@dataclasses.dataclass(frozen=True)
class Published:
    """The products of a snapshot, and how many moves had been made when they were read."""

    items: dict[str, Item]
    moves: int


class Life(RuleBasedStateMachine):
    """Rules do to the oracle what they do to the catalogue; the invariants ask both."""

    recipe = "flat"

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="life-"))
        self.folder = IndexFolder(self.root / "index")
        key = resolve_model(MODEL).key
        with EmbeddingCache(Layout(self.root / "index").cache) as cache:
            contents = range(CONTENTS)
            cache.put(
                key,
                [CacheEntry(hashlib.sha256(bytes_of(c)).digest(), 9, 9, vector_of(c)) for c in contents],
            )
        self.source: dict[str, Item] = {f"p{n}": Item(CATEGORIES[n % 3], n, n) for n in range(6)}
        self.deleted: set[str] = set()
        self.undoable: list[tuple[str, list[str], dict[str, str]]] = []
        self.published: dict[str, Published] = {}
        self.moves: list[tuple[str, str]] = []
        self.moved: dict[str, tuple[str, str]] = {}
        self.build()
        self.catalogue = Catalogue.open(self.root / "index")

    def teardown(self) -> None:
        if hasattr(self, "catalogue"):
            self.catalogue.close()
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def sync(self, name: str) -> None:
        published = self.published[name]
        self.live = {each: dataclasses.replace(item) for each, item in published.items.items()}
        for product_id, category in self.moves[published.moves :]:
            if product_id in self.live:
                self.live[product_id].category = category
        if hasattr(self, "catalogue"):
            self.catalogue.reload()
        self.published = {each: self.published[each] for each in self.folder.snapshot_names()}

    def write_source(self) -> Path:
        photos = self.root / "photos"
        photos.mkdir(exist_ok=True)
        lines = ["id,name,category,image,price"]
        for product_id, item in self.source.items():
            (photos / f"{product_id}.jpg").write_bytes(bytes_of(item.content))
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
        for name, (before, now) in self.moved.items():
            if name in items and items[name].category == before:
                items[name].category = now
        self.published[report.snapshot] = Published(items, len(self.moves))
        self.sync(report.snapshot)

    @rule(
        number=st.integers(0, 20), content=st.integers(0, CONTENTS - 1), category=st.sampled_from(CATEGORIES)
    )
    def add_or_change(self, number: int, content: int, category: str) -> None:
        self.source[f"p{number}"] = Item(category, content, content % 7)

    @precondition(lambda self: len(self.source) > 2)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        del self.source[data.draw(st.sampled_from(sorted(self.source)))]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        product_id = data.draw(st.sampled_from([*sorted(self.live), "unknown"]))
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
        left = sorted(set(self.live) - self.deleted)
        if len(left) > 2:
            chosen = data.draw(st.lists(st.sampled_from(left), min_size=2, max_size=3, unique=True))
            self.catalogue.delete(chosen)
            self.deleted |= set(chosen)
            self.undoable.append(("delete", chosen, {}))

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        product_id = data.draw(st.sampled_from(sorted(self.live)))
        self.catalogue.restore(product_id)
        if product_id in self.deleted:
            self.deleted.discard(product_id)
            self.undoable.append(("restore", [product_id], {}))

    @rule(data=st.data(), category=st.sampled_from((*CATEGORIES, "chapéu")))
    def move(self, data: st.DataObject, category: str) -> None:
        left = sorted(set(self.live) - self.deleted)
        if not left:
            return
        chosen = data.draw(st.lists(st.sampled_from(left), min_size=1, max_size=3, unique=True))
        before = {name: self.live[name].category for name in chosen if self.live[name].category != category}
        self.catalogue.move(chosen, category)
        if before:
            self.undoable.append(("move", list(before), before))
        for name in before:
            self.note_move(name, category)

    def note_move(self, name: str, category: str) -> None:
        first = self.moved[name][0] if name in self.moved else self.live[name].category
        self.moved[name] = first, category
        self.moves.append((name, category))
        self.live[name].category = category

    @rule()
    def undo(self) -> None:
        if not self.undoable:
            with pytest.raises(NothingToUndo):
                self.catalogue.undo()
            return
        kind, ids, before = self.undoable[-1]
        if not set(ids) <= set(self.live):
            return  # the products are not in the current snapshot; what then is answered has a test of its own
        self.catalogue.undo()
        self.undoable.pop()
        for name, category in before.items():
            self.note_move(name, category)
        if kind == "move":
            return
        self.deleted = self.deleted - set(ids) if kind == "delete" else self.deleted | set(ids)

    @rule()
    def compact(self) -> None:
        before = self.folder.current_name()
        report = compact_snapshot(self.folder, keep=4)
        self.published[report.snapshot] = self.published[before]
        self.sync(report.snapshot)

    @precondition(
        lambda self: any(name < self.folder.current_name() for name in self.folder.snapshot_names())
    )
    @rule()
    def roll_back(self) -> None:
        self.sync(roll_back(self.folder)[1])

    @rule(
        data=st.data(),
        limit=st.integers(1, 25),
        offset=st.integers(0, 3),
        same_category=st.booleans(),
        cheap=st.booleans(),
        exact=st.booleans(),
        min_score=st.sampled_from([None, 0.0, 0.4]),
    )
    def ask(self, data: st.DataObject, limit: int, offset: int, **options: Any) -> None:
        left = sorted(set(self.live) - self.deleted)
        if not left:
            return
        product_id = data.draw(st.sampled_from(left))
        excluded = data.draw(st.lists(st.sampled_from(left), max_size=2, unique=True))
        reference = self.live[product_id]
        expected = []
        for name in left:
            item = self.live[name]
            score = float(np.clip(vector_of(reference.content) @ vector_of(item.content), -1, 1))
            if name == product_id or name in excluded or (options["cheap"] and item.price >= 3):
                continue
            if options["same_category"] and item.category != reference.category:
                continue
            if options["min_score"] is not None and score < options["min_score"]:
                continue
            expected.append((-round(score, 6), name))
        expected = sorted(expected)[offset : offset + limit]
        asked: dict[str, Any] = {"limit": limit, "offset": offset, "exclude": excluded}
        asked |= {"same_category": options["same_category"], "exact": options["exact"]}
        if options["cheap"]:
            asked["where"] = {"price": {"lt": 3}}
        if options["min_score"] is not None:
            asked["min_score"] = options["min_score"]
        answer = self.catalogue.similar(product_id, **asked)
        assert [hit["id"] for hit in answer["hits"]] == [name for _, name in expected]
        assert [-hit["score"] for hit in answer["hits"]] == pytest.approx([s for s, _ in expected], abs=1e-5)
        assert answer["returned"] == len(expected)
        assert (answer["reason"] is None) == (len(expected) == limit)

    @invariant()
    def lists_agree(self) -> None:
        if not hasattr(self, "catalogue"):
            return
        for gone in (False, True):
            listed = self.catalogue.products(deleted=gone, limit=100)
            expected = {name for name in self.live if (name in self.deleted) == gone}
            assert {product["id"] for product in listed["products"]} == expected
            counts: dict[str, int] = {}
            for name in expected:
                counts[self.live[name].category] = counts.get(self.live[name].category, 0) + 1
            assert {name: n for name, n in listed["facets"]["category"].items() if n} == counts


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "auto"])
def test_a_catalogue_agrees_with_the_oracle_all_its_life(recipe: str) -> None:
    machine = type(f"Life_{recipe}", (Life,), {"recipe": recipe})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
