"""Schemas of the answers, for the OpenAPI document and for tests that validate answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """An object of an answer."""

    model_config = ConfigDict(extra="forbid")


class ProductShape(Shape):
    """One product."""

    id: str
    name: str
    category: str
    group: str | None
    image_url: str = Field(description="its picture; add ?size=256 for a thumbnail")
    deleted_at: str | None = Field(description="when it was deleted, null while it is live")
    attributes: dict[str, Any]
    width: int = Field(description="of the picture, in pixels")
    height: int = Field(description="of the picture, in pixels")


class ReferenceShape(Shape):
    """The product that the hits are compared with."""

    id: str
    name: str
    category: str
    image_url: str


class HitShape(Shape):
    """One recommendation."""

    id: str
    name: str
    category: str
    group: str | None
    score: float = Field(ge=-1, le=1, description="cosine; larger is more similar")
    confidence: float | None = Field(
        ge=0,
        le=1,
        description="share of the category's products whose nearest neighbour is not nearer; null for a "
        "snapshot without calibration",
    )
    rule: str | None = Field(description="the shop rule that placed this hit, null if none did")
    image_url: str
    attributes: dict[str, Any]


class TraceShape(Shape):
    """Candidates left after one stage."""

    stage: str
    left: int


class AnswerShape(Shape):
    """Recommendations, best first."""

    snapshot: str
    reference: ReferenceShape | None = Field(description="null for a vector or a photo")
    requested: int
    returned: int
    reason: str | None = Field(description="why fewer hits than requested were returned")
    took_ms: float
    hits: list[HitShape]
    trace: list[TraceShape] | None = None


class ProblemShape(BaseModel):
    """Problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(None, description="the parameter with the error")
    request_id: str | None = None


class BatchShape(Shape):
    """Answers in the order of the searches; a failed search is answered by its problem."""

    answers: list[AnswerShape | ProblemShape]


class FacetsShape(Shape):
    """Counts over all matching products."""

    category: dict[str, int]


class ProductsShape(Shape):
    """One page of products."""

    snapshot: str
    total: int
    limit: int
    offset: int
    products: list[ProductShape]
    facets: FacetsShape


class SeveralShape(Shape):
    """Products of one change."""

    products: list[ProductShape]


class ChangeShape(Shape):
    """One entry of the journal."""

    sequence: int
    kind: Literal["delete", "restore", "upload", "purge", "move", "dismiss", "reopen"]
    id: str
    at: str
    actor: str
    undone: bool
    undoes: int | None = Field(description="the change that this one undid")
    request: str = Field(description="the id of the request that made it")
    details: dict[str, Any] = Field(description="further details, such as the dismissed finding")


class ChangesShape(Shape):
    """The journal, newest first."""

    changes: list[ChangeShape]


class UndoneShape(Shape):
    """The undone change, and all changes made with it."""

    undone: ChangeShape
    changes: list[ChangeShape]


class CategoryShape(Shape):
    """One category."""

    name: str
    live: int
    deleted: int
    sample: list[str]


class CategoriesShape(Shape):
    """All categories."""

    categories: list[CategoryShape]


class MatrixShape(Shape):
    """Category similarity: matrix[i][j] compares categories[i] with categories[j]."""

    snapshot: str
    categories: list[str]
    counts: list[int]
    linkage: Literal["centroid", "mean"]
    matrix: list[list[float]]


class PairShape(Shape):
    """Two products of different categories."""

    a: ProductShape
    b: ProductShape
    score: float


class PairsShape(Shape):
    """The most similar pairs, best first."""

    snapshot: str
    pairs: list[PairShape]


class PointShape(Shape):
    """One product as a point."""

    id: str
    name: str
    category: str
    x: float
    y: float
    z: float | None = None


class ProjectionShape(Shape):
    """Products as points along the principal components."""

    snapshot: str
    dimensions: int
    points: list[PointShape]
    explained_variance_ratio: list[float]
    sampled: bool = Field(description="whether only a sample of the matching products is shown")


class FindingShape(Shape):
    """Quality finding: a possible mistake."""

    key: str = Field(description="identifies the finding across builds")
    kind: str
    ids: list[str] = Field(description="the products concerned, the one to act on first")
    strength: float = Field(ge=0, le=1, description="certainty")
    evidence: list[str] = Field(description="ids of products to compare with")
    reason: dict[str, Any] = Field(description="the measurements behind it")
    dismissed: bool
    products: list[ProductShape] = Field(description="the first of `ids`, then those of `evidence`")


class QualityShape(Shape):
    """One page of findings, by kind, most certain first."""

    snapshot: str
    total: int
    limit: int
    offset: int
    counts: dict[str, int] = Field(description="number of findings of each kind")
    missing: list[str] = Field(description="analyses that could not run, and why")
    findings: list[FindingShape]


class DismissedShape(Shape):
    """Dismissals, as changes of the journal."""

    changes: list[ChangeShape]


class RulesShape(Shape):
    """Shop rules in force."""

    digest: str | None = Field(description="digest of the rules file; null without rules")
    names: list[str]
    idle: list[str] = Field(description="rules that match no product")
    problem: str | None = Field(description="why the current rules file is not in force, if so")


class StatusShape(BaseModel):
    """Status of the service."""

    model_config = ConfigDict(extra="allow")

    snapshot: str
    products: int
    live: int
    deleted: int
    categories: int
    model: str
    dimension: int
    transform: str | None
    recipe: str | None
    recall_at_10: float | None
    built_at: str
    journal_sequence: int
    store: str
    rules: RulesShape
    problem: str | None = Field(description="why the newest snapshot is not served, if so")


class HealthShape(Shape):
    """Alive."""

    status: Literal["ok"]


class ReadyShape(Shape):
    """Ready to answer."""

    status: Literal["ready"]
    snapshot: str
