"""Operations on the whole catalogue: status, journal, categories and projection."""

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
    """Return the status of the service."""
    return call.catalogue.status()


@operation("GET /changes", ChangesShape, query=ChangesQuery, tagged=True, problems=(422,))
def changes(call: Call) -> Json:
    """List the changes of the journal, newest first."""
    return call.catalogue.changes(call.arguments)


@operation("POST /undo", UndoneShape, writes=True, problems=(409, 422, 507))
def undo(call: Call) -> Json:
    """Undo the last change that is not undone yet."""
    return call.catalogue.undo(by=call.caller)


@operation("POST /reload", StatusShape, writes=True)
def reload(call: Call) -> Json:
    """Open the newest snapshot now, instead of within two seconds."""
    return call.catalogue.reload()


@operation("GET /categories", CategoriesShape, tagged=True)
def categories(call: Call) -> Json:
    """List the categories with their counts."""
    return call.catalogue.categories()


@operation("GET /categories/matrix", MatrixShape, query=MatrixQuery, tagged=True, problems=(422,))
def matrix(call: Call) -> Json:
    """Return the similarity of categories."""
    return call.catalogue.matrix(call.arguments)


@operation("GET /categories/matrix/pairs", PairsShape, query=PairsQuery, tagged=True, problems=(422,))
def pairs(call: Call) -> Json:
    """List the most similar product pairs of two categories."""
    return call.catalogue.pairs(call.arguments)


@operation("GET /projection", ProjectionShape, query=ProjectionQuery, tagged=True, problems=(422,))
def projection(call: Call) -> Json:
    """Return products as points along their principal components (PCA)."""
    return call.catalogue.projection(call.arguments)
