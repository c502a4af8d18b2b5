"""Recommendations against a brute-force oracle, with every option alone and combined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, search_count, view_from_products
from tests.vectors import clustered
from vitrine.indexer.errors import QueryError
from vitrine.indexer.snapshot.confidence import Confidence, calibrate
from vitrine.indexer.vectors.ranking import (
    DIVERSITY_WINDOW,
)
from vitrine.indexer.vectors.scoring import score_rows
from vitrine.service.queries.nearest import (
    Reference,
    product_reference,
    products_reference,
    recommend,
    vector_reference,
)
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.view import View

N, D = 160, 12
RANDOM = np.random.default_rng(11)
VECTORS = clustered(N, D, seed=2, latent=6, clusters=8)
VECTORS[40:46] = VECTORS[40]
VECTORS[50] = VECTORS[51]
PRODUCTS = [
    product(
        f"id{(row * 37) % N:03d}",
        f"name {row}",
        ("shoes", "bags", "watches")[row % 3],
        f"g{row // 4}" if row % 5 else None,
        price=float(row % 20),
        brand=("a", "b", None)[row % 3],
    )
    for row in range(N)
]
LIVE = RANDOM.random(N) > 0.2
LIVE[[0, 40, 41, 42, 50, 51]] = True


def calibration() -> Confidence:
    alike = VECTORS @ VECTORS.T - 2 * np.eye(N, dtype=np.float32)
    codes = np.array([("shoes", "bags", "watches").index(each.category) for each in PRODUCTS], np.int32)
    return calibrate(alike.max(axis=1), codes, ("shoes", "bags", "watches"))


CONFIDENCE = calibration()


def make_view(base: int = N) -> View:
    return view_from_products(PRODUCTS, VECTORS, LIVE, base, confidence=CONFIDENCE)


def options(**given: Any) -> SearchOptions:
    return SearchOptions.model_validate(given)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.clip(a.astype(np.float64) @ b.astype(np.float64), -1, 1))


def filtered_rows(reference: Reference, requested: SearchOptions) -> list[int]:
    """The live rows that the conditions of a search admit."""
    rows = [row for row in range(N) if LIVE[row] and row not in reference.rows]
    if requested.same_category:
        rows = [row for row in rows if PRODUCTS[row].category in reference.categories]
    if requested.category:
        rows = [row for row in rows if PRODUCTS[row].category in requested.category]
    if requested.where:
        rows = [row for row in rows if PRODUCTS[row].attributes["price"] < requested.where["price"]["lt"]]
    return [row for row in rows if PRODUCTS[row].id not in requested.exclude]


def plain_answer(reference: Reference, requested: SearchOptions) -> list[int]:
    """The specification as loops over Python lists."""
    scores = np.clip(np.vecdot(VECTORS, reference.vector), -1, 1)
    rows = filtered_rows(reference, requested)
    rows.sort(key=lambda row: (-scores[row], PRODUCTS[row].id))
    if requested.min_score is not None:
        rows = [row for row in rows if float(scores[row]) >= requested.min_score]
    if requested.min_confidence is not None:
        rows = [row for row in rows if confidence_of(scores[row], reference) >= requested.min_confidence]
    rows = plain_drops(rows, requested)
    if requested.diversity:
        rows = plain_mmr(rows, scores, requested.diversity)
    return rows[requested.offset : requested.offset + requested.limit]


def plain_drops(rows: list[int], requested: SearchOptions) -> list[int]:
    if requested.one_per_group:
        best: dict[str, int] = {}
        for row in rows:
            best.setdefault(PRODUCTS[row].group or f"alone {row}", row)
        rows = list(best.values())
    if requested.collapse_duplicates is not None:
        kept: list[int] = []
        for row in rows:
            alike = [float(score_rows(VECTORS[other : other + 1], VECTORS[row])[0]) for other in kept]
            if not any(score >= requested.collapse_duplicates - 1e-6 for score in alike):
                kept.append(row)
        rows = kept
    return rows


def confidence_of(score: Any, reference: Reference) -> float:
    return float(
        CONFIDENCE.confidences_of(
            [score], reference.categories[0] if len(reference.categories) == 1 else None
        )[0]
    )


def plain_mmr(rows: list[int], scores: np.ndarray, diversity: float) -> list[int]:
    chosen: list[int] = []
    for start in range(0, len(rows), DIVERSITY_WINDOW):
        left = rows[start : start + DIVERSITY_WINDOW]
        while left:
            gains = []
            for row in left:
                alike = score_rows(VECTORS[chosen], VECTORS[row]).max() if chosen else np.float32(0)
                gains.append((1 - diversity) * scores[row] - diversity * alike)
            chosen.append(left.pop(int(np.argmax(gains))))
    return chosen


OPTIONS = st.fixed_dictionaries(
    {"limit": st.integers(1, 40)},
    optional={
        "offset": st.integers(0, 60),
        "same_category": st.booleans(),
        "category": st.lists(st.sampled_from(["shoes", "bags", "nothing"]), max_size=2),
        "where": st.integers(0, 20).map(lambda price: {"price": {"lt": price}}),
        "min_score": st.floats(-1, 1),
        "min_confidence": st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]),
        "exclude": st.lists(st.integers(0, N).map(lambda number: f"id{number:03d}"), max_size=20),
        "one_per_group": st.booleans(),
        "collapse_duplicates": st.sampled_from([0.5, 0.9, 0.97, 1.0]),
        "diversity": st.sampled_from([0.0, 0.3, 1.0]),
        "exact": st.booleans(),
    },
)


@settings(max_examples=120)
@given(
    requested=OPTIONS, row=st.sampled_from(np.flatnonzero(LIVE).tolist()), base=st.sampled_from([N, N - 30])
)
def test_any_combination_of_options_equals_the_oracle(requested: dict[str, Any], row: int, base: int) -> None:
    view = make_view(base)
    reference = product_reference(view, row)
    answer = recommend(view, reference, options(**requested))
    assert answer.rows.tolist() == plain_answer(reference, options(**requested))
    assert answer.returned == len(answer.hits) == len(answer.rows)
    assert (answer.reason is None) == (answer.returned == answer.requested == requested["limit"])
    assert answer.trace[-1] == ("page", answer.returned)
    counts = [count for _, count in answer.trace]
    assert counts[0] == N
    np.testing.assert_array_equal(answer.scores, score_rows(VECTORS[answer.rows], reference.vector))
    assert answer.confidences is not None
    assert answer.confidences.tolist() == [
        pytest.approx(confidence_of(score, reference), abs=1e-4) for score in answer.scores
    ]


@settings(max_examples=60)
@given(requested=OPTIONS, longer=st.integers(1, 150), row=st.sampled_from(np.flatnonzero(LIVE).tolist()))
def test_a_shorter_answer_begins_a_longer_one(requested: dict[str, Any], longer: int, row: int) -> None:
    view = make_view()
    reference = product_reference(view, row)
    short = recommend(view, reference, options(**requested)).rows.tolist()
    long = recommend(
        view, reference, options(**requested | {"limit": requested["limit"] + longer})
    ).rows.tolist()
    assert long[: len(short)] == short
    offset = requested.get("offset", 0)
    whole = recommend(
        view, reference, options(**requested | {"offset": 0, "limit": offset + requested["limit"]})
    )
    assert whole.rows.tolist()[offset:] == short


def test_the_default_is_the_five_most_similar_other_live_products() -> None:
    view = make_view()
    answer = recommend(view, product_reference(view, 0), SearchOptions())
    assert len(answer.rows) == 5
    assert 0 not in answer.rows
    assert LIVE[answer.rows].all()
    assert answer.reason is None


def test_liked_products_are_averaged_and_unliked_ones_subtracted() -> None:
    view = make_view()
    like, unlike = [3, 7], [9]
    reference = products_reference(view, like, unlike)
    expected = VECTORS[like].mean(axis=0) - 0.5 * VECTORS[9]
    np.testing.assert_allclose(reference.vector, expected / np.linalg.norm(expected), atol=1e-6)
    assert reference.rows == (3, 7, 9)
    assert set(reference.categories) == {"shoes", "bags"}
    answer = recommend(view, reference, options(limit=50))
    assert not {3, 7, 9} & set(answer.rows.tolist())


def test_a_reference_by_vector_is_normalised_and_has_no_category() -> None:
    view = make_view()
    one = recommend(view, vector_reference(view, (VECTORS[5] * 8).tolist()), options(limit=3))
    assert one.rows[0] == 5 or np.isclose(one.scores[0], 1)
    huge = vector_reference(view, (VECTORS[5].astype(np.float64) * 1e300).tolist())
    np.testing.assert_allclose(huge.vector, VECTORS[5], atol=1e-6)
    with pytest.raises(QueryError, match="same_category") as caught:
        recommend(view, vector_reference(view, VECTORS[5]), options(same_category=True))
    assert (caught.value.field, caught.value.malformed) == ("same_category", False)


@pytest.mark.parametrize(
    ("values", "expected_text", "malformed"),
    [
        ([1.0] * (D + 1), "12 numbers here, not 13", False),
        ([], "12 numbers here, not 0", False),
        (3.0, "12 numbers here, not one", False),
        ([[1.0] * D], "not 1x12", False),
        ([0.0] * D, "no direction", False),
        ([float("nan")] * D, "NaN", False),
        ([float("inf")] + [0.0] * (D - 1), "NaN or infinity", False),
        (["a"] * D, "list of numbers", True),
        ([[1.0], [1.0, 2.0]], "list of numbers", True),
        (None, "12 numbers", False),
    ],
)
def test_a_vector_that_cannot_be_compared_is_refused(
    values: Any, expected_text: str, malformed: bool
) -> None:
    with pytest.raises(QueryError, match=expected_text) as caught:
        vector_reference(make_view(), values)
    assert (caught.value.field, caught.value.malformed) == ("vector", malformed)


def test_contradictory_or_missing_examples_are_refused() -> None:
    view = view_from_products([product("a"), product("b"), product("c")], np.array([[1, 0], [1, 0], [0, 1]]))
    with pytest.raises(QueryError, match="at least one product"):
        products_reference(view, [])
    with pytest.raises(QueryError, match="'b' is both liked and unliked"):
        products_reference(view, [0, 1], [1])
    opposite = view_from_products([product("a"), product("b")], np.array([[1, 0], [-1, 0]]))
    with pytest.raises(QueryError, match="cancel out"):
        products_reference(opposite, [0, 1])


@pytest.mark.parametrize(
    ("requested", "expected_text"),
    [
        ({"category": "nothing"}, "0 in the categories asked for"),
        ({"same_category": True, "limit": 100}, "in the same category"),
        ({"min_score": 1.0, "where": {"price": {"lt": 3}}}, "satisfy the conditions"),
        ({"offset": 1000}, "before the offset"),
        ({"one_per_group": True, "limit": 1000}, "groups"),
        ({"collapse_duplicates": 0.5, "limit": 1000}, "near-duplicates"),
        ({"limit": 1000}, "are not deleted"),
        ({"exclude": [p.id for p in PRODUCTS]}, "0 are not excluded"),
    ],
)
def test_an_answer_with_fewer_hits_has_a_reason(requested: dict[str, Any], expected_text: str) -> None:
    view = make_view()
    answer = recommend(view, product_reference(view, 0), options(**requested))
    assert answer.returned < answer.requested
    assert answer.reason is not None
    assert expected_text in answer.reason


def test_the_reason_of_an_exhausted_catalogue() -> None:
    view = view_from_products([product("only")], np.eye(1, 2))
    answer = recommend(view, product_reference(view, 0), SearchOptions())
    assert (answer.hits, answer.returned) == ([], 0)
    assert answer.reason == "only 0 products besides the reference"
    answer = recommend(view, vector_reference(view, [1.0, 0.0]), SearchOptions())
    assert answer.reason == "the catalogue has no more products"


def test_k_grows_when_stages_drop_many_hits_and_then_stops() -> None:
    products = [product(f"p{i:03d}", group="one" if i < 300 else f"g{i}") for i in range(310)]
    view = view_from_products(products, clustered(310, 8, seed=4))
    answer = recommend(view, vector_reference(view, np.ones(8)), options(one_per_group=True, limit=11))
    assert answer.returned == 11
    searches = search_count(view)
    assert searches <= 5
    recommend(view, vector_reference(view, np.ones(8)), options(min_score=0.999, limit=20))
    assert search_count(view) == searches + 1
