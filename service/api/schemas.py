"""The shapes of the answers, for the OpenAPI document and for tests that hold answers against it."""

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
    """The product that hits are compared with."""

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
    score: float = Field(ge=-1, le=1, description="cosine; bigger is more alike")
    confidence: float | None = Field(
        ge=0,
        le=1,
        description="share of the category's products whose nearest neighbour is no nearer; null for a "
        "snapshot of before this was measured",
    )
    rule: str | None = Field(description="the rule of the shop that put it at its place, null where none did")
    image_url: str
    attributes: dict[str, Any]


class TraceShape(Shape):
    """How many candidates one stage left."""

    stage: str
    left: int


class AnswerShape(Shape):
    """Recommendations, best first."""

    snapshot: str
    reference: ReferenceShape | None = Field(description="null for a vector or a photo")
    requested: int
    returned: int
    reason: str | None = Field(description="why fewer were returned than requested")
    took_ms: float
    hits: list[HitShape]
    trace: list[TraceShape] | None = None


class ProblemShape(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(None, description="the parameter that is to blame")
    request_id: str | None = None


class BatchShape(Shape):
    """Answers in the order of the searches; a search that failed is answered by its problem."""

    answers: list[AnswerShape | ProblemShape]


class FacetsShape(Shape):
    """How many of all that match there are of each."""

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
    """The products that a change was about."""

    products: list[ProductShape]


class ChangeShape(Shape):
    """One entry of the journal."""

    sequence: int
    kind: Literal["delete", "restore", "upload", "purge", "move", "dismiss", "reopen"]
    id: str
    at: str
    actor: str
    undone: bool
    undoes: int | None = Field(description="the change that this one took back")
    request: str = Field(description="the id of the request that made it")
    details: dict[str, Any] = Field(description="what else it says, such as which finding was dismissed")


class ChangesShape(Shape):
    """The journal, newest first."""

    changes: list[ChangeShape]


class UndoneShape(Shape):
    """The change taken back, and all that were made with it."""

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
    """How alike categories are: matrix[i][j] compares categories[i] with categories[j]."""

    snapshot: str
    categories: list[str]
    counts: list[int]
    linkage: Literal["centroid", "mean"]
    matrix: list[list[float]]


class PairShape(Shape):
    """Two products of two categories."""

    a: ProductShape
    b: ProductShape
    score: float


class PairsShape(Shape):
    """The closest pairs, best first."""

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
    sampled: bool = Field(description="whether more products match than are shown")


class FindingShape(Shape):
    """Something that may be wrong with products."""

    key: str = Field(description="names the finding from build to build")
    kind: str
    ids: list[str] = Field(description="whom it is about, the one to act on first")
    strength: float = Field(ge=0, le=1, description="how sure")
    evidence: list[str] = Field(description="ids to look at beside")
    reason: dict[str, Any] = Field(description="what was measured")
    dismissed: bool
    products: list[ProductShape] = Field(description="the first of `ids`, then those of `evidence`")


class QualityShape(Shape):
    """One page of findings, by kind, the surest first."""

    snapshot: str
    total: int
    limit: int
    offset: int
    counts: dict[str, int] = Field(description="findings of each kind")
    missing: list[str] = Field(description="what could not be looked for, and why")
    findings: list[FindingShape]


class DismissedShape(Shape):
    """What was dismissed, as changes of the journal."""

    changes: list[ChangeShape]


class RulesShape(Shape):
    """The rules of the shop in force."""

    digest: str | None = Field(description="changes with the file; null without rules")
    names: list[str]
    idle: list[str] = Field(description="those that no product is chosen by")
    problem: str | None = Field(description="why the file as it is now is not obeyed, if so")


class StatusShape(BaseModel):
    """What is being served."""

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
    problem: str | None = Field(description="why the newest snapshot is not the one served, if so")


class HealthShape(Shape):
    """Alive."""

    status: Literal["ok"]


class ReadyShape(Shape):
    """Ready to answer."""

    status: Literal["ready"]
    snapshot: str
