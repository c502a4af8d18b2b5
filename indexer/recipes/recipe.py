"""Recipes: FAISS factory strings, optionally behind a projection to fewer dimensions, and requests for one.

Shape letters: D dimension, p reduced dimension.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from vitrine.indexer.arrays import FloatMatrix
from vitrine.indexer.errors import InputError
from vitrine.indexer.recipes.engine import make_index

# Recipes by name, with the structures that are tried for each: see Chooser.
NAMED_RECIPES = {
    "auto": ("graph", "codes", "lists", "packed"),
    "hnsw": ("graph",),
    "ivf": ("lists", "packed"),
}
_REDUCED_RECIPE = re.compile(r"SVD(\d{1,5}),(.+)")


@dataclass(frozen=True, slots=True)
class RecipeRequest:
    """A recipe and the limits that the index must keep.

    recipe: auto, flat, hnsw, ivf or a FAISS factory string. target_recall: recall@10 in (0, 1].
    memory_bytes: the most memory that the index may take; None for no limit.
    """

    recipe: str = "auto"
    target_recall: float = 0.99
    memory_bytes: int | None = None

    def check(self, dimension: int) -> None:
        """Raise InputError if no vectors of this dimension can have this recipe, however many they are."""
        if self.recipe != "flat" and self.recipe not in NAMED_RECIPES:
            Recipe.parse(self.recipe).check(dimension)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A FAISS factory string behind a projection to `reduced_dimension` dimensions (0 for no projection)."""

    factory: str
    reduced_dimension: int = 0

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read a FAISS factory string, or one with our prefix for a projection, such as SVD64,HNSW32_SQ8."""
        match = _REDUCED_RECIPE.fullmatch(text)
        return cls(match[2], int(match[1])) if match else cls(text)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"SVD{self.reduced_dimension},{self.factory}" if self.reduced_dimension else self.factory

    def with_list_count(self, product_count: int) -> Recipe:
        """Return the recipe with the number of inverted lists for so many products in place of `{}`."""
        lists = max(min(int(4 * math.sqrt(product_count)), product_count // 40), 1)
        return replace(self, factory=self.factory.replace("{}", str(lists)))

    @property
    def is_exact(self) -> bool:
        """True if the index is a mere copy of the vectors; the vectors themselves are then searched."""
        return self.factory in ("Flat", "SQfp16") and not self.reduced_dimension

    def check(self, dimension: int) -> None:
        """Raise InputError if vectors of this dimension cannot have an index of this recipe."""
        if self.reduced_dimension > dimension:
            raise self._too_wide(dimension)
        make_index(self.reduced_dimension or dimension, self.factory)

    def make_empty_index(self, dimension: int, directions: FloatMatrix | None) -> Any:
        """Return the untrained faiss index. directions: (p or more, D), required for a projection."""
        if not self.reduced_dimension:
            return make_index(dimension, self.factory)
        if directions is None or len(directions) < self.reduced_dimension:
            raise self._too_wide(dimension)
        return make_index(dimension, self.factory, directions[: self.reduced_dimension])

    def _too_wide(self, dimension: int) -> InputError:
        return InputError(f"recipe {str(self)!r} keeps more directions than {dimension} dimensions have")
