"""Recipes as text, and requests that can be refused before there are vectors."""

from __future__ import annotations

import pytest

from vitrine.indexer.errors import InputError
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.recipes.recipe import Recipe

DIMENSION = 160


def test_a_recipe_is_read_back_from_its_text() -> None:
    for recipe in (Recipe("Flat"), Recipe("HNSW32_SQ8", 64), Recipe("IVF{},SQ8", 128)):
        assert Recipe.parse(str(recipe)) == recipe


def test_the_number_of_lists_follows_the_number_of_products() -> None:
    assert str(Recipe("IVF{},SQ8", 64).with_list_count(40_000)) == "SVD64,IVF800,SQ8"
    assert str(Recipe("IVF{},SQ8").with_list_count(10)) == "IVF1,SQ8"


def test_only_a_copy_of_the_vectors_is_exact() -> None:
    assert Recipe("Flat").is_exact
    assert Recipe("SQfp16").is_exact
    assert not Recipe("Flat", 64).is_exact
    assert not Recipe("SQ8").is_exact


@pytest.mark.parametrize("recipe", ["FOO,99", "IDMap,Flat", "SVD500,SQ8", "SVD9,what", "PQ7", "LSH", ""])
def test_an_impossible_recipe_is_refused_without_vectors_in_plain_words(recipe: str) -> None:
    with pytest.raises(InputError, match=r"^recipe '") as caught:
        RecipeRequest(recipe).check(DIMENSION)
    assert not any(internal in str(caught.value) for internal in ("::", ".cpp", "Error", "=="))


@pytest.mark.parametrize(
    "recipe", ["auto", "flat", "hnsw", "ivf", "HNSW16_SQ8", "SVD32,SQ8", "IVF64,PQ8x4fs"]
)
def test_a_possible_recipe_is_not_refused(recipe: str) -> None:
    RecipeRequest(recipe).check(DIMENSION)
