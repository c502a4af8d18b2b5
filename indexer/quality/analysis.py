"""The whole search for mistakes, kept beside the cache for each snapshot it was made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.export.files import whole_file
from indexer.progress import Progress
from indexer.quality.crowding import crowding
from indexer.quality.duplicates import duplicates
from indexer.quality.findings import KINDS, Finding
from indexer.quality.labels import LEARNT_FROM, small_categories, wrong_categories
from indexer.quality.picture_faults import is_blank, picture_faults
from indexer.quality.subject import Subject, read_subject
from indexer.snapshot import IndexFolder
from indexer.standing import Standing

VERSION = 1


@dataclass(frozen=True)
class Analysis:
    """What was found in a state (NAME@SEQUENCE), the surest of each kind first.

    missing: what could not be looked for and why, as names of reasons.
    """

    state: str
    products: int
    findings: tuple[Finding, ...]
    missing: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each kind there are, of every kind."""
        found = Counter(each.kind for each in self.findings)
        return {kind: found[kind] for kind in KINDS}

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "version": VERSION,
            "state": self.state,
            "products": self.products,
            "missing": list(self.missing),
            "findings": [each.as_json() for each in self.findings],
        }


def analyse(folder: IndexFolder, standing: Standing, progress: Progress) -> Analysis:
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


def kept_path(folder: IndexFolder, snapshot: str) -> Path:
    """Return where the analysis of a snapshot is kept."""
    return folder.layout.cache / "quality" / f"{snapshot}.json"


def keep_analysis(folder: IndexFolder, analysis: Analysis) -> None:
    """Write an analysis for others to read; those of snapshots that are gone are removed."""
    path = kept_path(folder, analysis.state.split("@")[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(analysis.as_json(), ensure_ascii=False).encode())
    names = set(folder.names())
    for old in path.parent.glob("*.json"):
        if old.stem not in names:
            old.unlink(missing_ok=True)


def read_analysis(folder: IndexFolder, snapshot: str) -> Analysis | None:
    """Return the analysis that was kept of a snapshot; None where there is none that can be read."""
    try:
        said = json.loads(kept_path(folder, snapshot).read_text(encoding="utf-8"))
        if said["version"] != VERSION:
            return None
        findings = tuple(Finding.of_json(each) for each in said["findings"])
        return Analysis(said["state"], said["products"], findings, tuple(said["missing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_analyses(folder: IndexFolder) -> None:
    """Remove what was kept of every snapshot."""
    for path in kept_path(folder, "").parent.glob("*.json"):
        path.unlink(missing_ok=True)
