"""What is looked at: the live products of a snapshot with their vectors, neighbours and pictures.

Shape letters: N live products, D dimension, K neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, RowMatrix, Rows
from vitrine.indexer.evaluation.evaluation_set import PictureReader, read_model_vectors
from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.pictures import MeasureCache, Measures
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.knn import KnnQuery, knn_join
from vitrine.indexer.vectors.metrics import category_labels

NEIGHBOURS = 10


@dataclass(frozen=True)
class Neighbourhood:
    """places: (N, K) of the products nearest to each, best first; -1 for none. scores: (N, K)."""

    places: RowMatrix
    scores: FloatMatrix


@dataclass(frozen=True)
class QualityInput:
    """N products in order of id. categories: names by code; codes: (N,), -1 for none. groups: (N,), -1 none.

    raw: (N, D) as the model said, or as searched where `is_raw` is False. served and alike: neighbours as
    searched, and by `raw`. sizes_px: (N, 2) width and height.
    """

    ids: Sequence[str]
    categories: Sequence[str]
    codes: Codes
    groups: Codes
    digests: Sequence[str]
    sizes_px: RowMatrix
    raw: FloatMatrix
    is_raw: bool
    served: Neighbourhood
    alike: Neighbourhood
    pictures: Measures

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)


def read_quality_input(folder: IndexFolder, standing: CatalogueState, progress: Progress) -> QualityInput:
    """Read the live products of the snapshot; uploads wait for the next build."""
    snapshot, table = standing.snapshot, standing.snapshot.table
    rows = standing.live_rows[standing.live_rows < len(table)]
    served = np.asarray(snapshot.vectors[rows], np.float32)
    read = read_model_vectors(folder, snapshot, rows)
    raw = served if read is None else read
    near = nearest_neighbours(served)
    digests, widths, heights = table.columns(("sha256", "width", "height"), rows)
    cache = MeasureCache(folder.layout.cache)
    return QualityInput(
        ids=table.ids(rows),
        categories=standing.categories,
        codes=category_labels(standing.categories, standing.category_codes[rows]),
        groups=standing.segments.group_codes[rows],
        digests=digests,
        sizes_px=np.array([widths, heights], np.int64).T.reshape(-1, 2),
        raw=raw,
        is_raw=read is not None,
        served=near,
        alike=near if read is None or snapshot.transform.is_identity else nearest_neighbours(raw),
        pictures=cache.measures(PictureReader(folder, snapshot), rows, digests, progress),
    )


def nearest_neighbours(vectors: FloatMatrix, k: int = NEIGHBOURS) -> Neighbourhood:
    """Return the K nearest of each of (N, D) unit rows."""
    count = len(vectors)
    everybody = np.arange(count)
    places = np.full((count, k), -1, np.int64)
    scores = np.full((count, k), -1, np.float32)

    def read(rows: Rows) -> Any:
        return vectors[rows]

    for row, hits in knn_join(read, KnnQuery(everybody, everybody, k, everybody)):
        places[row, : len(hits)], scores[row, : len(hits)] = hits.rows, hits.scores
    return Neighbourhood(places, scores)
