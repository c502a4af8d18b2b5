"""Findings: likely mistakes in a catalogue, with their types and stored form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The types of findings, the most urgent first.
FINDING_TYPES = (
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
    """A likely mistake in one or several products.

    type: one of FINDING_TYPES. ids: the products concerned, the one to act on first. strength: confidence in
    0..1. evidence: ids of products to compare with. reason: measurements by name, numbers and texts only.
    """

    type: str
    ids: tuple[str, ...]
    strength: float
    evidence: tuple[str, ...] = ()
    reason: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identifier that stays the same from build to build: a hash of the type and the products.

        A duplicate is identified by its pair, a small category by its name, a wrong category by its names
        too. Measurements may change.
        """
        parts = [self.type, *self.ids[:1]]
        if self.type.endswith("duplicate"):
            parts = [self.type, *sorted((*self.ids, *self.evidence))]
        elif self.type == "small-category":
            parts = [self.type, str(self.reason.get("category"))]
        elif self.type == "wrong-category":
            parts += [str(self.reason.get("category")), str(self.reason.get("vote"))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `report --json` and the API write them."""
        return {
            "key": self.key,
            "kind": self.type,
            "ids": list(self.ids),
            "strength": round(self.strength, 4),
            "evidence": list(self.evidence),
            "reason": dict(self.reason),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Finding:
        """Return the finding that `as_json` wrote. Raises KeyError or TypeError for anything else."""
        return cls(
            fields["kind"],
            tuple(fields["ids"]),
            fields["strength"],
            tuple(fields["evidence"]),
            fields["reason"],
        )
