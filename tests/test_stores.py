"""The contract of the vector stores: every store returns the same results as brute force.

It runs against the embedded store, a milvus-lite file and a real Milvus server.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.stores import (
    BRANDS,
    CATEGORIES,
    Oracle,
    StoreSetup,
    make_catalogue,
    make_upload,
    run_server,
    skip_without,
)
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import QueryError, StoreUnavailable
from vitrine.indexer.milvus import collection
from vitrine.indexer.milvus.address import StoreAddress
from vitrine.indexer.milvus.collection import Collection
from vitrine.indexer.milvus.connection import Connection
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.queries.nearest import product_reference, recommend, vector_reference
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.view import View
from vitrine.service.stores import milvus as milvus_store
from vitrine.service.stores.expressions import quoted
from vitrine.service.stores.milvus import MilvusStore

WHERE: list[dict[str, Any]] = [
    {"price": {"lt": 50}},
    {"price": {"gte": 20.5, "lte": 60}},
    {"price": {"gt": -5, "lt": 1e20}},
    {"stock": 3},
    {"stock": [1, 2.0, 5]},
    {"stock": {"ne": 3}},
    {"stock": {"exists": False}},
    {"stock": {"lt": -0.5}},
    {"in_stock": True},
    {"in_stock": False, "price": {"lt": 30}},
    {"brand": "acme"},
    {"brand": list(BRANDS)},
    {"brand": {"not_in": ["acme"]}},
    {"brand": {"gte": "b"}},
    {"brand": 'say "hi"'},
    {"brand": "back\\slash"},
    {"brand": "' or 1 == 1"},
    {"brand": "line\nbreak"},
    {"brand": "nobody's"},
    {"since": {"lt": "2024-05-01"}},
    {'odd "name"': "acme"},
    {"price": None},
]


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    for server in run_server(tmp_path_factory.mktemp("milvus")):
        yield f"milvus://{server.endpoint}"


@pytest.fixture(
    params=["faiss", "milvus-lite", pytest.param("milvus", marks=pytest.mark.milvus)], scope="session"
)
def base_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "faiss":
        return "faiss"
    skip_without("pymilvus")
    if request.param == "milvus":
        return str(request.getfixturevalue("milvus_uri"))
    skip_without("milvus_lite")
    return f"milvus://{tmp_path_factory.mktemp('lite')}/store.db"


@pytest.fixture
def setup(base_uri: str, tmp_path: Path) -> StoreSetup:
    """Return an index folder and a store with an alias of its own."""
    alias = "".join(letter for letter in tmp_path.name if letter.isalnum())
    return StoreSetup(tmp_path / "index", base_uri if base_uri == "faiss" else f"{base_uri}/t_{alias}")


@pytest.fixture
def live(setup: StoreSetup) -> Iterator[SnapshotFollower]:
    """Yield a follower of a catalogue that the test may change."""
    setup.publish(*make_catalogue())
    opened = setup.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def unchanged(base_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotFollower]:
    """Yield a follower of a shared catalogue, which no test changes."""
    uri = base_uri if base_uri == "faiss" else f"{base_uri}/unchanged"
    setup = StoreSetup(tmp_path_factory.mktemp("unchanged"), uri)
    setup.publish(*make_catalogue())
    opened = setup.open()
    yield opened
    opened.close()


def assert_same_results(view: View, oracle: Oracle, options: SearchOptions, row: int | None) -> None:
    expected_view = oracle.view()
    if row is None:
        values = np.random.default_rng(5).random(view.state.segments.dimension)
        references = [vector_reference(either, values) for either in (view, expected_view)]
    else:
        references = [product_reference(either, row) for either in (view, expected_view)]
    actual, expected = (
        recommend(either, reference, options)
        for either, reference in zip((view, expected_view), references, strict=True)
    )
    assert actual.rows.tolist() == expected.rows.tolist(), options
    assert np.allclose(actual.scores, expected.scores, atol=2e-6)
    assert (actual.reason, actual.requested, actual.returned) == (
        expected.reason,
        expected.requested,
        expected.returned,
    )


def some_options(seed: int) -> SearchOptions:
    """Return random search options, each present with probability 0.3."""
    random = np.random.default_rng(seed)
    choices: dict[str, Any] = {
        "same_category": True,
        "category": [CATEGORIES[index] for index in random.integers(len(CATEGORIES), size=2)],
        "where": WHERE[seed % len(WHERE)],
        "min_score": 0.6,
        "exclude": [f"p{number:03d}" for number in random.integers(240, size=5)],
        "one_per_group": True,
        "collapse_duplicates": 0.999,
        "diversity": 0.4,
        "offset": 3,
        "exact": True,
    }
    present = {name: value for name, value in choices.items() if random.random() < 0.3}
    return SearchOptions.model_validate({**present, "limit": int(random.integers(1, 40))})


def test_searches_equal_brute_force(unchanged: SnapshotFollower) -> None:
    oracle = Oracle(*make_catalogue())
    for seed in range(40):
        options = some_options(seed)
        row = seed * 5 + 1 if seed % 4 or options.same_category else None
        assert_same_results(unchanged.view(), oracle, options, row)


@pytest.mark.parametrize("where", WHERE, ids=str)
def test_conditions_match_the_same_products_in_every_store(
    unchanged: SnapshotFollower, where: dict[str, Any]
) -> None:
    options = SearchOptions(where=where, limit=300)
    assert_same_results(unchanged.view(), Oracle(*make_catalogue()), options, 1)


@pytest.mark.parametrize("category", CATEGORIES)
def test_categories_of_any_name_can_be_filtered(unchanged: SnapshotFollower, category: str) -> None:
    options = SearchOptions(category=(category,), limit=20)
    assert_same_results(unchanged.view(), Oracle(*make_catalogue()), options, None)


def test_the_top_k_is_a_prefix_of_a_larger_k(unchanged: SnapshotFollower) -> None:
    view = unchanged.view()
    query = view.state.segments.vectors([4])
    longest = view.search(query, 100)
    for k in (1, 2, 10, 50):
        assert view.search(query, k).rows.tolist() == longest.rows[:, :k].tolist()
    assert (np.diff(longest.scores[0]) <= 0).all()


def test_a_large_k_returns_every_live_product(unchanged: SnapshotFollower) -> None:
    view = unchanged.view()
    neighbours = view.search(view.state.segments.vectors([4, 9]), 10_000)
    assert neighbours.rows.shape == (2, int(view.state.live.sum()))
    assert view.state.live[neighbours.rows].all()
    nothing = view.search(view.state.segments.vectors([4]), 10, allowed=np.zeros(view.state.segments.n, bool))
    assert nothing.rows.shape == (1, 0)


def test_a_query_that_is_not_a_unit_vector_is_refused(unchanged: SnapshotFollower) -> None:
    view = unchanged.view()
    dimension = view.state.segments.dimension
    for bad in (np.ones((1, dimension)), np.zeros((1, dimension)), np.ones((1, 3))):
        with pytest.raises(QueryError):
            view.search(bad.astype(np.float32), 3)


@pytest.mark.parametrize("visible_after_s", [10.0, 0.0])
def test_changes_are_visible_in_the_next_query(
    live: SnapshotFollower, setup: StoreSetup, visible_after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apply changes of all kinds, some of which the collection contains already and some not."""
    if visible_after_s == 0:  # searches must wait for writes: no rows are scanned beside the collection
        monkeypatch.setattr(collection, "CONSISTENCY", "Strong")
    monkeypatch.setattr(milvus_store, "VISIBLE_AFTER_S", visible_after_s)
    products, vectors = make_catalogue()
    oracle, random = Oracle(products, vectors), np.random.default_rng(3)
    more, more_vectors = make_catalogue(seed=9, count=240)
    for step in range(25):
        change_type = step % 5
        with live.writing() as (view, journal):
            row = int(random.integers(view.state.segments.n))
            if change_type == 3:
                product = dataclasses.replace(
                    more[step], id=f"new{step:02d}", deleted_at=None,
                    attributes={**more[step].attributes, "since": None},
                )  # fmt: skip
                vector = more_vectors[step] if step % 8 else vectors[step]
                journal.append("upload", [product.id], upload=make_upload(product, vector))
                oracle.add(product, vector)
            elif change_type == 4:
                category = ("new", *CATEGORIES)[step // 5]
                before = oracle.move(view.state.segments.id_at(row), category)
                details = {"category": category, "from": before}
                journal.append("move", [view.state.segments.id_at(row)], details=[details])
            else:
                is_restore = not view.state.live[row]
                journal.append("restore" if is_restore else "delete", [view.state.segments.id_at(row)])
                oracle.set_live(view.state.segments.id_at(row), is_restore)
        options = SearchOptions.model_validate({"limit": 30, "where": WHERE[step % 12]})
        assert_same_results(live.view(), oracle, options, None)
        in_category = SearchOptions.model_validate(
            {"limit": 300, "category": [("new", *CATEGORIES)[step // 5]]}
        )
        assert_same_results(live.view(), oracle, in_category, None)
        assert_same_results(live.view(), oracle, SearchOptions(limit=300), int(np.argmax(oracle.live)))
        if step % 4 == 3:
            live.sync_store()
    assert not live.store_problem
    reopened = setup.open()
    assert_same_results(reopened.view(), oracle, SearchOptions(limit=300), None)
    reopened.close()


def test_the_collection_contains_the_changes_of_the_journal(
    live: SnapshotFollower, setup: StoreSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read the deletion mark from Milvus itself."""
    if setup.uri == "faiss":
        pytest.skip("the embedded store has no copy")
    monkeypatch.setattr(milvus_store, "VISIBLE_AFTER_S", 0.0)
    view = live.view()
    deleted = view.state.segments.id_at(int(view.search(view.state.segments.vectors([5]), 1).rows[0, 0]))
    with live.writing() as (_, journal):
        journal.append("delete", [deleted])
    live.sync_store()
    address = StoreAddress.parse(setup.uri)
    connection = Connection(address)
    collection_in_use = Collection(connection, address.collection_name(view.state.snapshot.name))
    entities = connection.call(
        "query",
        collection_in_use.name,
        filter=f"id == {quoted(deleted)}",
        output_fields=["deleted"],
        consistency_level="Strong",
    )
    assert [entity["deleted"] for entity in entities] == [True]
    assert collection_in_use.read_sequence() == live.view().state.sequence
    connection.close()


def test_candidates_come_from_the_store(
    unchanged: SnapshotFollower, base_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disable the exact scan: with it, every other test could pass without the store."""
    if base_uri == "faiss":
        pytest.skip("the embedded store is the exact scan")
    monkeypatch.setattr(milvus_store, "EMBEDDED", None)
    view = unchanged.view()
    for where in ({}, {"price": {"lt": 50}}, {"stock": [1, 2]}, {"in_stock": True}, {"brand": "acme"}):
        options = SearchOptions.model_validate({"where": where, "limit": 3, "category": CATEGORIES[:2]})
        assert recommend(view, product_reference(view, 1), options).returned == 3


def test_a_new_snapshot_is_served_once_the_alias_is_switched(
    live: SnapshotFollower, setup: StoreSetup
) -> None:
    if setup.uri == "faiss":
        pytest.skip("the embedded store has no alias")
    first = live.view().state.snapshot.name
    second = setup.publish(*make_catalogue(seed=1), load=False)
    live.poll()
    assert live.view().state.snapshot.name == first
    report = setup.load()
    assert report.loaded == 240
    live.poll()
    assert live.view().state.snapshot.name == second
    assert_same_results(live.view(), Oracle(*make_catalogue(seed=1)), SearchOptions(limit=20), None)
    setup.folder.set_current(first)
    assert setup.load().loaded == 0
    live.poll()
    assert live.view().state.snapshot.name == first
    assert_same_results(live.view(), Oracle(*make_catalogue()), SearchOptions(limit=20), None)


def test_collections_of_pruned_snapshots_are_dropped(live: SnapshotFollower, setup: StoreSetup) -> None:
    if setup.uri == "faiss":
        pytest.skip("the embedded store has no collections")
    first = live.view().state.snapshot.name
    setup.publish(*make_catalogue(seed=1), load=False)
    setup.folder.prune(1)
    assert setup.load().dropped == [first]


@pytest.mark.parametrize(
    ("store", "code", "message"),
    [
        ("milvus://db/no-good", 2, "the name of a collection is up to"),
        ("milvus://127.0.0.1:1/shop", 3, "127.0.0.1:1"),
    ],
)
def test_publishing_to_a_missing_store_fails(store: str, code: int, message: str, small_index: Path) -> None:
    skip_without("pymilvus")
    result = CliRunner().invoke(main, ["publish", "--index", str(small_index), "--store", store])
    assert result.exit_code == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_error_of_a_missing_milvus_does_not_suggest_a_retry(small_index: Path) -> None:
    skip_without("pymilvus")
    arguments = ["publish", "--index", str(small_index), "--store", "milvus://127.0.0.1:1/shop"]
    message = CliRunner().invoke(main, arguments).stderr
    assert message.startswith("error: Milvus at http://127.0.0.1:1 does not answer (has_collection: ")
    assert "again" not in message


def test_a_service_without_its_store_is_an_error(small_index: Path) -> None:
    skip_without("pymilvus")
    with pytest.raises(StoreUnavailable, match=re.escape("127.0.0.1:1")):
        SnapshotFollower(IndexFolder(small_index), MilvusStore.from_uri("milvus://127.0.0.1:1/shop"))
