"""Quality findings as answers: the findings of the snapshot without those that were dismissed or settled."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vitrine.indexer.errors import SnapshotError
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.quality.findings import FINDING_TYPES, Finding
from vitrine.indexer.quality.revalidate import revalidate_analysis
from vitrine.indexer.quality.store import Analysis, load_analysis, save_analysis
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.catalogue.request_models import QualityQuery
from vitrine.service.catalogue.serialisation import ImageUrl, Json, products_json
from vitrine.service.errors import QualityNotAnalysed, UnknownFinding
from vitrine.service.queries.view import View
from vitrine.service.timing import stage

# The analysis of so many products takes seconds and runs in a request; more need `vitrine-indexer report`.
MAX_ANALYSED_PRODUCTS = 5000
# Products shown of a finding, and as many of its evidence.
MAX_SHOWN_PRODUCTS = 6


def findings_page(follower: SnapshotFollower, view: View, query: QualityQuery, image_url: ImageUrl) -> Json:
    """Return one page of the findings that still hold. Raises QualityNotAnalysed."""
    with stage("quality"):
        analysis = _current_analysis(follower, view)
        dismissed_keys = follower.dismissed()
        findings = [
            finding for finding in analysis.findings if (finding.key in dismissed_keys) == query.dismissed
        ]
    counts = Counter(finding.type for finding in findings)
    matching = [finding for finding in findings if not query.kind or finding.type in query.kind]
    page = matching if query.format == "csv" else matching[query.offset : query.offset + query.limit]
    return {
        "snapshot": view.state.snapshot.name,
        "total": len(matching),
        "limit": query.limit,
        "offset": query.offset,
        "counts": {kind: counts[kind] for kind in FINDING_TYPES},
        "missing": list(analysis.missing),
        "findings": [_finding_json(view, finding, image_url, dismissed=query.dismissed) for finding in page],
    }


def findings_by_key(follower: SnapshotFollower, view: View, keys: Sequence[str]) -> list[Finding]:
    """Return the findings with these keys. Raises UnknownFinding, QualityNotAnalysed."""
    by_key = {finding.key: finding for finding in _current_analysis(follower, view).findings}
    for key in keys:
        if key not in by_key:
            raise UnknownFinding(key)
    return [by_key[key] for key in dict.fromkeys(keys)]


def _current_analysis(follower: SnapshotFollower, view: View) -> Analysis:
    published = view.cached_for_snapshot("quality", lambda: _published_analysis(follower, view))
    return view.cached("quality", lambda: revalidate_analysis(published, view.state))


def _published_analysis(follower: SnapshotFollower, view: View) -> Analysis:
    """Return the stored analysis of the snapshot, else analyse it and store the result if possible."""
    stored = load_analysis(follower.folder, view.state.snapshot.name)
    if stored is not None:
        return stored
    if int(np.count_nonzero(view.state.live)) > MAX_ANALYSED_PRODUCTS:
        raise QualityNotAnalysed(
            f"{view.state.segments.n} products are too many to analyse during a request: "
            "run `vitrine-indexer report` first"
        )
    from vitrine.indexer.quality.analysis import analyse

    # As published: products deleted since are left out of every answer, and may be restored.
    analysis = analyse(follower.folder, CatalogueState.from_snapshot(view.state.snapshot), SilentProgress())
    with contextlib.suppress(SnapshotError):  # the folder of a replica may be read-only
        save_analysis(follower.folder, analysis)
    return analysis


def _finding_json(view: View, finding: Finding, image_url: ImageUrl, *, dismissed: bool) -> Json:
    ids = dict.fromkeys((*finding.ids[:MAX_SHOWN_PRODUCTS], *finding.evidence[:MAX_SHOWN_PRODUCTS]))
    rows = np.array([view.state.segments.row_of(product_id) for product_id in ids], np.int64)
    products = products_json(view, rows, image_url)
    return {**finding.as_json(), "dismissed": dismissed, "products": products}
