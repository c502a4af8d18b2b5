"""Instance retrieval: search for products by simulated photos of them, with real pictures and the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Rows
from vitrine.indexer.errors import PictureError
from vitrine.indexer.evaluation.evaluation_set import EvaluationSet, PictureReader
from vitrine.indexer.evaluation.photographs import PHOTO_CHANGES, simulate_photo
from vitrine.indexer.models import load_recorded_model
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.progress import Progress
from vitrine.indexer.vectors.metrics import target_ranks

SEED = 11
_BATCH = 32


def evaluate_instances(
    evaluation_set: EvaluationSet, pictures: PictureReader, count: int, progress: Progress
) -> dict[str, dict[str, float]]:
    """Simulate photos of `count` products with each of PHOTO_CHANGES and search for them among all products.

    Returns figures by method, "snapshot" and (if the cache has the model's vectors) "notebook": the share
    found first by change, and over all changes that share ("all") and the mean reciprocal rank ("mrr").
    Raises ModelError.
    """
    rng = np.random.default_rng(SEED)
    total = len(evaluation_set.rows)
    chosen = np.sort(rng.choice(total, min(count, total), replace=False))
    photos, targets = _embed_photos(evaluation_set, pictures, chosen, progress)
    galleries: dict[str, tuple[FloatMatrix, Callable[[FloatMatrix], FloatMatrix]]] = {
        "snapshot": (evaluation_set.snapshot_vectors, evaluation_set.snapshot.transform.apply)
    }
    if evaluation_set.model_vectors is not None:
        galleries["notebook"] = (evaluation_set.model_vectors, lambda vectors: vectors)
    figures: dict[str, dict[str, float]] = {}
    for method, (gallery, transform) in galleries.items():
        ranks = {
            change: target_ranks(transform(vectors) @ gallery.T, targets)
            for change, vectors in photos.items()
        }
        all_ranks = np.concatenate(list(ranks.values()))
        figures[method] = {
            change: round(float((change_ranks == 0).mean()), 4) for change, change_ranks in ranks.items()
        }
        figures[method]["all"] = round(float((all_ranks == 0).mean()), 4)
        figures[method]["mrr"] = round(float((1 / (1 + all_ranks)).mean()), 4)
    return figures


def _embed_photos(
    evaluation_set: EvaluationSet, pictures: PictureReader, indices: Rows, progress: Progress
) -> tuple[dict[str, FloatMatrix], Rows]:
    """Return model vectors (n, D) by change, and the (n,) indices of the products with a readable picture."""
    record = evaluation_set.snapshot.manifest.model
    model = load_recorded_model(
        {"name": record.name, "handle": record.handle, "digest": record.digest,
         "preprocessing": record.preprocessing}
    )  # fmt: skip
    spec = Preprocessing.parse(record.preprocessing)
    pictures_by_index: dict[int, bytes] = {}
    for index in indices.tolist():
        try:
            pictures_by_index[index] = pictures.read(int(evaluation_set.rows[index]))
        except PictureError:
            continue
    progress.start(len(pictures_by_index) * len(PHOTO_CHANGES), "simulated photos")
    photos = {}
    for change in PHOTO_CHANGES:
        rng = np.random.default_rng(SEED)
        pixels = [spec.to_pixels(simulate_photo(data, change, rng))[0] for data in pictures_by_index.values()]
        blocks = [np.stack(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
        photos[change] = np.concatenate([model.embed(block) for block in blocks])
        progress.advance(len(pixels))
    progress.done()
    model.close()
    return photos, np.array(list(pictures_by_index), np.int64)
