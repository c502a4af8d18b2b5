"""Learning: what the catalogue's categories teach, what scores mean, and which pictures go in.

The products of every category are dealt into two halves by a fixed seed. What is learnt is learnt from one
half, its parameters chosen inside it; the other half is searched with its own products and with photos of
them taken again; then the halves change places. Shape letters: N products, D dimension.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.embedding import PHOTOS
from tests.benchmarks.pictures_in import WAYS, Embedder
from tests.benchmarks.report import Row, Section
from tests.paths import DEMO
from tests.vectors import kolmogorov_smirnov
from vitrine.indexer.arrays import DoubleArray, FloatMatrix, Labels, Rows, unit
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
TURNS, TIMED = 5, 32
SQUASH = next(iter(WAYS))
SPACES = ("none", "centre", "adapt")
# Of one item there are these photos besides its own; queries are of the other kinds.
GROUPED = ("crop", "light", "scale")


@dataclass(frozen=True)
class Shop:
    """pictures: N encoded. labels: (N,). photographed: the places that `again` shows, by kind."""

    pictures: Sequence[bytes]
    names: Sequence[str]
    labels: Labels
    photographed: np.ndarray[tuple[int], np.dtype[np.int64]]
    again: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class Space:
    """vectors: (N, D) of a shop. again: (n, D) by kind of photo."""

    vectors: FloatMatrix
    again: Mapping[str, FloatMatrix]


@dataclass(frozen=True)
class Figures:
    """Both halves together. found: by kind of photo, and `all`, the share whose product comes first.

    firsts: (n,) whether that was so, of every photo in an order that all transforms share.
    """

    precision_at_5: float
    mean_precision: float
    found: Mapping[str, float]
    firsts: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def __str__(self) -> str:
        return f"{self.precision_at_5:.3f} / {self.mean_precision:.3f} / {self.found['all']:.3f}"


def run(quick: bool) -> Section:
    """Measure on shared/photos/clothing where it lies beside the repo, else on the demo's pictures."""
    shop = _shop(step=6 if quick else 1, photographed=40 if quick else PHOTOGRAPHED)
    embedders = {name: Embedder(way) for name, way in WAYS.items()}
    costs = _costs(shop, embedders)
    spaces = {name: _embed(shop, embedder) for name, embedder in embedders.items()}
    squashed = spaces[SQUASH]
    seeds = SEEDS[:1] if quick else SEEDS
    measured = {seed: {name: _measure(shop, squashed, name, seed) for name in SPACES} for seed in seeds}
    rows = [*_category_rows(measured), *_instance_rows(measured), *_confidence_rows(shop, squashed)]
    rows += _picture_rows(shop, spaces, costs, measured[0])
    rows.append(_grouped_row(shop, squashed))
    where = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"{len(shop.pictures)} photos of {where}, {len(shop.names)} categories, efficientnet-lite2. The "
        "products of each category are dealt into halves by a fixed seed; learnt on one half, its parameters "
        "chosen by cross-validation inside it; every product of the other half searches that half; then the "
        f"halves change places. {len(shop.photographed)} products were photographed again in "
        f"{len(PHOTO_CHANGES)} ways ({', '.join(PHOTO_CHANGES)}) and searched for in the half that was not learnt from."
    )
    return Section("Learning", about, rows, _notes())


def _shop(step: int, photographed: int) -> Shop:
    source: Source = open_source(PHOTOS if PHOTOS.is_dir() else DEMO / "catalogue.csv")
    places = range(0, len(source), step)
    pictures = [source.read(place) for place in places]
    names = source.products.column("category").take(list(places)).to_pylist()
    categories = sorted(set(names))
    number = {name: code for code, name in enumerate(categories)}
    labels = np.array([number[name] for name in names], np.int32)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(len(pictures), min(photographed, len(pictures)), replace=False))
    again = {kind: [simulate_photo(pictures[place], kind, rng) for place in chosen] for kind in PHOTO_CHANGES}
    return Shop(pictures, categories, labels, chosen.astype(np.int64), again)


def _embed(shop: Shop, embedder: Embedder) -> Space:
    space = Space(
        embedder.embed(shop.pictures),
        {kind: embedder.embed(pictures) for kind, pictures in shop.again.items()},
    )
    embedder.close()
    return space


def _costs(shop: Shop, embedders: Mapping[str, Embedder]) -> dict[str, float]:
    """Return the time of each way against squashing: medians of turns."""
    turns = [
        {name: embedder.seconds_of(shop.pictures[:TIMED]) for name, embedder in embedders.items()}
        for _ in range(TURNS)
    ]
    return {name: statistics.median(turn[name] / turn[SQUASH] for turn in turns) for name in embedders}


def _halves(shop: Shop, space: Space, name: str, seed: int) -> Iterator[tuple[Rows, Transform]]:
    """Yield the half that was not learnt from, (N/2,) places, with what the other taught."""
    items = np.arange(len(shop.labels), dtype=np.int32)
    side = stratified_folds(shop.labels, items, 2, seed)
    for half in (0, 1):
        learnt, judged = np.flatnonzero(side != half), np.flatnonzero(side == half)
        yield judged, choose_transform(name, _catalogue(shop, space, learnt))


def _catalogue(shop: Shop, space: Space, rows: Rows) -> TrainingSet:
    items = np.arange(len(rows), dtype=np.int32)
    return TrainingSet(lambda chosen: space.vectors[rows[chosen]], shop.names, shop.labels[rows], items)


def _measure(shop: Shop, space: Space, name: str, seed: int = 0) -> Figures:
    """Judge one transform; a half that it refuses to learn from is judged as it fell back."""
    judgements = []
    ranks: dict[str, list[Labels]] = {kind: [] for kind in space.again}
    items = np.arange(len(shop.labels), dtype=np.int32)
    for judged, transform in _halves(shop, space, name, seed):
        gallery = transform.apply(space.vectors[judged])
        labelled = LabelledVectors(gallery, shop.labels[judged], items[judged])
        judgements.append(evaluate_retrieval(labelled, labelled))
        here = np.isin(shop.photographed, judged)
        targets = np.searchsorted(judged, shop.photographed[here])
        for kind, vectors in space.again.items():
            ranks[kind].append(target_ranks(transform.apply(vectors[here]) @ gallery.T, targets))
    summary = concatenate_metrics(judgements).summary()
    places = {kind: np.concatenate(parts) for kind, parts in ranks.items()}
    places["all"] = np.concatenate(list(places.values()))
    found = {kind: float((each == 0).mean()) for kind, each in places.items()}
    return Figures(summary["precision_at_5"], summary["map"], found, places["all"] == 0)


def _category_rows(measured: Mapping[int, Mapping[str, Figures]]) -> list[Row]:
    plain, centred, adapted = (measured[0][name] for name in SPACES)
    p5, precision = adapted.precision_at_5, adapted.mean_precision
    others = [figures["adapt"] for figures in measured.values()]
    low, high = (f(each.mean_precision for each in others) for f in (min, max))
    return [
        Row("P@5 / mAP, the notebook's way", f"{plain.precision_at_5:.3f} / {plain.mean_precision:.3f}"),
        Row("P@5 / mAP, centred", f"{centred.precision_at_5:.3f} / {centred.mean_precision:.3f}"),
        Row("P@5, adapted", f"{p5:.3f}", "at least 0.66", p5 >= 0.66),
        Row("mAP, adapted", f"{precision:.3f}", "at least 0.56", precision >= 0.56),
        Row(f"mAP, adapted, by {len(measured)} seeds of the halves", f"{low:.3f} to {high:.3f}"),
    ]


def _instance_rows(measured: Mapping[int, Mapping[str, Figures]]) -> list[Row]:
    """Compare on the same photos, over all seeds; their number is counted once, since they are the same."""
    plain, adapted = ([figures[way] for figures in measured.values()] for way in ("none", "adapt"))
    before, after = (np.mean([each.found["all"] for each in every]) for every in (plain, adapted))
    gains = np.concatenate(
        [b.firsts.astype(float) - a.firsts.astype(float) for a, b in zip(plain, adapted, strict=True)]
    )
    margin = 1.96 * float(gains.std()) / np.sqrt(len(plain[0].firsts))
    kinds = [
        (kind, *(np.mean([each.found[kind] for each in every]) for every in (plain, adapted)))
        for kind in PHOTO_CHANGES
    ]
    by_kind = ", ".join(f"{kind} {one:.3f} / {other:.3f}" for kind, one, other in kinds)
    return [
        Row(
            "photographed again, found first: as the notebook / adapted",
            f"{before:.3f} / {after:.3f}, {gains.mean():+.4f} ± {margin:.4f}",
            "no worse than chance explains (95 %)",
            bool(gains.mean() + margin >= 0),
        ),
        Row("the same by kind", by_kind),
    ]


def _confidence_rows(shop: Shop, space: Space) -> list[Row]:
    """Return how uniform confidence is: calibrated without a tenth of the products, asked for these."""
    transform = choose_transform("auto", _catalogue(shop, space, np.arange(len(shop.labels))))
    scores = _nearest_scores(transform.apply(space.vectors))
    fold = np.random.default_rng(0).permutation(len(scores)) % FOLDS
    levels = np.empty(len(scores))
    for each in range(FOLDS):
        kept = fold != each
        fitted = calibrate(scores[kept], shop.labels[kept], shop.names)
        for place in np.flatnonzero(~kept):
            levels[place] = fitted.confidences_of(scores[place], shop.names[shop.labels[place]])
    distance = kolmogorov_smirnov(levels)
    strangers = [_strangers(shop, space, judged, each) for judged, each in _halves(shop, space, "auto", 0)]
    return [
        Row(
            f"confidence of held-out products, Kolmogorov-Smirnov distance from uniform ({transform.name})",
            f"{distance:.3f}",
            "at most 0.05",
            distance <= 0.05,
        ),
        Row(
            "the same distance of photos of products that nothing was learnt from, such as a customer's",
            f"{kolmogorov_smirnov(np.concatenate(strangers)):.3f}",
        ),
    ]


def _nearest_scores(vectors: FloatMatrix) -> DoubleArray:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    nearest: DoubleArray = scores.max(axis=1).astype(np.float64)
    return nearest


def _strangers(shop: Shop, space: Space, judged: Rows, transform: Transform) -> DoubleArray:
    """Return the confidence of nearest hits of one half among the other, which was learnt and calibrated."""
    known = np.setdiff1d(np.arange(len(shop.labels)), judged)
    gallery = transform.apply(space.vectors[known])
    fitted = calibrate(_nearest_scores(gallery), shop.labels[known], shop.names)
    return fitted.confidences_of((transform.apply(space.vectors[judged]) @ gallery.T).max(axis=1))


def _picture_rows(
    shop: Shop, spaces: Mapping[str, Space], costs: Mapping[str, float], squashed: Mapping[str, Figures]
) -> list[Row]:
    """Return what each way to prepare pictures reaches, as they are and adapted, and what it costs."""
    rows = []
    for name, space in spaces.items():
        figures = (
            squashed if name == SQUASH else {way: _measure(shop, space, way) for way in ("none", "adapt")}
        )
        value = f"{figures['none']}; adapted {figures['adapt']}; {costs[name]:.2f} times the time"
        rows.append(Row(f"pictures in: {name}", value))
    return rows


def _grouped_row(shop: Shop, space: Space) -> Row:
    """Compare products whose vector is the mean of several photos, asked for by photos of the other kinds."""
    vectors = space.vectors.copy()
    vectors[shop.photographed] += np.sum([space.again[kind] for kind in GROUPED], axis=0)
    again = {kind: each for kind, each in space.again.items() if kind not in GROUPED}
    one, mean = Space(space.vectors, again), Space(unit(vectors), again)
    plain, adapted = (
        [_measure(shop, each, way).found["all"] for each in (one, mean)] for way in ("none", "adapt")
    )
    return Row(
        f"found first by {', '.join(again)}: one picture / the mean of it and {', '.join(GROUPED)}",
        f"{plain[0]:.3f} / {plain[1]:.3f}; adapted {adapted[0]:.3f} / {adapted[1]:.3f}",
    )


def _notes() -> list[str]:
    return [
        "figures of `pictures in` are P@5 / mAP / share of second photos found first; differences under two "
        "points are noise at this size",
        "photos taken again are made from the same file (indexer/evaluation/photographs.py): real ones are "
        "harder to find",
    ]
