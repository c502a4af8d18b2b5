"""Operations on the catalogue as a whole: its state, its journal, its categories, its shape."""

from __future__ import annotations

from vitrine.service.api.operations import Call, Operations
from vitrine.service.api.schemas import (
    CategoriesShape,
    ChangesShape,
    MatrixShape,
    PairsShape,
    ProjectionShape,
    StatusShape,
    UndoneShape,
)
from vitrine.service.catalogue.request_models import (
    ChangesQuery,
    MatrixQuery,
    PairsQuery,
    ProjectionQuery,
)
from vitrine.service.catalogue.serialisation import Json

operation = Operations()


@operation("GET /status", StatusShape)
def status(call: Call) -> Json:
    """What is being served."""
    return call.catalogue.status()


@operation("GET /changes", ChangesShape, query=ChangesQuery, tagged=True, problems=(422,))
def changes(call: Call) -> Json:
    """The journal, newest first."""
    return call.catalogue.changes(call.asked)


@operation("POST /undo", UndoneShape, writes=True, problems=(409, 422, 507))
def undo(call: Call) -> Json:
    """Take back the last change not yet undone."""
    return call.catalogue.undo(by=call.caller)


@operation("POST /reload", StatusShape, writes=True)
def reload(call: Call) -> Json:
    """Open the newest snapshot now; it is also noticed by itself."""
    return call.catalogue.reload()


@operation("GET /categories", CategoriesShape, tagged=True)
def categories(call: Call) -> Json:
    """Every category with its counts."""
    return call.catalogue.categories()


@operation("GET /categories/matrix", MatrixShape, query=MatrixQuery, tagged=True, problems=(422,))
def matrix(call: Call) -> Json:
    """How alike the categories are."""
    return call.catalogue.matrix(call.asked)


@operation("GET /categories/matrix/pairs", PairsShape, query=PairsQuery, tagged=True, problems=(422,))
def pairs(call: Call) -> Json:
    """The closest product pairs across two categories."""
    return call.catalogue.pairs(call.asked)


@operation("GET /projection", ProjectionShape, query=ProjectionQuery, tagged=True, problems=(422,))
def projection(call: Call) -> Json:
    """Products as points along their principal components."""
    return call.catalogue.projection(call.asked)
