"""Revalidation of an analysis: its findings that hold after the changes since the snapshot was published.

An analysis is made of a snapshot as published and stored once for all later states. No new findings are made
here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.labels import SMALL_CATEGORY_BELOW
from vitrine.indexer.quality.store import Analysis
from vitrine.indexer.state.catalogue_state import CatalogueState

CHANGED_SINCE = "changed-since"


def revalidate_analysis(analysis: Analysis, state: CatalogueState) -> Analysis:
    """Return the findings about live products that hold in a state.

    `missing` contains CHANGED_SINCE if products were added or moved; they are analysed after the next build.
    """
    segments = state.segments
    has_uploads = bool(state.live[segments.base_rows :].any())
    missing = analysis.missing + ((CHANGED_SINCE,) if has_uploads or segments.moved else ())
    products = int(np.count_nonzero(state.live[: segments.base_rows]))
    return Analysis(state.tag, products, tuple(_valid_findings(analysis, state)), missing)


def _valid_findings(analysis: Analysis, state: CatalogueState) -> Iterator[Finding]:
    for finding in analysis.findings:
        ids, evidence = _live_ids(state, finding.ids), _live_ids(state, finding.evidence)
        if finding.type == "small-category":
            category = str(finding.reason["category"])
            ids = tuple(id_ for id_ in ids if _category(state, id_) == category)
            size = _category_size(state, category)
            if ids and size < SMALL_CATEGORY_BELOW:
                reason = {**finding.reason, "products": size}
                yield dataclasses.replace(finding, ids=ids, reason=reason)
        elif not ids or ids[0] != finding.ids[0]:
            continue
        elif finding.type.endswith("duplicate"):
            if evidence:
                same = _category(state, ids[0]) == _category(state, evidence[0])
                reason = {**finding.reason, "same_category": same}
                yield dataclasses.replace(finding, ids=ids, evidence=evidence, reason=reason)
        elif finding.type != "wrong-category" or _category(state, ids[0]) == finding.reason["category"]:
            yield dataclasses.replace(finding, ids=ids, evidence=evidence)


def _live_ids(state: CatalogueState, ids: Sequence[str]) -> tuple[str, ...]:
    rows = ((id_, state.segments.row_of(id_)) for id_ in ids)
    return tuple(id_ for id_, row in rows if row is not None and state.live[row])


def _category(state: CatalogueState, product_id: str) -> str:
    row = state.segments.row_of(product_id)
    return "" if row is None else state.categories[state.category_codes[row]]


def _category_size(state: CatalogueState, category: str) -> int:
    if category not in state.categories:
        return 0
    code = state.categories.index(category)
    return int(np.count_nonzero(state.category_codes[state.live] == code))
