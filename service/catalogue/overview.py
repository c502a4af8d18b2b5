"""Answers about the whole catalogue: status, categories, category similarity, projection."""

from __future__ import annotations

import numpy as np

from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.catalogue.request_models import MatrixQuery, PairsQuery, ProjectionQuery
from vitrine.service.catalogue.serialisation import ImageUrl, Json, product_json, row_fields
from vitrine.service.queries.matrix import category_matrix, closest_pairs
from vitrine.service.queries.projection import project
from vitrine.service.queries.view import View
from vitrine.service.timing import stage

# Ids of live products listed for each category.
SAMPLE_IDS = 4
_RECIPE_DETAILS = ("factory", "why", "memory_bytes", "how")


def status(follower: SnapshotFollower) -> Json:
    """Return the state of the service: snapshot, counts, model, index, rules. Raises SnapshotMissing."""
    view = follower.view()
    state, manifest = view.state, view.state.snapshot.manifest
    products, live = state.segments.n, int(np.count_nonzero(state.live))
    failed = follower.failed
    return {
        "snapshot": state.snapshot.name,
        "products": products,
        "live": live,
        "deleted": products - live,
        "uploaded": products - state.segments.base_rows,
        "categories": sum(map(bool, state.categories)),
        "model": manifest.model.name,
        "dimension": state.segments.dimension,
        "transform": manifest.transform.get("name"),
        "recipe": manifest.recipe.get("recipe"),
        "recall_at_10": manifest.recall_at_10,
        "latency": manifest.latency,
        "built_at": manifest.built_at,
        "journal_sequence": state.sequence,
        "store": view.searcher.name,
        "source": manifest.source,
        "failed": manifest.failed,
        "format_version": manifest.format_version,
        "details": {
            "model": {"digest": manifest.model.digest, "preprocessing": manifest.model.preprocessing},
            "recipe": {name: manifest.recipe.get(name) for name in _RECIPE_DETAILS},
            "transform": manifest.transform,
        },
        "rules": {
            "digest": view.rules.digest or None,
            "names": list(view.rules.names),
            "idle": list(view.compiled_rules.idle),
            "problem": follower.rules.problem,
        },
        "problem": None if failed is None else f"{failed.name}: {failed.problem}",
    }


def categories(view: View) -> Json:
    """Return every category with its live and deleted counts and the ids of a few live products."""
    return view.cached("categories answer", lambda: {"categories": _categories(view)})


def _categories(view: View) -> list[Json]:
    state = view.state
    count, codes = len(state.categories), state.category_codes
    live_counts = np.bincount(codes[state.live], minlength=count)
    deleted_counts = np.bincount(codes[~state.live], minlength=count)
    samples: list[list[str]] = [[] for _ in range(count)]
    rows = np.flatnonzero(state.live)
    by_category = rows[np.argsort(codes[rows], kind="stable")]
    for code, start in enumerate(np.cumsum(live_counts) - live_counts):
        samples[code] = state.ids(by_category[start : start + min(SAMPLE_IDS, int(live_counts[code]))])
    return [
        {
            "name": name,
            "live": int(live_counts[code]),
            "deleted": int(deleted_counts[code]),
            "sample": samples[code],
        }
        for code, name in enumerate(state.categories)
    ]


def matrix(view: View, query: MatrixQuery) -> Json:
    """Return the similarity of categories; see vitrine.service.queries.matrix."""
    with stage("matrix"):
        similarity = category_matrix(view, query.linkage, query.category or None)
    return {
        "snapshot": view.state.snapshot.name,
        "categories": list(similarity.categories),
        "counts": list(similarity.counts),
        "linkage": similarity.linkage,
        "matrix": np.round(similarity.values, 6).tolist(),
    }


def pairs(view: View, query: PairsQuery, image_url: ImageUrl) -> Json:
    """Return the closest product pairs of two categories; see vitrine.service.queries.matrix."""
    with stage("matrix"):
        closest = closest_pairs(view, query.a, query.b, query.limit)
    return {
        "snapshot": view.state.snapshot.name,
        "pairs": [
            {
                "a": product_json(view.state.product(pair.a), image_url),
                "b": product_json(view.state.product(pair.b), image_url),
                "score": round(float(pair.score), 6),
            }
            for pair in closest
        ],
    }


def projection(view: View, query: ProjectionQuery) -> Json:
    """Return products as points along the principal components; see vitrine.service.queries.projection."""
    with stage("projection"):
        projected = project(
            view, query.dimensions, categories=query.category, fit=query.fit, limit=query.limit
        )
    axes = ("x", "y", "z")[: query.dimensions]
    with stage("table"):
        products = row_fields(view, projected.rows.tolist())
        coordinates = np.round(projected.points.astype(float), 6).tolist()
        points = [
            {"id": product["id"], "name": product["name"], "category": product["category"]}
            | dict(zip(axes, point, strict=True))
            for product, point in zip(products, coordinates, strict=True)
        ]
    return {
        "snapshot": view.state.snapshot.name,
        "dimensions": query.dimensions,
        "points": points,
        "explained_variance_ratio": [round(float(ratio), 6) for ratio in projected.ratios],
        "sampled": projected.sampled,
    }
