"""The findings of a state, kept beside the cache for the snapshot they were made of. Finds none itself."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine.indexer.files import storage_errors, whole_file
from vitrine.indexer.quality.findings import KINDS, Finding
from vitrine.indexer.snapshot.snapshot import IndexFolder

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


def kept_path(folder: IndexFolder, snapshot: str) -> Path:
    """Return where the analysis of a snapshot is kept."""
    return folder.layout.cache / "quality" / f"{snapshot}.json"


def keep_analysis(folder: IndexFolder, analysis: Analysis) -> None:
    """Write an analysis for others to read; those of snapshots that are gone are removed."""
    path = kept_path(folder, analysis.state.split("@")[0])
    with storage_errors(path):
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
