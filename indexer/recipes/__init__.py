"""Recipes: which faiss index a catalogue gets, how it is built and measured, and how it is searched.

The only importer of faiss. Knows vectors and row numbers; products, deletions and files beside the index are
others' affair.
"""

from indexer.recipes.build import IndexReport, PreviousIndex, build_index
from indexer.recipes.choice import RecipeRequest
from indexer.recipes.index import VectorIndex
from indexer.recipes.scoring import ROUNDING, Neighbours, score_rows
from indexer.recipes.sketch import FILE as SKETCH

__all__ = [
    "ROUNDING",
    "SKETCH",
    "IndexReport",
    "Neighbours",
    "PreviousIndex",
    "RecipeRequest",
    "VectorIndex",
    "build_index",
    "score_rows",
]
