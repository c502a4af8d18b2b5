"""Stored analyses: one JSON file for each snapshot, in the index folder's cache."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine.indexer.files import atomic_write, storage_errors
from vitrine.indexer.quality.findings import FINDING_TYPES, Finding
from vitrine.indexer.snapshot.folder import IndexFolder

VERSION = 1


@dataclass(frozen=True)
class Analysis:
    """Findings of a state.

    state: its tag, SNAPSHOT@SEQUENCE. products: the number of products analysed. findings: by type, the
    strongest first. missing: names of the reasons why checks were not made.
    """

    state: str
    products: int
    findings: tuple[Finding, ...]
    missing: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each of FINDING_TYPES."""
        counts = Counter(finding.type for finding in self.findings)
        return {finding_type: counts[finding_type] for finding_type in FINDING_TYPES}

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they are stored."""
        return {
            "version": VERSION,
            "state": self.state,
            "products": self.products,
            "missing": list(self.missing),
            "findings": [finding.as_json() for finding in self.findings],
        }


def analysis_path(folder: IndexFolder, snapshot: str) -> Path:
    """Return the path of a snapshot's analysis."""
    return folder.layout.cache / "quality" / f"{snapshot}.json"


def save_analysis(folder: IndexFolder, analysis: Analysis) -> None:
    """Store an analysis; delete those of snapshots that are gone. Raises SnapshotError if it cannot."""
    path = analysis_path(folder, analysis.state.split("@")[0])
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(analysis.as_json(), ensure_ascii=False).encode())
    names = set(folder.snapshot_names())
    for old in path.parent.glob("*.json"):
        if old.stem not in names:
            old.unlink(missing_ok=True)


def load_analysis(folder: IndexFolder, snapshot: str) -> Analysis | None:
    """Return the stored analysis of a snapshot; None if there is none or it is unreadable."""
    try:
        fields = json.loads(analysis_path(folder, snapshot).read_text(encoding="utf-8"))
        if fields["version"] != VERSION:
            return None
        findings = tuple(Finding.from_json(finding) for finding in fields["findings"])
        return Analysis(fields["state"], fields["products"], findings, tuple(fields["missing"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def delete_analyses(folder: IndexFolder) -> None:
    """Delete the stored analyses of all snapshots."""
    for path in analysis_path(folder, "").parent.glob("*.json"):
        path.unlink(missing_ok=True)
