"""Maps from what a model says to the space of a snapshot. Fitted at build, applied to queries alike.

`none` keeps the model's unit vectors (what the notebook compares); `centre` subtracts the catalogue's mean
and normalises again; `adapt` puts the looks of a picture and its likeness to each of the catalogue's
categories side by side (fitted by `choice`). Shape letters: n vectors, D dimension of the model
and of the snapshot alike, C kinds (categories learnt), L = D - C looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, unit
from vitrine.indexer.errors import InputError, SnapshotCorrupt

NAMES = ("auto", "none", "centre", "adapt")
# A mean taken over a handful of products says more about them than about pictures.
CENTRE_FROM = 100
MEAN_DRIFT_MAX = 0.02
_TINY = 1e-12
_BLOCK_ROWS = 2048


def even_out(vectors: FloatMatrix) -> FloatMatrix:
    """Return unit rows of signed square roots, so that few loud features do not decide alone ("RootSIFT")."""
    evened = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):  # so that memory holds one copy, not four
        block = vectors[start : start + _BLOCK_ROWS]
        evened[start : start + len(block)] = unit(np.asarray(np.sign(block) * np.sqrt(np.abs(block))))
    return evened


def probabilities_root(logits: FloatMatrix) -> FloatMatrix:
    """Return the square roots of softmax(logits), row by row: unit rows."""
    shifted = np.asarray(logits - logits.max(axis=1, keepdims=True), np.float32)
    return unit(np.asarray(np.exp(0.5 * shifted), np.float32))


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` learnt. Vectors pass through `even_out` first.

    mean: (D,). looks: (D, L) whitening of what is left after the mean, or None where L of the D features are
    kept as they are (`kept`, (L,)). kinds: (D, C) discriminant directions and bias: (C,), so that
    softmax(v @ kinds + bias) is the likeness to each category. weight: in 0..1, of the kinds in a score.
    """

    mean: FloatVector
    looks: FloatMatrix | None
    kept: np.ndarray[tuple[int], np.dtype[np.int64]]
    kinds: FloatMatrix
    bias: FloatVector
    weight: float

    def looks_of(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, L) unit rows: how a picture differs from the mean of the catalogue."""
        centred = even_out(vectors) - self.mean
        return unit(np.asarray(centred[:, self.kept] if self.looks is None else centred @ self.looks))

    def kinds_of(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, C) unit rows: roots of the probabilities of the kinds.

        The inner product of two such rows is the Bhattacharyya coefficient of the two distributions.
        """
        return probabilities_root(even_out(vectors) @ self.kinds + self.bias)

    def apply(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, D) unit rows, whose inner product is (1 - weight) of looks plus weight of kinds."""
        looks, kinds = self.looks_of(vectors), self.kinds_of(vectors)
        both = np.hstack([np.sqrt(1 - self.weight) * looks, np.sqrt(self.weight) * kinds])
        return unit(both.astype(np.float32))


@dataclass(frozen=True)
class Transform:
    """One fitted transform.

    mean: (D,) float32 for `centre`. asked: the name that was asked for. counts: products by category when it
    was fitted. figures: what was measured while choosing, for the manifest.
    """

    name: str
    why: str
    mean: FloatVector | None = None
    adaptation: Adaptation | None = None
    asked: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_identity(self) -> bool:
        """True when vectors pass unchanged."""
        return self.mean is None and self.adaptation is None

    def is_close_to(self, fitted: Transform) -> bool:
        """True when a newer fit would move no vector visibly, so that an index of this one can be extended.

        Means may differ by 2 % of their length: on real features that changes scores in the third decimal.
        """
        if self.adaptation is not None or fitted.adaptation is not None:
            return False
        if self.mean is None or fitted.mean is None:
            return self.mean is None and fitted.mean is None
        moved = float(np.linalg.norm(self.mean - fitted.mean))
        return moved <= MEAN_DRIFT_MAX * float(np.linalg.norm(fitted.mean))

    def apply(self, vectors: FloatMatrix) -> FloatMatrix:
        """Map unit vectors (n, D) of the model into the snapshot's space: (n, D) float32, unit rows.

        A vector that coincides with the mean has no direction left and keeps its own.
        """
        if self.adaptation is not None:
            return self.adaptation.apply(np.asarray(vectors, np.float32))
        if self.mean is None:
            return np.ascontiguousarray(vectors, np.float32)
        centred = vectors - self.mean
        lost = np.linalg.norm(centred, axis=1) < 1e-6
        centred[lost] = vectors[lost]
        return unit(centred)

    def save(self, path: Path) -> None:
        """Write transform.npz."""
        said = {"asked": self.asked, "counts": dict(self.counts), "figures": dict(self.figures)}
        arrays = {"mean": np.zeros(0, np.float32) if self.mean is None else self.mean}
        if self.adaptation is not None:
            arrays |= _arrays_of(self.adaptation)
        with path.open("wb") as file:
            np.savez(
                file,
                name=np.array(self.name),
                why=np.array(self.why),
                said=np.array(json.dumps(said, ensure_ascii=False)),
                **arrays,  # type: ignore[arg-type]  # the stub takes any keyword for allow_pickle
            )

    @classmethod
    def load(cls, path: Path) -> Transform:
        """Read transform.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                mean = stored["mean"]
                said = json.loads(str(stored["said"])) if "said" in stored else {}
                adaptation = _adaptation_of(stored) if "kinds" in stored else None
                name, why = str(stored["name"]), str(stored["why"])
                return cls(name, why, mean if mean.size else None, adaptation, **said)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable transform: {error}") from error


def _arrays_of(adaptation: Adaptation) -> dict[str, Any]:
    looks = adaptation.looks
    return {
        "adapted_mean": adaptation.mean,
        "looks": np.zeros((0, 0), np.float32) if looks is None else looks,
        "kept": adaptation.kept,
        "kinds": adaptation.kinds,
        "bias": adaptation.bias,
        "weight": np.array(adaptation.weight),
    }


def _adaptation_of(stored: Mapping[str, Any]) -> Adaptation:
    looks = stored["looks"]
    return Adaptation(
        mean=stored["adapted_mean"],
        looks=looks if looks.size else None,
        kept=stored["kept"],
        kinds=stored["kinds"],
        bias=stored["bias"],
        weight=float(stored["weight"]),
    )


def fit_mean(name: str, blocks: Iterable[FloatMatrix], products: int) -> Transform:
    """Fit `none`, `centre`, or for "auto" the better of the two, over (n, D) blocks of unit vectors.

    Raises InputError for another name.
    """
    if name not in ("auto", "none", "centre"):
        raise InputError(f"--transform {name!r} is not one of {', '.join(NAMES)}")
    if name == "none":
        return Transform("none", "asked for", asked=name)
    if name == "auto" and products < CENTRE_FROM:
        return Transform("none", f"fewer than {CENTRE_FROM} products: their mean says little", asked=name)
    total, count = None, 0
    for block in blocks:
        block_sum = block.sum(axis=0, dtype=np.float64)
        total = block_sum if total is None else total + block_sum
        count += len(block)
    if total is None:
        return Transform("none", "no products", asked=name)
    why = "asked for" if name == "centre" else "subtracting the catalogue's mean raises mAP and costs nothing"
    return Transform("centre", why, (total / count).astype(np.float32), asked=name)
