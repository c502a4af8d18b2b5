"""The command `evaluate`: what the neighbours of a snapshot are worth, by several measures.

Shape letters: N products, C categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix
from vitrine.indexer.evaluation.instances import find_instances
from vitrine.indexer.evaluation.subject import Pictures, Subject, colours_of, load_subject
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.transform.choice import choose_transform
from vitrine.indexer.transform.sample import TrainingSet
from vitrine.indexer.transform.sample import stratified_folds
from vitrine.indexer.vectors.metrics import RetrievalMetrics, concatenate_metrics, evaluate_retrieval

QUERIES_MAX = 2000
RESAMPLES = 1000
CONFUSIONS = 20


@dataclass(frozen=True)
class EvaluateOptions:
    """labels: categories by id, instead of the snapshot's. instances: products to photograph again."""

    snapshot: str | None = None
    labels: Mapping[str, str] | None = None
    seed: int = 0
    held_out: bool = False
    colours: bool = True
    instances: int = 0


@dataclass(frozen=True)
class Evaluation:
    """ways, held_out: figures by way of comparing. categories: of the snapshot's way, held out if asked.

    confusion: how often the nearest neighbour is of another category, likewise. instances: shares that are
    found first. missing: what could not be measured, and why.
    """

    snapshot: str
    products: int
    judged: int
    ways: dict[str, dict[str, float]] = field(default_factory=dict)
    held_out: dict[str, dict[str, float]] = field(default_factory=dict)
    categories_of: str = "snapshot"
    categories: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)
    instances: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `evaluate --json` prints them."""
        return dict(vars(self))


def evaluate(folder: IndexFolder, options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Measure a snapshot. Raises SnapshotError, InputError, and ModelError where instances are asked for."""
    snapshot = folder.open(options.snapshot)
    subject = load_subject(folder, snapshot, options.labels)
    missing = _what_is_missing(subject, options)
    pictures = Pictures(folder, snapshot)
    colours = colours_of(pictures, subject.rows, progress) if options.colours else None
    if options.colours and colours is None:
        missing.append("the colour histogram: a picture file is not there any more")
    spaces = {"colour histogram": colours, "notebook": subject.raw, "snapshot": subject.served}
    judged = {name: _judge(subject, space) for name, space in spaces.items() if space is not None}
    held_out: dict[str, RetrievalMetrics] = {}
    if options.held_out and subject.raw is not None and len(judged["snapshot"]):
        held_out = judge_held_out(subject, subject.raw, colours, options.seed)
    found, transform = judged["snapshot"], snapshot.transform.name
    categories_of = "held out" if transform in held_out else "snapshot"
    shown = held_out.get(transform, found)
    instances = {}
    if options.instances:
        instances = find_instances(subject, pictures, options.instances, progress)
    return Evaluation(
        snapshot.name,
        len(subject.rows),
        len(found),
        {name: each.summary() for name, each in judged.items() if len(each)},
        {name: each.summary() for name, each in held_out.items()},
        categories_of,
        _by_category(subject, shown),
        _confusion(subject, shown),
        instances,
        missing,
    )


def _what_is_missing(subject: Subject, options: EvaluateOptions) -> list[str]:
    missing = []
    transform = subject.snapshot.transform
    if transform.adaptation is not None and not options.held_out:
        missing.append(
            "fair figures of the snapshot's way, which learnt from these very products: --held-out"
        )
    if not (subject.labels >= 0).any():
        missing.append("categories: no product has one, so nothing says which neighbours are right")
    elif len(set(subject.labels[subject.labels >= 0].tolist())) == 1:
        missing.append("a second category: with one, every neighbour is right")
    if subject.raw is None:
        missing.append("the notebook's way and held-out figures: the cache has lost vectors of the model")
    if subject.sampled:
        missing.append(f"products past {len(subject.rows)}: a random choice of them was judged")
    return missing


def _judge(subject: Subject, vectors: FloatMatrix) -> RetrievalMetrics:
    labelled = subject.labelled(vectors)
    step = max(1, -(-len(subject.rows) // QUERIES_MAX))
    return evaluate_retrieval(labelled.take(np.arange(0, len(subject.rows), step)), labelled)


def judge_held_out(
    subject: Subject, raw: FloatMatrix, colours: FloatMatrix | None, seed: int
) -> dict[str, RetrievalMetrics]:
    """Fit on one half of each category, judge on the other, and the other way round."""
    side = stratified_folds(subject.labels, subject.items, 2, seed)
    parts: dict[str, list[RetrievalMetrics]] = {}
    for half in (0, 1):
        fitted, judged = np.flatnonzero(side != half), np.flatnonzero(side == half)
        spaces = {"notebook": raw[judged]}
        if colours is not None:
            spaces["colour histogram"] = colours[judged]
        for name in ("centre", "adapt"):
            transform = choose_transform(name, _catalogue(subject, raw, fitted))
            if transform.name == name:
                spaces[name] = transform.apply(raw[judged])
        for name, space in spaces.items():
            labelled = subject.labelled(raw).take(judged).with_vectors(space)
            parts.setdefault(name, []).append(evaluate_retrieval(labelled, labelled))
    return {name: concatenate_metrics(halves) for name, halves in parts.items() if len(halves) == 2}


def _catalogue(subject: Subject, raw: FloatMatrix, rows: np.ndarray[Any, Any]) -> TrainingSet:
    """Return some rows to learn from; code C is for products without a category."""
    codes = np.where(subject.labels < 0, len(subject.names), subject.labels)[rows].astype(np.int32)
    return TrainingSet(lambda chosen: raw[rows[chosen]], [*subject.names, ""], codes, subject.items[rows])


def _by_category(subject: Subject, found: RetrievalMetrics) -> list[dict[str, Any]]:
    """Return figures of each category, the weakest first, each with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    products = np.bincount(subject.labels[subject.labels >= 0], minlength=len(subject.names))
    rows = []
    for label in np.unique(found.labels).tolist():
        of_it = found.labels == label
        measures = {
            "precision_at_1": found.precision_at(1)[of_it],
            "precision_at_5": found.precision_at(5)[of_it],
            "map": found.average_precision[of_it],
        }
        row = {"category": subject.names[label], "products": int(products[label]), "judged": int(of_it.sum())}
        for name, values in measures.items():
            low, high = interval(values, rng)
            row |= {name: round(float(values.mean()), 4), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["map"], row["category"]))


def interval(values: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean."""
    means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def _confusion(subject: Subject, found: RetrievalMetrics) -> list[dict[str, Any]]:
    """Return the pairs of categories that nearest neighbours mix up most, with the share of the first's."""
    wrong = (found.nearest_labels >= 0) & (found.nearest_labels != found.labels)
    pairs = np.stack([found.labels[wrong], found.nearest_labels[wrong]])
    distinct, counts = np.unique(pairs, axis=1, return_counts=True)
    totals = np.bincount(found.labels, minlength=len(subject.names))
    order = np.argsort(-counts, kind="stable")[:CONFUSIONS]
    return [
        {
            "category": subject.names[distinct[0, place]],
            "neighbour": subject.names[distinct[1, place]],
            "count": int(counts[place]),
            "share": round(float(counts[place] / totals[distinct[0, place]]), 4),
        }
        for place in order.tolist()
    ]
