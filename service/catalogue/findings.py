"""What may be wrong in the catalogue, as answers: the findings of the snapshot, less what was settled."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vitrine.indexer.errors import SnapshotError
from vitrine.indexer.progress import Silent
from vitrine.indexer.quality.findings import KINDS, Finding
from vitrine.indexer.quality.revalidate import current_analysis
from vitrine.indexer.quality.store import Analysis, keep_analysis, read_analysis
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.service.catalogue import serialisation as answers
from vitrine.service.catalogue.live import LiveView
from vitrine.service.catalogue.request_models import QualityQuery
from vitrine.service.catalogue.serialisation import ImageUrl, Json
from vitrine.service.errors import NotLookedThrough, UnknownFinding
from vitrine.service.queries.view import View
from vitrine.service.timing import stage

# So many products are looked through within seconds; more wait for `vitrine-indexer report`.
LOOKED_THROUGH_AT_ONCE = 5000
SHOWN = 6


def page(live: LiveView, view: View, asked: QualityQuery, url: ImageUrl) -> Json:
    """Return one page of the findings that still stand. Raises NotLookedThrough."""
    with stage("quality"):
        analysis = _analysis(live, view)
        dismissed = live.dismissed()
        standing = [each for each in analysis.findings if (each.key in dismissed) == asked.dismissed]
    counts = Counter(each.kind for each in standing)
    matching = [each for each in standing if not asked.kind or each.kind in asked.kind]
    shown = matching if asked.format == "csv" else matching[asked.offset : asked.offset + asked.limit]
    return {
        "snapshot": view.snapshot.name,
        "total": len(matching),
        "limit": asked.limit,
        "offset": asked.offset,
        "counts": {kind: counts[kind] for kind in KINDS},
        "missing": list(analysis.missing),
        "findings": [_answer(view, each, url, dismissed=asked.dismissed) for each in shown],
    }


def chosen(live: LiveView, view: View, keys: Sequence[str]) -> list[Finding]:
    """Return the findings with these keys. Raises UnknownFinding, NotLookedThrough."""
    known = {each.key: each for each in _analysis(live, view).findings}
    for key in keys:
        if key not in known:
            raise UnknownFinding(key)
    return [known[key] for key in dict.fromkeys(keys)]


def _analysis(live: LiveView, view: View) -> Analysis:
    published = view.cached_for_snapshot("quality", lambda: _looked_through(live, view))
    return view.cached("quality", lambda: current_analysis(published, view.state))


def _looked_through(live: LiveView, view: View) -> Analysis:
    kept = read_analysis(live.folder, view.snapshot.name)
    if kept is not None:
        return kept
    if int(np.count_nonzero(view.live)) > LOOKED_THROUGH_AT_ONCE:
        raise NotLookedThrough(
            f"{view.n} products are too many to look through while you wait: "
            "run `vitrine-indexer report` first"
        )
    from vitrine.indexer.quality.analysis import analyse

    # As published: what was deleted since is left out of every answer, and may come back.
    analysis = analyse(live.folder, CatalogueState.of(view.snapshot), Silent())
    with contextlib.suppress(SnapshotError):  # a replica's folder may be for reading only
        keep_analysis(live.folder, analysis)
    return analysis


def _answer(view: View, finding: Finding, url: ImageUrl, *, dismissed: bool) -> Json:
    shown = dict.fromkeys((*finding.ids[:SHOWN], *finding.evidence[:SHOWN]))
    rows = np.array([view.row_of(name) for name in shown], np.int64)
    products = answers.page(view, rows, url)
    return {**finding.as_json(), "dismissed": dismissed, "products": products}
