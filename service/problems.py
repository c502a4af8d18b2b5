"""Errors as RFC 9457 problems: the one table of what becomes which status. Knows nothing of Flask."""

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
# The first class of an error's ancestry that stands here decides: (status, type, title).
_KINDS: dict[type[VitrineError], tuple[int, str, str]] = {
    errors.UnknownProduct: (404, "unknown-product", "There is no such product"),
    errors.DeletedProduct: (410, "deleted-product", "The product was deleted"),
    errors.UnknownFinding: (404, "unknown-finding", "There is no such finding"),
    errors.NotLookedThrough: (503, "not-looked-through", "Nobody has looked for mistakes yet"),
    errors.PictureAbsent: (404, "picture-absent", "The picture cannot be served"),
    errors.IdTaken: (409, "id-taken", "The id is taken"),
    errors.NothingToUndo: (409, "nothing-to-undo", "There is nothing to undo"),
    errors.KeyReused: (409, "idempotency-key-reused", "The Idempotency-Key was used for something else"),
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


def problem(status: int, kind: str, title: str, detail: str, **more: Any) -> Problem:
    """Return a problem object; members that are None are left out."""
    members = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail, **more}
    return {name: value for name, value in members.items() if value is not None}


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error becomes. What is not one of ours says nothing of its inside."""
    if not isinstance(error, VitrineError):
        return problem(*INTERNAL, "the service failed to answer; its log says why, under this request's id")
    more: Problem = {"field": getattr(error, "field", None)}
    if isinstance(error, errors.DeletedProduct) and error.deleted_at is not None:
        more["deleted_at"] = error.deleted_at.isoformat()
    if isinstance(error, PictureError):
        more["field"] = "image"
    return problem(*_kind_of(error), str(error), **more)


def _kind_of(error: VitrineError) -> tuple[int, str, str]:
    if isinstance(error, PictureError) and error.kind == "too-large":
        return TOO_LARGE
    if type(error) is QueryError and error.malformed:
        return MALFORMED
    return next(_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS)
