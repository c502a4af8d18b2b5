"""Recipes: which faiss index a catalogue gets, how it is built and measured, and how it is searched.

The only importer of faiss. Knows vectors and row numbers; products, deletions and files beside the index are
others' affair.
"""

from vitrine.indexer.recipes.build import IndexReport, PreviousIndex, build_index
from vitrine.indexer.recipes.choice import RecipeRequest
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.sketch import FILE as SKETCH

__all__ = [
    "SKETCH",
    "IndexReport",
    "PreviousIndex",
    "RecipeRequest",
    "VectorIndex",
    "build_index",
]
