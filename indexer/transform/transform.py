"""Vector transforms from the model's space to a snapshot's space: fitted at build, applied to queries.

`none` keeps the model's unit vectors (as the notebook compares them). `centre` subtracts the catalogue's mean
and normalises again. `adapt` concatenates two parts, fitted by `choice`: a residual, whose features vary
independently of the category, and the roots of the class probabilities. Shape letters: n vectors, D dimension
of the model and of the snapshot alike, C classes (categories learnt), L = D - C residual features.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Rows, unit
from vitrine.indexer.errors import InputError, SnapshotCorrupt

NAMES = ("auto", "none", "centre", "adapt")
# The mean of fewer products describes those products rather than pictures in general.
CENTRE_PRODUCTS_MIN = 100
MEAN_DRIFT_MAX = 0.02
_BLOCK_ROWS = 2048


def signed_sqrt(vectors: FloatMatrix) -> FloatMatrix:
    """Return unit rows of signed square roots, so that no few large features dominate ("RootSIFT")."""
    rooted = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):  # one copy in memory, not four
        block = vectors[start : start + _BLOCK_ROWS]
        rooted[start : start + len(block)] = unit(np.asarray(np.sign(block) * np.sqrt(np.abs(block))))
    return rooted


def sqrt_softmax(logits: FloatMatrix) -> FloatMatrix:
    """Return the square roots of softmax(logits), row by row: unit rows."""
    shifted = np.asarray(logits - logits.max(axis=1, keepdims=True), np.float32)
    return unit(np.asarray(np.exp(0.5 * shifted), np.float32))


@dataclass(frozen=True)
class Adaptation:
    """Parameters of the transform `adapt`. They apply to vectors after `signed_sqrt`.

    mean: (D,). residual_projection: (D, L) whitening of the centred vectors, or None where L of the D centred
    features, residual_features (L,), are used unchanged. class_directions: (D, C) and class_bias: (C,) are
    linear discriminants: softmax(v @ class_directions + class_bias) are the class probabilities.
    class_weight: share of the class part in a score, in 0..1.
    """

    mean: FloatVector
    residual_projection: FloatMatrix | None
    residual_features: Rows
    class_directions: FloatMatrix
    class_bias: FloatVector
    class_weight: float

    def project_residual(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, L) unit rows: the residual part."""
        centred = signed_sqrt(vectors) - self.mean
        if self.residual_projection is None:
            return unit(np.asarray(centred[:, self.residual_features]))
        return unit(np.asarray(centred @ self.residual_projection))

    def project_classes(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, C) unit rows: square roots of the class probabilities.

        The inner product of two such rows is the Bhattacharyya coefficient of the two distributions.
        """
        return sqrt_softmax(signed_sqrt(vectors) @ self.class_directions + self.class_bias)

    def apply(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return (n, D) unit rows.

        Their inner product is (1 - class_weight) times that of the residual parts plus class_weight times
        that of the class parts.
        """
        residual, classes = self.project_residual(vectors), self.project_classes(vectors)
        parts = [np.sqrt(1 - self.class_weight) * residual, np.sqrt(self.class_weight) * classes]
        return unit(np.hstack(parts).astype(np.float32))


@dataclass(frozen=True)
class Transform:
    """A fitted transform.

    name: "none", "centre" or "adapt". reason: why it was chosen, as text. mean: (D,) float32 for `centre`.
    requested: the name given to the build, such as "auto". counts: products by category at the time of
    fitting. metrics: measurements made while choosing, for the manifest.
    """

    name: str
    reason: str
    mean: FloatVector | None = None
    adaptation: Adaptation | None = None
    requested: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_identity(self) -> bool:
        """True if vectors pass unchanged."""
        return self.mean is None and self.adaptation is None

    def is_close_to(self, other: Transform) -> bool:
        """Return True if a newer fit moves no vector noticeably, so that this one's index can be extended.

        Means may differ by 2 % of their length: on real features that changes scores in the third decimal.
        """
        if self.adaptation is not None or other.adaptation is not None:
            return False
        if self.mean is None or other.mean is None:
            return self.mean is None and other.mean is None
        distance = float(np.linalg.norm(self.mean - other.mean))
        return distance <= MEAN_DRIFT_MAX * float(np.linalg.norm(other.mean))

    def apply(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return unit vectors (n, D) of the model in the snapshot's space: (n, D) float32, unit rows.

        A vector that equals the mean would be zero after centring; it is returned unchanged.
        """
        if self.adaptation is not None:
            return self.adaptation.apply(np.asarray(vectors, np.float32))
        if self.mean is None:
            return np.ascontiguousarray(vectors, np.float32)
        centred = vectors - self.mean
        is_zero = np.linalg.norm(centred, axis=1) < 1e-6
        centred[is_zero] = vectors[is_zero]
        return unit(centred)

    def save(self, path: Path) -> None:
        """Write transform.npz."""
        record = {"asked": self.requested, "counts": dict(self.counts), "figures": dict(self.metrics)}
        arrays = {"mean": np.zeros(0, np.float32) if self.mean is None else self.mean}
        if self.adaptation is not None:
            arrays |= _adaptation_to_arrays(self.adaptation)
        with path.open("wb") as file:
            np.savez(
                file,
                name=np.array(self.name),
                why=np.array(self.reason),
                said=np.array(json.dumps(record, ensure_ascii=False)),
                **arrays,  # type: ignore[arg-type]  # the stub takes any keyword for allow_pickle
            )

    @classmethod
    def load(cls, path: Path) -> Transform:
        """Read transform.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                mean = stored["mean"]
                # Older files have no record.
                record = json.loads(str(stored["said"])) if "said" in stored else {}
                return cls(
                    name=str(stored["name"]),
                    reason=str(stored["why"]),
                    mean=mean if mean.size else None,
                    adaptation=_adaptation_from_arrays(stored) if "kinds" in stored else None,
                    requested=record.get("asked", ""),
                    counts=record.get("counts", {}),
                    metrics=record.get("figures", {}),
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable transform: {error}") from error


# The names of the stored arrays are part of the snapshot format.
def _adaptation_to_arrays(adaptation: Adaptation) -> dict[str, Any]:
    projection = adaptation.residual_projection
    return {
        "adapted_mean": adaptation.mean,
        "looks": np.zeros((0, 0), np.float32) if projection is None else projection,
        "kept": adaptation.residual_features,
        "kinds": adaptation.class_directions,
        "bias": adaptation.class_bias,
        "weight": np.array(adaptation.class_weight),
    }


def _adaptation_from_arrays(stored: Mapping[str, Any]) -> Adaptation:
    projection = stored["looks"]
    return Adaptation(
        mean=stored["adapted_mean"],
        residual_projection=projection if projection.size else None,
        residual_features=stored["kept"],
        class_directions=stored["kinds"],
        class_bias=stored["bias"],
        class_weight=float(stored["weight"]),
    )


def fit_mean(name: str, blocks: Iterable[FloatMatrix], products: int) -> Transform:
    """Fit `none` or `centre`; for "auto", choose between them by the number of products.

    blocks: (n, D) unit vectors, together of all products. Raises InputError for another name.
    """
    if name not in ("auto", "none", "centre"):
        raise InputError(f"--transform {name!r} is not one of {', '.join(NAMES)}")
    if name == "none":
        return Transform("none", "requested", requested=name)
    if name == "auto" and products < CENTRE_PRODUCTS_MIN:
        reason = f"fewer than {CENTRE_PRODUCTS_MIN} products, too few for a stable mean"
        return Transform("none", reason, requested=name)
    total, count = None, 0
    for block in blocks:
        block_sum = block.sum(axis=0, dtype=np.float64)
        total = block_sum if total is None else total + block_sum
        count += len(block)
    if total is None:
        return Transform("none", "no products", requested=name)
    reason = "requested" if name == "centre" else "subtracting the catalogue's mean raises mAP at no cost"
    return Transform("centre", reason, (total / count).astype(np.float32), requested=name)
