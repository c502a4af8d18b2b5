"""The whole search for mistakes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.progress import Progress
from vitrine.indexer.quality.duplicates import duplicates
from vitrine.indexer.quality.findings import KINDS, Finding
from vitrine.indexer.quality.hubness import crowding
from vitrine.indexer.quality.labels import LEARNT_FROM, small_categories, wrong_categories
from vitrine.indexer.quality.picture_faults import is_blank, picture_faults
from vitrine.indexer.quality.store import Analysis
from vitrine.indexer.quality.quality_input import QualityInput, read_quality_input
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState


def analyse(folder: IndexFolder, standing: CatalogueState, progress: Progress) -> Analysis:
    """Look for mistakes among the live products of the snapshot. Uploads wait for the next build.

    Reads every picture once, then never again. Needs about 2 x N x D x 4 bytes of memory.
    """
    data = read_quality_input(folder, standing, progress)
    findings = sorted(_findings(data), key=lambda each: (KINDS.index(each.kind), -each.strength, each.ids))
    return Analysis(standing.tag, len(data), tuple(findings), tuple(_missing(data)))


def _findings(data: QualityInput) -> Iterator[Finding]:
    blank = is_blank(data)
    copies = list(duplicates(data, blank))
    yield from copies
    saying_nothing = {name for each in copies if each.kind == "placeholder" for name in each.ids}
    usable = ~blank & ~np.isin(np.array(data.ids, object), np.array(sorted(saying_nothing), object))
    yield from wrong_categories(data, usable)
    yield from picture_faults(data)
    yield from crowding(data)
    yield from small_categories(data)


def _missing(data: QualityInput) -> Iterator[str]:
    """Yield the reasons for which a kind of finding could not be looked for, or only half."""
    sizes = np.bincount(data.codes[data.codes >= 0], minlength=len(data.categories))
    if not (sizes > 0).any():
        yield "no-categories"
    elif int((sizes >= LEARNT_FROM).sum()) < 2:
        yield "too-few-of-a-category"
    if not data.is_raw:
        yield "no-cached-vectors"
    if not data.pictures.known.all():
        yield "pictures-gone"
