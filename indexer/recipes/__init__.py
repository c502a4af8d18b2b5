"""FAISS index recipes: choosing, building, measuring and searching the index of a catalogue.

The only package that imports faiss. It works on vectors and row numbers and knows nothing of products,
deletions or the other files of a snapshot.
"""

from vitrine.indexer.recipes.build import IndexReport, PreviousIndex, build_index
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.recipe import RecipeRequest
from vitrine.indexer.recipes.sketch import SKETCH

__all__ = [
    "SKETCH",
    "IndexReport",
    "PreviousIndex",
    "RecipeRequest",
    "VectorIndex",
    "build_index",
]
