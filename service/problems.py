"""RFC 9457 problem objects: the one table of errors and their HTTP statuses. Independent of Flask."""

from __future__ import annotations

from typing import Any

from vitrine.indexer.errors import (
    InputError,
    ModelError,
    PictureError,
    QueryError,
    SnapshotError,
    SnapshotMissing,
    StorageFull,
    StoreUnavailable,
    VitrineError,
)
from vitrine.service import errors

Problem = dict[str, Any]
# (status, type, title). An error uses the first of its classes, in method resolution order, listed here.
_PROBLEM_TYPES: dict[type[VitrineError], tuple[int, str, str]] = {
    errors.UnknownProduct: (404, "unknown-product", "There is no such product"),
    errors.DeletedProduct: (410, "deleted-product", "The product was deleted"),
    errors.UnknownFinding: (404, "unknown-finding", "There is no such finding"),
    errors.QualityNotAnalysed: (503, "not-looked-through", "Quality analysis has not been run"),
    errors.PictureUnavailable: (404, "picture-absent", "The picture cannot be served"),
    errors.IdTaken: (409, "id-taken", "The id is taken"),
    errors.NothingToUndo: (409, "nothing-to-undo", "There is nothing to undo"),
    errors.IdempotencyKeyReused: (409, "idempotency-key-reused", "The Idempotency-Key was used before"),
    errors.KeyRequired: (401, "key-required", "A key is needed to write"),
    errors.WriteForbidden: (403, "write-forbidden", "This write is not allowed"),
    errors.HostForbidden: (421, "host-forbidden", "This service does not answer for that host"),
    errors.TooManyRequests: (429, "too-many-requests", "Too many requests"),
    QueryError: (422, "impossible-request", "The request cannot be answered"),
    PictureError: (415, "not-a-picture", "The picture cannot be read"),
    SnapshotMissing: (503, "no-snapshot", "No snapshot is open"),
    StorageFull: (507, "storage-full", "There is no space left"),
    StoreUnavailable: (503, "store-unavailable", "The store does not answer now"),
    SnapshotError: (503, "snapshot-unusable", "The snapshot cannot be used"),
    ModelError: (503, "no-model", "No network to embed pictures with"),
    InputError: (422, "impossible-request", "The request cannot be answered"),
    VitrineError: (500, "internal-error", "Something went wrong"),
}
MALFORMED = (400, "malformed-request", "The request is malformed")
TOO_LARGE = (413, "too-large", "Too large")
INTERNAL = (500, "internal-error", "Something went wrong")


def problem(status: int, slug: str, title: str, detail: str, **more: Any) -> Problem:
    """Return a problem object; members that are None are left out."""
    members = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail, **more}
    return {name: value for name, value in members.items() if value is not None}


def problem_of(error: Exception) -> Problem:
    """Return the problem of an error. Errors of other libraries are not described to the client."""
    if not isinstance(error, VitrineError):
        return problem(*INTERNAL, "the service failed; its log has the cause under this request's id")
    more: Problem = {"field": getattr(error, "field", None)}
    if isinstance(error, errors.DeletedProduct) and error.deleted_at is not None:
        more["deleted_at"] = error.deleted_at.isoformat()
    if isinstance(error, PictureError):
        more["field"] = "image"
    return problem(*_problem_type(error), str(error), **more)


def _problem_type(error: VitrineError) -> tuple[int, str, str]:
    if isinstance(error, PictureError) and error.code == "too-large":
        return TOO_LARGE
    if type(error) is QueryError and error.malformed:
        return MALFORMED
    return next(_PROBLEM_TYPES[cls] for cls in type(error).__mro__ if cls in _PROBLEM_TYPES)
