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
from vitrine.indexer.quality.subject import Subject, read_subject
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState


def analyse(folder: IndexFolder, standing: CatalogueState, progress: Progress) -> Analysis:
    """Look for mistakes among the live products of the snapshot. Uploads wait for the next build.

    Reads every picture once, then never again. Needs about 2 x N x D x 4 bytes of memory.
    """
    subject = read_subject(folder, standing, progress)
    findings = sorted(_findings(subject), key=lambda each: (KINDS.index(each.kind), -each.strength, each.ids))
    return Analysis(standing.tag, len(subject), tuple(findings), tuple(_missing(subject)))


def _findings(subject: Subject) -> Iterator[Finding]:
    blank = is_blank(subject)
    copies = list(duplicates(subject, blank))
    yield from copies
    saying_nothing = {name for each in copies if each.kind == "placeholder" for name in each.ids}
    usable = ~blank & ~np.isin(np.array(subject.ids, object), np.array(sorted(saying_nothing), object))
    yield from wrong_categories(subject, usable)
    yield from picture_faults(subject)
    yield from crowding(subject)
    yield from small_categories(subject)


def _missing(subject: Subject) -> Iterator[str]:
    """Yield the reasons for which a kind of finding could not be looked for, or only half."""
    sizes = np.bincount(subject.codes[subject.codes >= 0], minlength=len(subject.categories))
    if not (sizes > 0).any():
        yield "no-categories"
    elif int((sizes >= LEARNT_FROM).sum()) < 2:
        yield "too-few-of-a-category"
    if not subject.is_raw:
        yield "no-cached-vectors"
    if not subject.pictures.known.all():
        yield "pictures-gone"
