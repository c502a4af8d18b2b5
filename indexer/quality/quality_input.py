"""Input of the quality checks: the live products of a snapshot with vectors, neighbours and pictures.

Shape letters: N live products, D dimension, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, RowMatrix
from vitrine.indexer.evaluation.evaluation_set import PictureReader, read_model_vectors
from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.pictures import MeasureCache, PictureMeasures
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.knn import KnnQuery, knn_join
from vitrine.indexer.vectors.metrics import category_labels

NEIGHBOURS = 10


@dataclass(frozen=True)
class NeighbourLists:
    """The K nearest products of each product, best first.

    indices: (N, K) in 0..N-1, -1 for none. scores: (N, K), -1 for none.
    """

    indices: RowMatrix
    scores: FloatMatrix


@dataclass(frozen=True)
class QualityInput:
    """N products in order of id.

    category_codes: (N,) index into `categories`, -1 for none. group_codes: (N,), -1 for none. digests:
    SHA-256 of the pictures, hex. sizes_px: (N, 2) width and height. model_vectors: (N, D) of the model's
    space, or of the snapshot's space where has_model_vectors is False. model_neighbours: nearest by
    model_vectors. search_neighbours: nearest in the snapshot's space, as searches return them.
    """

    ids: Sequence[str]
    categories: Sequence[str]
    category_codes: Codes
    group_codes: Codes
    digests: Sequence[str]
    sizes_px: RowMatrix
    model_vectors: FloatMatrix
    has_model_vectors: bool
    search_neighbours: NeighbourLists
    model_neighbours: NeighbourLists
    pictures: PictureMeasures

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)


def read_quality_input(folder: IndexFolder, state: CatalogueState, progress: Progress) -> QualityInput:
    """Read the live products of the state's snapshot, without uploads."""
    snapshot, table = state.snapshot, state.snapshot.table
    rows = state.live_rows[state.live_rows < len(table)]
    snapshot_vectors = np.asarray(snapshot.vectors[rows], np.float32)
    model_vectors = read_model_vectors(folder, snapshot, rows)
    search_neighbours = nearest_neighbours(snapshot_vectors)
    model_neighbours = search_neighbours
    if model_vectors is not None and not snapshot.transform.is_identity:
        model_neighbours = nearest_neighbours(model_vectors)
    digests, widths, heights = table.columns(("sha256", "width", "height"), rows)
    cache = MeasureCache(folder.layout.cache)
    return QualityInput(
        ids=table.ids(rows),
        categories=state.categories,
        category_codes=category_labels(state.categories, state.category_codes[rows]),
        group_codes=state.segments.group_codes[rows],
        digests=digests,
        sizes_px=np.array([widths, heights], np.int64).T.reshape(-1, 2),
        model_vectors=snapshot_vectors if model_vectors is None else model_vectors,
        has_model_vectors=model_vectors is not None,
        search_neighbours=search_neighbours,
        model_neighbours=model_neighbours,
        pictures=cache.measures(PictureReader(folder, snapshot), rows, digests, progress),
    )


def nearest_neighbours(vectors: FloatMatrix, k: int = NEIGHBOURS) -> NeighbourLists:
    """Return the K nearest other rows of each of (N, D) unit rows."""
    count = len(vectors)
    rows = np.arange(count)
    indices = np.full((count, k), -1, np.int64)
    scores = np.full((count, k), -1, np.float32)
    query = KnnQuery(queries=rows, candidates=rows, k=k, tie_ranks=rows)
    for row, hits in knn_join(lambda block: vectors[block], query):
        indices[row, : len(hits)], scores[row, : len(hits)] = hits.rows, hits.scores
    return NeighbourLists(indices, scores)
