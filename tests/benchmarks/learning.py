"""Benchmark of the transforms, of confidences, and of the preprocessing of pictures.

The products of each category are split into two halves by a fixed seed. A transform is fitted to one half,
with its parameters chosen by cross-validation inside it. The other half is searched with its own products and
with simulated new photos of them. Then the halves are exchanged.
Shape letters: N products, n products with new photos, D dimension.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.embedding import PHOTOS
from tests.benchmarks.pictures_in import VARIANTS, Embedder
from tests.benchmarks.report import Row, Section
from tests.paths import DEMO
from tests.vectors import kolmogorov_smirnov
from vitrine.indexer.arrays import DoubleArray, FloatMatrix, Labels, Mask, Rows, unit
from vitrine.indexer.evaluation.photographs import PHOTO_CHANGES, simulate_photo
from vitrine.indexer.snapshot.confidence import calibrate
from vitrine.indexer.source.source import Source, open_source
from vitrine.indexer.transform.choice import choose_transform
from vitrine.indexer.transform.sample import TrainingSet, stratified_folds
from vitrine.indexer.transform.transform import Transform
from vitrine.indexer.vectors.metrics import (
    LabelledVectors,
    concatenate_metrics,
    evaluate_retrieval,
    target_ranks,
)

SEEDS = (0, 1, 2)
FOLDS = 10
PHOTOGRAPHED = 250
ROUNDS, TIMED_PICTURES = 5, 32
SQUASH = next(iter(VARIANTS))
TRANSFORMS = ("none", "centre", "adapt")
# Changes of the photos that are averaged with the picture of a product; queries have the other changes.
AVERAGED_CHANGES = ("crop", "light", "scale")


@dataclass(frozen=True)
class PhotoSet:
    """Pictures of products and simulated new photos of some of them.

    pictures: N encoded. labels: (N,). photographed: (n,) products with new photos. photos: n encoded by
    change.
    """

    pictures: Sequence[bytes]
    names: Sequence[str]
    labels: Labels
    photographed: Rows
    photos: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class EmbeddedPhotos:
    """Vectors of a photo set. vectors: (N, D) of the pictures. photos: (n, D) by change."""

    vectors: FloatMatrix
    photos: Mapping[str, FloatMatrix]


@dataclass(frozen=True)
class Results:
    """Retrieval results over both halves.

    recall_at_1: share of new photos whose product is found first, by change, and for `all`.
    is_first: whether it is, for each new photo, in the same order for all transforms.
    """

    precision_at_5: float
    mean_precision: float
    recall_at_1: Mapping[str, float]
    is_first: Mask

    def __str__(self) -> str:
        return f"{self.precision_at_5:.3f} / {self.mean_precision:.3f} / {self.recall_at_1['all']:.3f}"


def run(quick: bool) -> Section:
    """Measure the clothing photos beside the repository, or those of the demo."""
    photo_set = _read_photos(step=6 if quick else 1, photographed=40 if quick else PHOTOGRAPHED)
    embedders = {name: Embedder(variant) for name, variant in VARIANTS.items()}
    durations = _relative_durations(photo_set, embedders)
    embedded = {name: _embed(photo_set, embedder) for name, embedder in embedders.items()}
    squashed = embedded[SQUASH]
    seeds = SEEDS[:1] if quick else SEEDS
    results = {
        seed: {name: _evaluate(photo_set, squashed, name, seed) for name in TRANSFORMS} for seed in seeds
    }
    rows = [*_category_rows(results), *_photo_rows(results), *_confidence_rows(photo_set, squashed)]
    rows += _preprocessing_rows(photo_set, embedded, durations, results[0])
    rows.append(_averaging_row(photo_set, squashed))
    location = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"{len(photo_set.pictures)} photos of {location}, {len(photo_set.names)} categories, "
        "efficientnet-lite2. The products of each category are split into halves by a fixed seed; a "
        "transform is fitted to one half, with parameters chosen by cross-validation inside it; every "
        "product of the other half is a query in that half; then the halves are exchanged. New photos of "
        f"{len(photo_set.photographed)} products were simulated in {len(PHOTO_CHANGES)} ways "
        f"({', '.join(PHOTO_CHANGES)}) and searched in the half that the transform was not fitted to."
    )
    return Section("Learning", about, rows, _notes())


def _read_photos(step: int, photographed: int) -> PhotoSet:
    """Read every `step`-th picture, and simulate new photos of a random sample of the products."""
    source: Source = open_source(PHOTOS if PHOTOS.is_dir() else DEMO / "catalogue.csv")
    rows = range(0, len(source), step)
    pictures = [source.read(row) for row in rows]
    names = source.products.column("category").take(list(rows)).to_pylist()
    categories = sorted(set(names))
    codes = {name: code for code, name in enumerate(categories)}
    labels = np.array([codes[name] for name in names], np.int32)
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(pictures), min(photographed, len(pictures)), replace=False))
    photos = {
        change: [simulate_photo(pictures[index], change, rng) for index in sample] for change in PHOTO_CHANGES
    }
    return PhotoSet(pictures, categories, labels, sample.astype(np.int64), photos)


def _embed(photo_set: PhotoSet, embedder: Embedder) -> EmbeddedPhotos:
    embedded = EmbeddedPhotos(
        embedder.embed(photo_set.pictures),
        {change: embedder.embed(pictures) for change, pictures in photo_set.photos.items()},
    )
    embedder.close()
    return embedded


def _relative_durations(photo_set: PhotoSet, embedders: Mapping[str, Embedder]) -> dict[str, float]:
    """Return the duration of each preprocessing variant relative to squashing, as medians over rounds."""
    pictures = photo_set.pictures[:TIMED_PICTURES]
    rounds = [
        {name: embedder.duration_s(pictures) for name, embedder in embedders.items()} for _ in range(ROUNDS)
    ]
    return {
        name: statistics.median(durations_s[name] / durations_s[SQUASH] for durations_s in rounds)
        for name in embedders
    }


def _fit_to_halves(
    photo_set: PhotoSet, embedded: EmbeddedPhotos, name: str, seed: int
) -> Iterator[tuple[Rows, Transform]]:
    """Yield the rows of each test half with the transform that was fitted to the other half."""
    items = np.arange(len(photo_set.labels), dtype=np.int32)
    half_of = stratified_folds(photo_set.labels, items, 2, seed)
    for half in (0, 1):
        training, test = np.flatnonzero(half_of != half), np.flatnonzero(half_of == half)
        yield test, choose_transform(name, _training_set(photo_set, embedded, training))


def _training_set(photo_set: PhotoSet, embedded: EmbeddedPhotos, rows: Rows) -> TrainingSet:
    items = np.arange(len(rows), dtype=np.int32)
    return TrainingSet(
        lambda selected: embedded.vectors[rows[selected]], photo_set.names, photo_set.labels[rows], items
    )


def _evaluate(photo_set: PhotoSet, embedded: EmbeddedPhotos, name: str, seed: int = 0) -> Results:
    """Evaluate one transform. A half that it cannot be fitted to is evaluated with its fallback."""
    metrics = []
    ranks_of_halves: dict[str, list[Labels]] = {change: [] for change in embedded.photos}
    items = np.arange(len(photo_set.labels), dtype=np.int32)
    for test, transform in _fit_to_halves(photo_set, embedded, name, seed):
        gallery = transform.apply(embedded.vectors[test])
        labelled = LabelledVectors(gallery, photo_set.labels[test], items[test])
        metrics.append(evaluate_retrieval(labelled, labelled))
        is_in_half = np.isin(photo_set.photographed, test)
        targets = np.searchsorted(test, photo_set.photographed[is_in_half])
        for change, vectors in embedded.photos.items():
            scores = transform.apply(vectors[is_in_half]) @ gallery.T
            ranks_of_halves[change].append(target_ranks(scores, targets))
    summary = concatenate_metrics(metrics).summary()
    ranks = {change: np.concatenate(halves) for change, halves in ranks_of_halves.items()}
    ranks["all"] = np.concatenate(list(ranks.values()))
    recall_at_1 = {change: float((values == 0).mean()) for change, values in ranks.items()}
    return Results(summary["precision_at_5"], summary["map"], recall_at_1, ranks["all"] == 0)


def _category_rows(results: Mapping[int, Mapping[str, Results]]) -> list[Row]:
    plain, centred, adapted = (results[0][name] for name in TRANSFORMS)
    p5, precision = adapted.precision_at_5, adapted.mean_precision
    precisions = [by_transform["adapt"].mean_precision for by_transform in results.values()]
    return [
        Row("P@5 / mAP, as in the notebook", f"{plain.precision_at_5:.3f} / {plain.mean_precision:.3f}"),
        Row("P@5 / mAP, centred", f"{centred.precision_at_5:.3f} / {centred.mean_precision:.3f}"),
        Row("P@5, adapted", f"{p5:.3f}", "at least 0.66", p5 >= 0.66),
        Row("mAP, adapted", f"{precision:.3f}", "at least 0.56", precision >= 0.56),
        Row(
            f"mAP, adapted, by {len(results)} seeds of the halves",
            f"{min(precisions):.3f} to {max(precisions):.3f}",
        ),
    ]


def _photo_rows(results: Mapping[int, Mapping[str, Results]]) -> list[Row]:
    """Compare the transforms on new photos.

    The photos are the same for all seeds, so the confidence interval counts them once.
    """
    plain, adapted = ([by_transform[name] for by_transform in results.values()] for name in ("none", "adapt"))
    gains = np.concatenate(
        [b.is_first.astype(float) - a.is_first.astype(float) for a, b in zip(plain, adapted, strict=True)]
    )
    margin = 1.96 * float(gains.std()) / np.sqrt(len(plain[0].is_first))

    def compare(change: str) -> str:
        before, after = (np.mean([each.recall_at_1[change] for each in group]) for group in (plain, adapted))
        return f"{before:.3f} / {after:.3f}"

    return [
        Row(
            "new photos, product found first: as in the notebook / adapted",
            f"{compare('all')}, {gains.mean():+.4f} ± {margin:.4f}",
            "not significantly worse (95 %)",
            bool(gains.mean() + margin >= 0),
        ),
        Row(
            "the same by kind of photo", ", ".join(f"{change} {compare(change)}" for change in PHOTO_CHANGES)
        ),
    ]


def _confidence_rows(photo_set: PhotoSet, embedded: EmbeddedPhotos) -> list[Row]:
    """Measure how uniform the confidences of products are that the calibration has not seen."""
    all_rows = np.arange(len(photo_set.labels))
    transform = choose_transform("auto", _training_set(photo_set, embedded, all_rows))
    scores = _nearest_scores(transform.apply(embedded.vectors))
    folds = np.random.default_rng(0).permutation(len(scores)) % FOLDS
    confidences = np.empty(len(scores))
    for fold in range(FOLDS):
        is_training = folds != fold
        calibration = calibrate(scores[is_training], photo_set.labels[is_training], photo_set.names)
        for row in np.flatnonzero(~is_training):
            category = photo_set.names[photo_set.labels[row]]
            confidences[row] = calibration.confidences_of(scores[row], category)
    distance = kolmogorov_smirnov(confidences)
    outside = [
        _confidences_across_halves(photo_set, embedded, test, fitted)
        for test, fitted in _fit_to_halves(photo_set, embedded, "auto", 0)
    ]
    return [
        Row(
            f"confidence of held-out products, Kolmogorov-Smirnov distance from uniform ({transform.name})",
            f"{distance:.3f}",
            "at most 0.05",
            distance <= 0.05,
        ),
        Row(
            "the same distance for photos of products outside the training half, such as those of customers",
            f"{kolmogorov_smirnov(np.concatenate(outside)):.3f}",
        ),
    ]


def _nearest_scores(vectors: FloatMatrix) -> DoubleArray:
    """Return the score of the nearest other row of each row, (N,)."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    nearest: DoubleArray = scores.max(axis=1).astype(np.float64)
    return nearest


def _confidences_across_halves(
    photo_set: PhotoSet, embedded: EmbeddedPhotos, test: Rows, transform: Transform
) -> DoubleArray:
    """Return the confidence of the nearest hit of each test product in the training half."""
    training = np.setdiff1d(np.arange(len(photo_set.labels)), test)
    gallery = transform.apply(embedded.vectors[training])
    calibration = calibrate(_nearest_scores(gallery), photo_set.labels[training], photo_set.names)
    return calibration.confidences_of((transform.apply(embedded.vectors[test]) @ gallery.T).max(axis=1))


def _preprocessing_rows(
    photo_set: PhotoSet,
    embedded: Mapping[str, EmbeddedPhotos],
    durations: Mapping[str, float],
    squashed: Mapping[str, Results],
) -> list[Row]:
    """Compare the quality and the duration of the preprocessing variants, plain and adapted."""
    rows = []
    for variant, vectors in embedded.items():
        results = (
            squashed
            if variant == SQUASH
            else {name: _evaluate(photo_set, vectors, name) for name in ("none", "adapt")}
        )
        value = f"{results['none']}; adapted {results['adapt']}; {durations[variant]:.2f} times the duration"
        rows.append(Row(f"preprocessing: {variant}", value))
    return rows


def _averaging_row(photo_set: PhotoSet, embedded: EmbeddedPhotos) -> Row:
    """Compare products of one picture with products whose vector is the mean of several photos."""
    vectors = embedded.vectors.copy()
    vectors[photo_set.photographed] += np.sum([embedded.photos[name] for name in AVERAGED_CHANGES], axis=0)
    queries = {name: photos for name, photos in embedded.photos.items() if name not in AVERAGED_CHANGES}
    single, averaged = EmbeddedPhotos(embedded.vectors, queries), EmbeddedPhotos(unit(vectors), queries)

    def compare(transform: str) -> str:
        return " / ".join(
            f"{_evaluate(photo_set, each, transform).recall_at_1['all']:.3f}" for each in (single, averaged)
        )

    averaged_changes = ", ".join(AVERAGED_CHANGES)
    return Row(
        f"product found first by {', '.join(queries)}: one picture / mean of it and {averaged_changes}",
        f"{compare('none')}; adapted {compare('adapt')}",
    )


def _notes() -> list[str]:
    return [
        "figures of `preprocessing` are P@5 / mAP / share of new photos whose product is found first; "
        "differences under two points are noise at this size",
        "new photos are simulated from the same file (indexer/evaluation/photographs.py): real ones are "
        "harder to find",
    ]
