"""Does a product come back when it is photographed again? Asked with real pictures and the real network."""

from __future__ import annotations

import numpy as np

from vitrine.indexer.arrays import FloatMatrix
from vitrine.indexer.errors import PictureError
from vitrine.indexer.evaluation.photographs import KINDS, photograph_again
from vitrine.indexer.evaluation.subject import Pictures, Subject
from vitrine.indexer.models import load_recorded
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.progress import Progress
from vitrine.indexer.vectors.metrics import target_ranks

SEED = 11
_BATCH = 32


def find_instances(
    subject: Subject, pictures: Pictures, count: int, progress: Progress
) -> dict[str, dict[str, float]]:
    """Photograph `count` products again in each of KINDS and search for them among all.

    Returns, for the snapshot's way and (where the cache has it) the notebook's, the share found first by
    kind, and `all` and `mrr` over all kinds. Raises ModelError.
    """
    rng = np.random.default_rng(SEED)
    places = np.sort(rng.choice(len(subject.rows), min(count, len(subject.rows)), replace=False))
    photos, targets = _embed_photos(subject, pictures, places, progress)
    spaces = {"snapshot": (subject.served, subject.snapshot.transform.apply)}
    if subject.raw is not None:
        spaces["notebook"] = (subject.raw, lambda vectors: vectors)
    found: dict[str, dict[str, float]] = {}
    for way, (gallery, apply) in spaces.items():
        ranks = {kind: target_ranks(apply(each) @ gallery.T, targets) for kind, each in photos.items()}
        every = np.concatenate(list(ranks.values()))
        found[way] = {kind: round(float((each == 0).mean()), 4) for kind, each in ranks.items()}
        found[way] |= {"all": round(float((every == 0).mean()), 4)}
        found[way] |= {"mrr": round(float((1 / (1 + every)).mean()), 4)}
    return found


def _embed_photos(
    subject: Subject,
    pictures: Pictures,
    places: np.ndarray[tuple[int], np.dtype[np.int64]],
    progress: Progress,
) -> tuple[dict[str, FloatMatrix], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return raw vectors (n, D) by kind, and the places (n,) of their products, unreadable ones left out."""
    record = subject.snapshot.manifest.model
    model = load_recorded(
        {"name": record.name, "handle": record.handle, "digest": record.digest,
         "preprocessing": record.preprocessing}
    )  # fmt: skip
    spec = Preprocessing.parse(record.preprocessing)
    data: dict[int, bytes] = {}
    for place in places.tolist():
        try:
            data[place] = pictures.read(int(subject.rows[place]))
        except PictureError:
            continue
    progress.start(len(data) * len(KINDS), "photos taken again")
    photos = {}
    for kind in KINDS:
        rng = np.random.default_rng(SEED)
        pixels = [spec.pixels(photograph_again(each, kind, rng))[0] for each in data.values()]
        blocks = [np.stack(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
        photos[kind] = np.concatenate([model.embed(block) for block in blocks])
        progress.advance(len(pixels))
    progress.done()
    model.close()
    return photos, np.array(list(data), np.int64)
