"""Evaluation of a snapshot's nearest neighbours, as the command `evaluate` reports it.

Shape letters: N products, C categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleVector, FloatMatrix, Rows
from vitrine.indexer.evaluation.evaluation_set import (
    EvaluationSet,
    PictureReader,
    read_colour_histograms,
    read_evaluation_set,
)
from vitrine.indexer.evaluation.instances import evaluate_instances
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.transform.choice import choose_transform
from vitrine.indexer.transform.sample import TrainingSet, stratified_folds
from vitrine.indexer.vectors.metrics import RetrievalMetrics, concatenate_metrics, evaluate_retrieval

QUERIES_MAX = 2000
RESAMPLES = 1000
CONFUSIONS_MAX = 20


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation.

    snapshot: its name, default the current one. labels: category by product id, default the snapshot's
    categories. seed: of the split in halves. held_out: evaluate transforms on products that they were not
    fitted on, too. colours: include the colour histogram. instances: the number of products to search for
    by simulated photos.
    """

    snapshot: str | None = None
    labels: Mapping[str, str] | None = None
    seed: int = 0
    held_out: bool = False
    colours: bool = True
    instances: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Figures of an evaluation.

    evaluated: the number of products used as queries. methods, held_out: mean figures by method, of all
    products and of held-out products. categories_of: "snapshot" or "held out", the origin of the next two.
    categories: figures by category. confusion: counts of nearest neighbours of another category. instances:
    see `evaluate_instances`. missing: sentences about what could not be measured.
    """

    snapshot: str
    products: int
    evaluated: int
    methods: dict[str, dict[str, float]] = field(default_factory=dict)
    held_out: dict[str, dict[str, float]] = field(default_factory=dict)
    categories_of: str = "snapshot"
    categories: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)
    instances: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `evaluate --json` prints them."""
        return {
            "snapshot": self.snapshot,
            "products": self.products,
            "judged": self.evaluated,
            "ways": self.methods,
            "held_out": self.held_out,
            "categories_of": self.categories_of,
            "categories": self.categories,
            "confusion": self.confusion,
            "instances": self.instances,
            "missing": self.missing,
        }


def evaluate_snapshot(folder: IndexFolder, options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Evaluate a snapshot. Raises SnapshotError, InputError; ModelError if instances are requested."""
    snapshot = folder.open(options.snapshot)
    evaluation_set = read_evaluation_set(folder, snapshot, options.labels)
    missing = _missing_figures(evaluation_set, options)
    pictures = PictureReader(folder, snapshot)
    colours = None
    if options.colours:
        colours = read_colour_histograms(pictures, evaluation_set.rows, progress)
        if colours is None:
            missing.append("the colour histogram: a picture file cannot be read any more")
    spaces = {
        "colour histogram": colours,
        "notebook": evaluation_set.model_vectors,
        "snapshot": evaluation_set.snapshot_vectors,
    }
    metrics = {
        method: _evaluate_space(evaluation_set, vectors)
        for method, vectors in spaces.items()
        if vectors is not None
    }
    held_out: dict[str, RetrievalMetrics] = {}
    if options.held_out and evaluation_set.model_vectors is not None and len(metrics["snapshot"]):
        held_out = evaluate_held_out(evaluation_set, evaluation_set.model_vectors, colours, options.seed)
    transform = snapshot.transform.name
    # By category, the held-out figures are preferred where the snapshot's transform has some.
    by_category = held_out.get(transform, metrics["snapshot"])
    instances = {}
    if options.instances:
        instances = evaluate_instances(evaluation_set, pictures, options.instances, progress)
    return Evaluation(
        snapshot=snapshot.name,
        products=len(evaluation_set.rows),
        evaluated=len(metrics["snapshot"]),
        methods={name: result.summary() for name, result in metrics.items() if len(result)},
        held_out={name: result.summary() for name, result in held_out.items()},
        categories_of="held out" if transform in held_out else "snapshot",
        categories=_category_figures(evaluation_set, by_category),
        confusion=_confusions(evaluation_set, by_category),
        instances=instances,
        missing=missing,
    )


def _missing_figures(evaluation_set: EvaluationSet, options: EvaluateOptions) -> list[str]:
    """Return a sentence about each figure that cannot be measured."""
    missing = []
    transform = evaluation_set.snapshot.transform
    if transform.adaptation is not None and not options.held_out:
        missing.append(
            "unbiased figures of the snapshot: its transform was fitted on the same products; use --held-out"
        )
    categories = np.unique(evaluation_set.labels[evaluation_set.labels >= 0])
    if not len(categories):
        missing.append("categories: no product has one, so neighbours cannot be evaluated")
    elif len(categories) == 1:
        missing.append("a second category: with only one, every neighbour is right")
    if evaluation_set.model_vectors is None:
        missing.append("the notebook and held-out figures: the cache has lost vectors of the model")
    if evaluation_set.is_sampled:
        missing.append(f"products beyond {len(evaluation_set.rows)}: a random sample was evaluated")
    return missing


def _evaluate_space(evaluation_set: EvaluationSet, vectors: FloatMatrix) -> RetrievalMetrics:
    """Return the metrics of all products in a space, with at most about QUERIES_MAX of them as queries."""
    gallery = evaluation_set.with_vectors(vectors)
    step = max(1, -(-len(evaluation_set.rows) // QUERIES_MAX))
    return evaluate_retrieval(gallery.take(np.arange(0, len(evaluation_set.rows), step)), gallery)


def evaluate_held_out(
    evaluation_set: EvaluationSet, model_vectors: FloatMatrix, colours: FloatMatrix | None, seed: int
) -> dict[str, RetrievalMetrics]:
    """Return metrics by method of transforms fitted on one half of each category and evaluated on the other.

    Each half is evaluated once. A transform that a half is unsuited for is left out.
    """
    half_of_row = stratified_folds(evaluation_set.labels, evaluation_set.items, 2, seed)
    parts: dict[str, list[RetrievalMetrics]] = {}
    for half in (0, 1):
        training_rows = np.flatnonzero(half_of_row != half)
        test_rows = np.flatnonzero(half_of_row == half)
        spaces = {"notebook": model_vectors[test_rows]}
        if colours is not None:
            spaces["colour histogram"] = colours[test_rows]
        training_set = _training_set(evaluation_set, model_vectors, training_rows)
        for name in ("centre", "adapt"):
            transform = choose_transform(name, training_set)
            if transform.name == name:
                spaces[name] = transform.apply(model_vectors[test_rows])
        labels = evaluation_set.with_vectors(model_vectors).take(test_rows)
        for name, vectors in spaces.items():
            gallery = labels.with_vectors(vectors)
            parts.setdefault(name, []).append(evaluate_retrieval(gallery, gallery))
    return {name: concatenate_metrics(halves) for name, halves in parts.items() if len(halves) == 2}


def _training_set(evaluation_set: EvaluationSet, model_vectors: FloatMatrix, rows: Rows) -> TrainingSet:
    """Return the given rows as a training set; code C stands for no category."""
    labels = evaluation_set.labels[rows]
    codes = np.where(labels < 0, len(evaluation_set.categories), labels).astype(np.int32)
    return TrainingSet(
        lambda chosen: model_vectors[rows[chosen]],
        [*evaluation_set.categories, ""],
        codes,
        evaluation_set.items[rows],
    )


def _category_figures(evaluation_set: EvaluationSet, metrics: RetrievalMetrics) -> list[dict[str, Any]]:
    """Return the figures of each category with 95 % bootstrap intervals, the lowest mAP first."""
    rng = np.random.default_rng(0)
    known = evaluation_set.labels[evaluation_set.labels >= 0]
    products = np.bincount(known, minlength=len(evaluation_set.categories))
    rows = []
    for label in np.unique(metrics.labels).tolist():
        in_category = metrics.labels == label
        measures = {
            "precision_at_1": metrics.precision_at(1)[in_category],
            "precision_at_5": metrics.precision_at(5)[in_category],
            "map": metrics.average_precision[in_category],
        }
        row = {
            "category": evaluation_set.categories[label],
            "products": int(products[label]),
            "judged": int(in_category.sum()),
        }
        for name, values in measures.items():
            low, high = bootstrap_interval(values, rng)
            row |= {name: round(float(values.mean()), 4), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["map"], row["category"]))


def bootstrap_interval(values: DoubleVector, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of (n,) values: (low, high)."""
    means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 4), round(float(high), 4)


def _confusions(evaluation_set: EvaluationSet, metrics: RetrievalMetrics) -> list[dict[str, Any]]:
    """Return the CONFUSIONS_MAX most frequent pairs of a category and a different nearest neighbour's.

    share: of the queries of the first category.
    """
    is_wrong = (metrics.nearest_labels >= 0) & (metrics.nearest_labels != metrics.labels)
    pairs = np.stack([metrics.labels[is_wrong], metrics.nearest_labels[is_wrong]])
    distinct, counts = np.unique(pairs, axis=1, return_counts=True)
    totals = np.bincount(metrics.labels, minlength=len(evaluation_set.categories))
    order = np.argsort(-counts, kind="stable")[:CONFUSIONS_MAX]
    return [
        {
            "category": evaluation_set.categories[label],
            "neighbour": evaluation_set.categories[neighbour],
            "count": count,
            "share": round(float(count / totals[label]), 4),
        }
        for (label, neighbour), count in zip(distinct.T[order].tolist(), counts[order].tolist(), strict=True)
    ]
