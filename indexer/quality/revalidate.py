"""What still stands of an analysis after the changes since its snapshot was published. Looks for nothing new.

An analysis is of a snapshot as published, so that it is kept once for all states of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.labels import FEW
from vitrine.indexer.quality.store import Analysis
from vitrine.indexer.state.catalogue_state import CatalogueState

CHANGED_SINCE = "changed-since"


def current_analysis(analysis: Analysis, standing: CatalogueState) -> Analysis:
    """Return the findings about what is live in a state, as far as they hold there.

    missing: says too whether products were added or moved, which are looked at after the next build.
    """
    segments = standing.segments
    added = bool(standing.live[segments.base_rows :].any())
    missing = analysis.missing + ((CHANGED_SINCE,) if added or segments.moved else ())
    products = int(np.count_nonzero(standing.live[: segments.base_rows]))
    return Analysis(standing.tag, products, tuple(_current(analysis, standing)), missing)


def _current(analysis: Analysis, standing: CatalogueState) -> Iterator[Finding]:
    for finding in analysis.findings:
        ids, evidence = _live(standing, finding.ids), _live(standing, finding.evidence)
        if finding.kind == "small-category":
            category = str(finding.reason["category"])
            ids = tuple(name for name in ids if _category(standing, name) == category)
            size = _size(standing, category)
            if ids and size < FEW:
                reason = {**finding.reason, "products": size}
                yield dataclasses.replace(finding, ids=ids, reason=reason)
        elif not ids or ids[0] != finding.ids[0]:
            continue
        elif finding.kind.endswith("duplicate"):
            if evidence:
                same = _category(standing, ids[0]) == _category(standing, evidence[0])
                reason = {**finding.reason, "same_category": same}
                yield dataclasses.replace(finding, ids=ids, evidence=evidence, reason=reason)
        elif finding.kind != "wrong-category" or _category(standing, ids[0]) == finding.reason["category"]:
            yield dataclasses.replace(finding, ids=ids, evidence=evidence)


def _live(standing: CatalogueState, ids: Sequence[str]) -> tuple[str, ...]:
    rows = ((name, standing.segments.row_of(name)) for name in ids)
    return tuple(name for name, row in rows if row is not None and standing.live[row])


def _category(standing: CatalogueState, product_id: str) -> str:
    row = standing.segments.row_of(product_id)
    return "" if row is None else standing.categories[standing.category_codes[row]]


def _size(standing: CatalogueState, category: str) -> int:
    if category not in standing.categories:
        return 0
    code = standing.categories.index(category)
    return int(np.count_nonzero(standing.category_codes[standing.live] == code))
