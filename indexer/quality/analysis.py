"""Quality analysis of a snapshot: runs every check."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.duplicates import find_duplicates
from vitrine.indexer.quality.findings import FINDING_TYPES, Finding
from vitrine.indexer.quality.hubness import find_hubness
from vitrine.indexer.quality.labels import (
    CATEGORY_PRODUCTS_MIN,
    find_small_categories,
    find_wrong_categories,
)
from vitrine.indexer.quality.picture_faults import find_picture_faults, is_blank
from vitrine.indexer.quality.quality_input import QualityInput, read_quality_input
from vitrine.indexer.quality.store import Analysis
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState


def analyse(folder: IndexFolder, state: CatalogueState, progress: Progress) -> Analysis:
    """Return the findings about the live products of the state's snapshot.

    Uploads are analysed after the next build. Every picture is measured once and then cached. Needs about
    2 x N x D x 4 bytes of memory.
    """
    data = read_quality_input(folder, state, progress)
    findings = sorted(_find_all(data), key=_sort_key)
    return Analysis(state.tag, len(data), tuple(findings), tuple(_missing_reasons(data)))


def _sort_key(finding: Finding) -> tuple[int, float, tuple[str, ...]]:
    return FINDING_TYPES.index(finding.type), -finding.strength, finding.ids


def _find_all(data: QualityInput) -> Iterator[Finding]:
    blank = is_blank(data)
    copies = list(find_duplicates(data, blank))
    yield from copies
    # Neither a blank picture nor a placeholder shows the category of its product.
    placeholders = {id_ for finding in copies if finding.type == "placeholder" for id_ in finding.ids}
    usable = ~blank & ~np.isin(np.array(data.ids, object), np.array(sorted(placeholders), object))
    yield from find_wrong_categories(data, usable)
    yield from find_picture_faults(data)
    yield from find_hubness(data)
    yield from find_small_categories(data)


def _missing_reasons(data: QualityInput) -> Iterator[str]:
    """Yield the names of the reasons why a check was not made, or only in part."""
    known = data.category_codes[data.category_codes >= 0]
    sizes = np.bincount(known, minlength=len(data.categories))
    if not (sizes > 0).any():
        yield "no-categories"
    elif int((sizes >= CATEGORY_PRODUCTS_MIN).sum()) < 2:
        yield "too-few-of-a-category"
    if not data.has_model_vectors:
        yield "no-cached-vectors"
    if not data.pictures.known.all():
        yield "pictures-gone"
