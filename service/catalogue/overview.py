"""Answers about the whole catalogue: its state, its categories, their likeness, its products as points."""

from __future__ import annotations

import numpy as np

from vitrine.service.catalogue import serialisation as answers
from vitrine.service.catalogue.live import LiveView
from vitrine.service.catalogue.request_models import MatrixQuery, PairsQuery, ProjectionQuery
from vitrine.service.catalogue.serialisation import ImageUrl, Json
from vitrine.service.queries import matrix as matrices
from vitrine.service.queries.projection import project
from vitrine.service.queries.view import View
from vitrine.service.timing import stage

SAMPLE_IDS = 4


def status(live: LiveView) -> Json:
    """Return what is being served. Raises SnapshotMissing."""
    view = live.view()
    manifest = view.snapshot.manifest
    alive = int(np.count_nonzero(view.live))
    return {
        "snapshot": view.snapshot.name,
        "products": view.n,
        "live": alive,
        "deleted": view.n - alive,
        "uploaded": view.n - len(view.snapshot.table),
        "categories": sum(map(bool, view.categories)),
        "model": manifest.model.name,
        "dimension": view.dimension,
        "transform": manifest.transform.get("name"),
        "recipe": manifest.recipe.get("recipe"),
        "recall_at_10": manifest.recall_at_10,
        "latency": manifest.latency,
        "built_at": manifest.built_at,
        "journal_sequence": view.sequence,
        "store": view.searcher.name,
        "source": manifest.source,
        "failed": manifest.failed,
        "format_version": manifest.format_version,
        "details": {
            "model": {"digest": manifest.model.digest, "preprocessing": manifest.model.preprocessing},
            "recipe": {name: manifest.recipe.get(name) for name in ("factory", "why", "memory_bytes", "how")},
            "transform": manifest.transform,
        },
        "rules": {
            "digest": view.rules.digest or None,
            "names": list(view.rules.names),
            "idle": list(view.rulings.idle),
            "problem": live.rules.problem,
        },
        "problem": None if live.broken is None else f"{live.broken.name}: {live.broken.problem}",
    }


def categories(view: View) -> Json:
    """Return every category with live and deleted counts and the ids of a few live products."""
    return view.cached("categories answer", lambda: {"categories": _categories(view)})


def _categories(view: View) -> list[Json]:
    count, codes = len(view.categories), view.category_codes
    live = np.bincount(codes[view.live], minlength=count)
    dead = np.bincount(codes[~view.live], minlength=count)
    samples: list[list[str]] = [[] for _ in range(count)]
    rows = np.flatnonzero(view.live)
    by_category = rows[np.argsort(codes[rows], kind="stable")]
    for code, start in enumerate(np.cumsum(live) - live):
        samples[code] = view.ids(by_category[start : start + min(SAMPLE_IDS, int(live[code]))])
    return [
        {"name": name, "live": int(live[code]), "deleted": int(dead[code]), "sample": samples[code]}
        for code, name in enumerate(view.categories)
    ]


def matrix(view: View, asked: MatrixQuery) -> Json:
    """Return the likeness of categories; see vitrine.service.queries.matrix."""
    with stage("matrix"):
        found = matrices.category_matrix(view, asked.linkage, asked.category or None)
    return {
        "snapshot": view.snapshot.name,
        "categories": list(found.categories),
        "counts": list(found.counts),
        "linkage": found.linkage,
        "matrix": np.round(found.values, 6).tolist(),
    }


def pairs(view: View, asked: PairsQuery, url: ImageUrl) -> Json:
    """Return the closest product pairs of two categories; see vitrine.service.queries.matrix."""
    with stage("matrix"):
        found = matrices.closest_pairs(view, asked.a, asked.b, asked.limit)
    return {
        "snapshot": view.snapshot.name,
        "pairs": [
            {
                "a": answers.full(view.product(pair.a), url),
                "b": answers.full(view.product(pair.b), url),
                "score": round(float(pair.score), 6),
            }
            for pair in found
        ],
    }


def projection(view: View, asked: ProjectionQuery) -> Json:
    """Return products as points along the principal components; see vitrine.service.queries.projection."""
    with stage("projection"):
        found = project(view, asked.dimensions, categories=asked.category, fit=asked.fit, limit=asked.limit)
    axes = ("x", "y", "z")[: asked.dimensions]
    with stage("table"):
        products = answers.read_rows(view, found.rows.tolist())
        points = [
            {"id": product["id"], "name": product["name"], "category": product["category"]}
            | dict(zip(axes, point, strict=True))
            for product, point in zip(products, np.round(found.points.astype(float), 6).tolist(), strict=True)
        ]
    return {
        "snapshot": view.snapshot.name,
        "dimensions": asked.dimensions,
        "points": points,
        "explained_variance_ratio": [round(float(ratio), 6) for ratio in found.ratios],
        "sampled": found.sampled,
    }
