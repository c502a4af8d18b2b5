"""Answers about the whole catalogue: status, categories, category similarity, projection."""

from __future__ import annotations

import pytest

from tests.indexes import CATEGORIES
from vitrine.service import Catalogue


def test_the_status_counts_live_deleted_and_uploaded_products(catalogue: Catalogue) -> None:
    catalogue.delete(["p00", "p01"])
    status = catalogue.status()
    assert (status["products"], status["live"], status["deleted"], status["uploaded"]) == (12, 10, 2, 0)
    assert status["categories"] == len(CATEGORIES)
    assert status["journal_sequence"] == 2
    assert (status["problem"], status["rules"]["problem"]) == (None, None)


def test_categories_are_listed_with_counts_and_live_ids(catalogue: Catalogue) -> None:
    catalogue.delete("p00")
    by_name = {category["name"]: category for category in catalogue.categories()["categories"]}
    assert sorted(by_name) == sorted(CATEGORIES)
    first = by_name[CATEGORIES[0]]
    assert (first["live"], first["deleted"], first["sample"]) == (3, 1, ["p03", "p06", "p09"])


def test_the_matrix_is_symmetric_with_ones_on_the_diagonal(catalogue: Catalogue) -> None:
    answer = catalogue.matrix()
    assert answer["categories"] == sorted(CATEGORIES)
    assert [row[number] for number, row in enumerate(answer["matrix"])] == [1.0, 1.0, 1.0]
    assert answer["matrix"][0][1] == answer["matrix"][1][0]


def test_pairs_have_a_product_of_each_category(catalogue: Catalogue) -> None:
    pairs = catalogue.pairs(a=CATEGORIES[0], b=CATEGORIES[1], limit=2)["pairs"]
    assert [(pair["a"]["category"], pair["b"]["category"]) for pair in pairs] == [CATEGORIES[:2]] * 2
    assert pairs[0]["score"] >= pairs[1]["score"]


@pytest.mark.parametrize(("dimensions", "axes"), [(2, {"x", "y"}), (3, {"x", "y", "z"})])
def test_the_projection_has_a_coordinate_for_each_dimension(
    catalogue: Catalogue, dimensions: int, axes: set[str]
) -> None:
    answer = catalogue.projection(dimensions=dimensions)
    assert len(answer["points"]) == 12
    assert set(answer["points"][0]) == {"id", "name", "category"} | axes
    assert len(answer["explained_variance_ratio"]) == dimensions
