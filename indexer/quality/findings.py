"""What a finding is. Finds nothing itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The kinds, those to look at first in front.
KINDS = (
    "exact-duplicate",
    "near-duplicate",
    "placeholder",
    "wrong-category",
    "blank",
    "blurred",
    "tiny",
    "hub",
    "outlier",
    "orphan",
    "small-category",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may be wrong with products.

    ids: whom it is about, the one to act on first. strength: 0..1, how sure. evidence: ids to look at beside.
    reason: what was measured, by name; numbers and texts only.
    """

    kind: str
    ids: tuple[str, ...]
    strength: float
    evidence: tuple[str, ...] = ()
    reason: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What names the finding from build to build: its kind, and whom it is about and beside whom.

        Of duplicates the pair counts, of a category its name; the numbers may change.
        """
        about = [self.kind, *self.ids[:1]]
        if self.kind.endswith("duplicate"):
            about = [self.kind, *sorted((*self.ids, *self.evidence))]
        elif self.kind == "small-category":
            about = [self.kind, str(self.reason.get("category"))]
        elif self.kind == "wrong-category":
            about += [str(self.reason.get("category")), str(self.reason.get("vote"))]
        return hashlib.sha256("\0".join(about).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """Return it as `report --json` and the API write it."""
        return {
            "key": self.key,
            "kind": self.kind,
            "ids": list(self.ids),
            "strength": round(self.strength, 4),
            "evidence": list(self.evidence),
            "reason": dict(self.reason),
        }

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Finding:
        """Return what `as_json` wrote."""
        return cls(
            said["kind"], tuple(said["ids"]), said["strength"], tuple(said["evidence"]), said["reason"]
        )
