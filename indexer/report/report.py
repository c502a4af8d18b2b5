"""The report: findings, heatmap and map of a catalogue as one HTML file with its pictures inside.

Shape letters: N products, D dimension, C categories.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Rows, unit
from vitrine.indexer.errors import InputError, PictureError
from vitrine.indexer.evaluation.evaluation_set import PictureReader
from vitrine.indexer.files import atomic_write
from vitrine.indexer.pictures.preprocessing import thumbnail
from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.analysis import analyse
from vitrine.indexer.quality.findings import FINDING_TYPES, Finding
from vitrine.indexer.quality.revalidate import revalidate_analysis
from vitrine.indexer.quality.store import Analysis, save_analysis
from vitrine.indexer.report.texts import TEXTS
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state

THUMBNAIL_PX = 160
# All thumbnails together: with the text around them base64 makes a third more of it.
PICTURES_MAX_BYTES = 9 * 2**20
FINDINGS_OF_A_KIND = 200
MAP_POINTS = 3000
CATEGORIES_SHOWN = 40
_THREADS = 4
_SAMPLED_ROWS = 20_000
_SEED = 3
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What was written, and what it says. findings: counts by kind."""

    output: str
    state: str
    products: int
    findings: dict[str, int]
    missing: list[str]
    bytes: int

    def as_json(self) -> Json:
        """Return the fields as `report --json` prints them."""
        return dataclasses.asdict(self)


def write_report(folder: IndexFolder, output: Path, progress: Progress) -> ReportSummary:
    """Look for mistakes and write the report. The findings are kept for the service too.

    Raises InputError for an output that cannot be, SnapshotError, StorageFull.
    """
    check_html(output)
    state = read_state(folder)
    published = analyse(folder, CatalogueState.from_snapshot(state.snapshot), progress)
    save_analysis(folder, published)
    analysis = revalidate_analysis(published, state)
    size = write_page(output, _data(folder, state, analysis, progress))
    return ReportSummary(
        str(output), analysis.state, analysis.products, analysis.counts, list(analysis.missing), size
    )


def check_html(output: Path) -> None:
    """Raise InputError unless a path can take a page."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--output {output}: the name ends in .html")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}")


def write_page(output: Path, data: Json) -> int:
    """Write a page that shows this data, whole or not at all. Returns its size in bytes."""
    here = files("vitrine.indexer.report")
    page = here.joinpath("page.html").read_text(encoding="utf-8")
    parts = {"{{DATA}}": _script_json(data), "{{TEXTS}}": _script_json(TEXTS)}
    parts["{{SCRIPT}}"] = here.joinpath("page.js").read_text(encoding="utf-8")
    for name, part in parts.items():
        before, after = page.split(name)
        page = before + part + after
    body = page.encode()
    with atomic_write(output) as file:
        file.write(body)
    return len(body)


def _script_json(value: Any) -> str:
    """Return JSON that no product name can end a script with."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _data(folder: IndexFolder, state: CatalogueState, analysis: Analysis, progress: Progress) -> Json:
    shown = _of_each_kind(analysis.findings)
    rows = _sampled(state.live_rows[state.live_rows < len(state.snapshot.table)])
    points = _points(state, rows)
    wanted = list(dict.fromkeys([name for each in shown for name in shown_ids(each)] + points["ids"]))
    return {
        "report": "quality",
        "missing": list(analysis.missing),
        "kinds": list(FINDING_TYPES),
        "counts": analysis.counts,
        "findings": [each.as_json() for each in shown],
        "matrix": _matrix(state, rows),
        "points": points,
        **about(state),
        **products_of(folder, state, wanted, progress),
    }


def _of_each_kind(findings: Iterable[Finding]) -> list[Finding]:
    seen: Counter[str] = Counter()
    kept = []
    for each in findings:
        seen[each.type] += 1
        if seen[each.type] <= FINDINGS_OF_A_KIND:
            kept.append(each)
    return kept


def shown_ids(finding: Finding) -> tuple[str, ...]:
    """Return the ids whose pictures stand in a finding's card."""
    return (*finding.ids[:6], *finding.evidence[:4])


def about(state: CatalogueState) -> Json:
    """Return what every report says of the state it was made of."""
    return {
        "state": state.tag,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "productCount": len(state.live_rows),
        "categoryCount": sum(
            bool(state.categories[code]) for code in np.unique(state.category_codes[state.live_rows])
        ),
    }


def products_of(folder: IndexFolder, state: CatalogueState, ids: Sequence[str], progress: Progress) -> Json:
    """Return name and category of products by id, and thumbnails, base64, as many as there is room for."""
    table, products = state.snapshot.table, {}
    rows = []
    for name in ids:
        row = table.row_of(name)
        if row is not None:
            product = state.product(row)
            products[name] = [product.name, product.category]
            rows.append((name, row))
    pictures, room = {}, PICTURES_MAX_BYTES
    source = PictureReader(folder, state.snapshot)

    def small(row: int) -> bytes:
        try:
            return thumbnail(source.read(row), THUMBNAIL_PX)
        except PictureError:
            return b""
        finally:
            progress.advance(1)

    progress.start(len(rows), "thumbnails")
    with ThreadPoolExecutor(_THREADS) as pool:
        for (name, _), data in zip(rows, pool.map(small, [row for _, row in rows]), strict=True):
            if data and room >= len(data):
                room -= len(data)
                pictures[name] = base64.b64encode(data).decode()
    progress.done()
    return {"products": products, "pictures": pictures}


def _sampled(rows: Rows) -> Rows:
    if len(rows) <= _SAMPLED_ROWS:
        return rows
    return np.sort(np.random.default_rng(_SEED).choice(rows, _SAMPLED_ROWS, replace=False))


def _matrix(state: CatalogueState, rows: Rows) -> Json:
    """Return the cosines of the centroids of the largest categories, in order of name."""
    names, centroids, counts = centroids_of(state, rows)
    largest = np.sort(np.argsort(-counts, kind="stable")[:CATEGORIES_SHOWN])
    values = np.round(centroids[largest] @ centroids[largest].T, 4)
    return {
        "names": [names[place] for place in largest],
        "counts": counts[largest].tolist(),
        "values": values.tolist(),
    }


def centroids_of(state: CatalogueState, rows: Rows) -> tuple[list[str], Any, Any]:
    """Return the names, the unit centroids (C, D) and the counts (C,) of the categories of some rows."""
    codes, places = np.unique(state.category_codes[rows], return_inverse=True)
    sums = np.zeros((len(codes), state.segments.dimension), np.float32)
    np.add.at(sums, places, state.segments.vectors(rows))
    return (
        [state.categories[code] for code in codes],
        unit(sums),
        np.bincount(places, minlength=len(codes)),
    )


def _points(state: CatalogueState, rows: Rows) -> Json:
    """Return products as points along the first two principal components."""
    if len(rows) < 2:
        return {"ids": [], "x": [], "y": [], "explained": 0.0}
    vectors = state.segments.vectors(rows)
    centred = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    shown = np.random.default_rng(_SEED).permutation(len(rows))[:MAP_POINTS]
    places = centred[shown] @ directions[:, :-3:-1]
    return {
        "ids": state.ids(rows[shown]),
        "x": np.round(places[:, 0].astype(float), 4).tolist(),
        "y": np.round(places[:, 1].astype(float), 4).tolist(),
        "explained": round(float(values[-2:].sum() / max(float(values.sum()), 1e-12)), 4),
    }
