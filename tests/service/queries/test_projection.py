"""Principal components against scikit-learn, axes that stay, samples that are fair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_from_products, view_with_live
from tests.service.queries.test_components import pca_of
from tests.vectors import clustered
from vitrine.indexer.errors import QueryError
from vitrine.service.queries import projection as projections
from vitrine.service.queries.projection import project, sample_rows
from vitrine.service.queries.view import View

N, D = 400, 48
VECTORS = clustered(N, D, seed=6)


def make_view(vectors: np.ndarray = VECTORS, **options: object) -> View:
    products = [product(f"p{row:04d}", category=f"c{row % 3}") for row in range(len(vectors))]
    return view_from_products(products, vectors, **options)  # type: ignore[arg-type]


def assert_same_up_to_signs(points: np.ndarray, truth: np.ndarray) -> None:
    for ours, theirs in zip(points.T, truth.T, strict=True):
        assert min(np.abs(ours - theirs).max(), np.abs(ours + theirs).max()) < 2e-3


@pytest.mark.parametrize("dimensions", [2, 3])
def test_points_and_variances_equal_those_of_scikit_learn(dimensions: int) -> None:
    found = project(make_view(), dimensions)
    ratios, points = pca_of(VECTORS, dimensions)
    np.testing.assert_allclose(found.ratios, ratios, atol=1e-4)
    assert found.rows.tolist() == list(range(N))
    assert not found.sampled
    assert_same_up_to_signs(found.points, points)


def test_a_selection_uses_the_axes_of_all_products_or_its_own() -> None:
    view = make_view()
    rows = np.arange(N)[np.arange(N) % 3 == 1]
    own = project(view, 2, categories=["c1"], fit="selection")
    np.testing.assert_allclose(own.ratios, pca_of(VECTORS[rows], 2)[0], atol=1e-4)
    assert_same_up_to_signs(own.points, pca_of(VECTORS[rows], 2)[1])
    shared = project(view, 2, categories=["c1"])
    assert own.rows.tolist() == shared.rows.tolist() == rows.tolist()
    np.testing.assert_array_equal(shared.points, project(view, 2).points[rows])


def test_the_projection_is_deterministic() -> None:
    one, two = project(make_view(), 3), project(make_view(), 3)
    np.testing.assert_array_equal(one.points, two.points)
    assert one.ratios == two.ratios


@pytest.mark.parametrize("keep_from", [10, 5000])
def test_deleting_few_products_keeps_the_axes_and_updates_the_variances(
    keep_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both with the axes kept, as in a large catalogue, and with them found anew."""
    monkeypatch.setattr(projections, "_KEEP_FROM", keep_from)
    monkeypatch.setattr(projections, "_KEEP_SHARE", 0.02)
    view = make_view(base=N - 2)
    before = project(view, 3)
    live = np.ones(N, bool)
    live[[3, 77, 200, N - 1]] = False
    after = project(view_with_live(view, live), 3)
    assert after.rows.tolist() == np.flatnonzero(live).tolist()
    np.testing.assert_allclose(after.points, before.points[live], atol=0.05)
    ratios, _ = pca_of(VECTORS[live], 3)
    np.testing.assert_allclose(after.ratios, ratios, atol=1e-4 if keep_from == 5000 else 2e-3)
    np.testing.assert_allclose(after.points.mean(axis=0), 0, atol=1e-4)


def test_many_changes_give_new_axes() -> None:
    view = make_view(base=N - 100, deleted_rows=range(50))
    live = np.arange(N) % 4 != 1
    found = project(view_with_live(view, live), 3)
    ratios, points = pca_of(VECTORS[live], 3)
    np.testing.assert_allclose(found.ratios, ratios, atol=1e-4)
    assert_same_up_to_signs(found.points, points)


@pytest.mark.parametrize(
    "vectors", [np.eye(1, 6), np.eye(2, 6), np.eye(3, 6), np.ones((5, 6)) / 6**0.5, np.eye(2)]
)
def test_too_few_or_equal_products_lie_at_zero_where_nothing_varies(vectors: np.ndarray) -> None:
    found = project(make_view(vectors.astype(np.float32)), 3)
    assert found.points.shape == (len(vectors), 3)
    assert np.isfinite(found.points).all()
    rank = np.linalg.matrix_rank(vectors - vectors.mean(axis=0), tol=1e-4)
    np.testing.assert_allclose(found.points[:, rank:], 0, atol=1e-6)
    assert found.ratios[rank:] == (0.0,) * max(3 - rank, 0)
    assert sum(found.ratios) == pytest.approx(1.0 if rank else 0.0, abs=1e-5)


def test_no_live_products_give_no_points() -> None:
    found = project(make_view(live=[False] * N), 2)
    assert found.points.shape == (0, 2)
    assert found.ratios == (0.0, 0.0)
    dead = view_with_live(make_view(), np.arange(N) % 3 != 2)
    assert project(dead, 2, categories=["c2"], fit="selection").points.shape == (0, 2)


def test_wrong_parameters_are_refused_with_their_field() -> None:
    for options, field in (
        ({"dimensions": 4}, "dimensions"),
        ({"fit": "some"}, "fit"),
        ({"limit": 0}, "limit"),
        ({"categories": ["c0", "zz"]}, "category"),
    ):
        with pytest.raises(QueryError) as caught:
            project(make_view(), **options)
        assert caught.value.field == field


@settings(max_examples=80)
@given(
    sizes=st.lists(st.integers(0, 200), min_size=1, max_size=8).filter(any),
    limit=st.integers(1, 300),
    seed=st.integers(0, 9),
)
def test_a_sample_is_complete_proportional_and_stable(sizes: list[int], limit: int, seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    shown = np.ones(len(codes), bool)
    rows = sample_rows(codes, shown, limit)
    assert len(rows) == min(limit, len(codes))
    assert (np.diff(rows) > 0).all()
    kept = np.bincount(codes[rows], minlength=len(sizes))
    if limit >= np.count_nonzero(sizes):
        assert ((kept > 0) == (np.array(sizes) > 0)).all()
        share = np.array(sizes) * min(limit / len(codes), 1)
        assert (kept >= np.floor(share) - len(sizes)).all()
        assert (kept <= np.maximum(np.ceil(share), 1)).all()
    shown[rows[0]] = False
    again = sample_rows(codes, shown, limit)
    assert rows[0] not in again
    assert len(set(rows.tolist()) - set(again.tolist())) <= 1 + len(sizes)


def test_a_sampled_projection_is_marked_as_sampled() -> None:
    found = project(make_view(), 2, limit=50)
    assert found.sampled
    assert len(found.rows) == 50
    np.testing.assert_array_equal(found.points, project(make_view(), 2).points[found.rows])
