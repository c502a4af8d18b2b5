"""The quality report: findings, category heatmap and map of a catalogue as one HTML file.

Shape letters: N products, C categories.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.analysis import analyse
from vitrine.indexer.quality.findings import FINDING_TYPES, Finding
from vitrine.indexer.quality.revalidate import revalidate_analysis
from vitrine.indexer.quality.store import Analysis, save_analysis
from vitrine.indexer.report.page import (
    Json,
    category_centroids,
    check_output_path,
    product_data,
    state_data,
    write_page,
)
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state

FINDINGS_PER_TYPE = 200
MAP_POINTS_MAX = 3000
HEATMAP_CATEGORIES = 40
_SAMPLE_ROWS = 20_000
_SEED = 3


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """Summary of a written report. findings: counts by type. bytes: size of the page.

    The field names are those of `report --json`.
    """

    output: str
    state: str
    products: int
    findings: dict[str, int]
    missing: list[str]
    bytes: int

    def as_json(self) -> Json:
        """Return the object that `report --json` prints."""
        return dataclasses.asdict(self)


def write_report(folder: IndexFolder, output: Path, progress: Progress) -> ReportSummary:
    """Analyse the quality of the catalogue and write the report. The analysis is saved for the service.

    Raises InputError for an unsuitable output path, SnapshotError, StorageFull.
    """
    check_output_path(output)
    state = read_state(folder)
    snapshot_analysis = analyse(folder, CatalogueState.from_snapshot(state.snapshot), progress)
    save_analysis(folder, snapshot_analysis)
    analysis = revalidate_analysis(snapshot_analysis, state)
    size = write_page(output, _report_data(folder, state, analysis, progress))
    return ReportSummary(
        str(output), analysis.state, analysis.products, analysis.counts, list(analysis.missing), size
    )


def _report_data(folder: IndexFolder, state: CatalogueState, analysis: Analysis, progress: Progress) -> Json:
    findings = _first_of_each_type(analysis.findings)
    rows = _sample(state.live_rows[state.live_rows < len(state.snapshot.table)])
    points = _map_points(state, rows)
    finding_ids = [product_id for finding in findings for product_id in _displayed_ids(finding)]
    ids = list(dict.fromkeys(finding_ids + points["ids"]))
    return {
        "report": "quality",
        "missing": list(analysis.missing),
        "findingTypes": list(FINDING_TYPES),
        "counts": analysis.counts,
        "findings": [finding.as_json() for finding in findings],
        "matrix": _similarity_matrix(state, rows),
        "points": points,
        **state_data(state),
        **product_data(folder, state, ids, progress),
    }


def _first_of_each_type(findings: Iterable[Finding]) -> list[Finding]:
    """Return the first FINDINGS_PER_TYPE findings of each type."""
    counts: Counter[str] = Counter()
    selected = []
    for finding in findings:
        counts[finding.type] += 1
        if counts[finding.type] <= FINDINGS_PER_TYPE:
            selected.append(finding)
    return selected


def _displayed_ids(finding: Finding) -> tuple[str, ...]:
    """Return the ids whose pictures are displayed with a finding."""
    return (*finding.ids[:6], *finding.evidence[:4])


def _sample(rows: Rows) -> Rows:
    """Return at most _SAMPLE_ROWS of the rows, in order."""
    if len(rows) <= _SAMPLE_ROWS:
        return rows
    return np.sort(np.random.default_rng(_SEED).choice(rows, _SAMPLE_ROWS, replace=False))


def _similarity_matrix(state: CatalogueState, rows: Rows) -> Json:
    """Return the cosines between the centroids of the largest categories, ordered by name."""
    names, centroids, counts = category_centroids(state, rows)
    largest = np.sort(np.argsort(-counts, kind="stable")[:HEATMAP_CATEGORIES])
    values = np.round(centroids[largest] @ centroids[largest].T, 4)
    return {
        "names": [names[index] for index in largest],
        "counts": counts[largest].tolist(),
        "values": values.tolist(),
    }


def _map_points(state: CatalogueState, rows: Rows) -> Json:
    """Return a sample of the rows as points on their first two principal components."""
    if len(rows) < 2:
        return {"ids": [], "x": [], "y": [], "explained": 0.0}
    vectors = state.segments.vectors(rows)
    centred = vectors - vectors.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    sample = np.random.default_rng(_SEED).permutation(len(rows))[:MAP_POINTS_MAX]
    coordinates = centred[sample] @ directions[:, :-3:-1]
    return {
        "ids": state.ids(rows[sample]),
        "x": np.round(coordinates[:, 0].astype(float), 4).tolist(),
        "y": np.round(coordinates[:, 1].astype(float), 4).tolist(),
        "explained": round(float(variances[-2:].sum() / max(float(variances.sum()), 1e-12)), 4),
    }
