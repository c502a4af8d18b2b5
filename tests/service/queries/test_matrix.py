"""The likeness of categories and their closest pairs, against brute force, whatever was deleted or added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_from_products, view_with_live
from tests.vectors import clustered
from vitrine.indexer.errors import QueryError
from vitrine.indexer.vectors.scoring import score_rows
from vitrine.service.queries import matrix as matrices
from vitrine.service.queries.matrix import LINKAGES, category_matrix, category_sums, closest_pairs
from vitrine.service.queries.view import View

N, BASE = 90, 75
VECTORS = clustered(N, 20, seed=8)
PRODUCTS = [product(f"p{(row * 7) % N:02d}", category=f"c{row % 4}") for row in range(N)]
PRODUCTS[-1] = product("new", category="brand new")


def live_rows(view: View, category: str) -> np.ndarray:
    state = view.state
    return np.flatnonzero(state.live & (state.category_codes == state.categories.index(category)))


def plain(view: View, linkage: str) -> tuple[list[str], np.ndarray]:
    members = {
        name: VECTORS[view.state.live & (view.state.category_codes == code)].astype(np.float64)
        for code, name in enumerate(view.state.categories)
    }
    names = [name for name in sorted(members) if len(members[name])]
    if linkage == "mean":
        return names, np.array([[np.mean(members[a] @ members[b].T) for b in names] for a in names])
    means = [members[name].mean(axis=0) for name in names]
    return names, np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in means] for a in means])


@settings(max_examples=50)
@given(
    linkage=st.sampled_from(LINKAGES),
    dead=st.sets(st.integers(0, N - 1), max_size=80),
    deleted_rows=st.sets(st.integers(0, BASE - 1), max_size=20),
)
def test_the_matrix_is_that_of_the_live_products(
    linkage: str, dead: set[int], deleted_rows: set[int]
) -> None:
    first = view_from_products(PRODUCTS, VECTORS, base=BASE, deleted_rows=sorted(deleted_rows))
    category_sums(first)
    view = view_with_live(first, [row not in dead for row in range(N)])
    found = category_matrix(view, linkage)
    names, values = plain(view, linkage)
    assert list(found.categories) == names == sorted(names)
    np.testing.assert_allclose(found.values, values.reshape(found.values.shape), atol=1e-5)
    np.testing.assert_array_equal(found.values, found.values.T)
    if linkage == "centroid":
        assert (np.diag(found.values) == 1.0).all()
    counts = [len(live_rows(view, name)) for name in names]
    assert list(found.counts) == counts


def test_chosen_categories_are_sorted() -> None:
    view = view_from_products(PRODUCTS, VECTORS, base=BASE)
    whole = category_matrix(view, "mean")
    part = category_matrix(view, "mean", ["c3", "brand new", "c3"])
    assert part.categories == ("brand new", "c3")
    np.testing.assert_array_equal(part.values, whole.values[np.ix_([0, 4], [0, 4])])


def test_many_changes_are_applied_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "_BLOCK_ROWS", 7)
    view = view_with_live(
        view_from_products(PRODUCTS, VECTORS, base=BASE), [row % 3 == 0 for row in range(N)]
    )
    np.testing.assert_allclose(category_matrix(view, "mean").values, plain(view, "mean")[1], atol=1e-6)


def test_no_live_products_give_an_empty_matrix() -> None:
    for linkage in LINKAGES:
        found = category_matrix(view_from_products(PRODUCTS, VECTORS, [False] * N), linkage)
        assert (found.categories, found.counts, found.values.shape) == ((), (), (0, 0))


def plain_pairs(view: View, a: str, b: str) -> list[tuple[int, int]]:
    rows = [live_rows(view, name) for name in (a, b)]
    id_at = view.state.segments.id_at
    pairs = [
        (float(score_rows(VECTORS[j : j + 1], VECTORS[i])[0]), id_at(i), id_at(j), i, j)
        for i in rows[0].tolist()
        for j in rows[1].tolist()
        if a != b or i < j
    ]
    return [pair[3:] for pair in sorted(pairs, key=lambda pair: (-pair[0], pair[1:3]))]


@pytest.mark.parametrize("pairs_at_once", [2**22, 30])
@pytest.mark.parametrize(
    ("a", "b"), [("c0", "c1"), ("c2", "c2"), ("c3", "brand new"), ("brand new", "brand new")]
)
def test_the_closest_pairs_equal_brute_force(
    a: str, b: str, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrices, "_BLOCK_PAIRS", pairs_at_once)
    view = view_from_products(PRODUCTS, VECTORS, [row % 5 != 0 for row in range(N)], BASE)
    expected = plain_pairs(view, a, b)
    for limit in (1, 5, 60):
        found = closest_pairs(view, a, b, limit)
        assert [(pair.a, pair.b) for pair in found] == expected[:limit]
        for pair in found:
            assert pair.score == score_rows(VECTORS[[pair.b]], VECTORS[pair.a])[0]


def test_pairs_of_copies_are_ordered_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    products = [product(f"p{9 - row}", category="ab"[row % 2]) for row in range(10)]
    view = view_from_products(products, np.ones((10, 4)) / 2)
    found = closest_pairs(view, "a", "b", 3)
    assert [(view.state.segments.id_at(pair.a), view.state.segments.id_at(pair.b)) for pair in found] == [
        ("p1", "p0"),
        ("p1", "p2"),
        ("p1", "p4"),
    ]
    monkeypatch.setattr(matrices, "_MAX_TIED_PAIRS", 4)
    assert len(closest_pairs(view, "a", "b", 7)) == 4


def test_unknown_names_are_refused_with_their_field() -> None:
    view = view_from_products(PRODUCTS, VECTORS)
    for call, field in (
        (lambda: category_matrix(view, "ward"), "linkage"),
        (lambda: category_matrix(view, "mean", ["c0", "zz"]), "category"),
        (lambda: closest_pairs(view, "zz", "c0"), "a"),
        (lambda: closest_pairs(view, "c0", "zz"), "b"),
        (lambda: closest_pairs(view, "c0", "c1", 0), "limit"),
    ):
        with pytest.raises(QueryError) as caught:
            call()
        assert caught.value.field == field
