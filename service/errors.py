"""What the service refuses, as errors: the branches of the tree in `indexer.errors` that only it needs.

InputError
├── QueryError
│   ├── UnknownProduct      no product of that id, ever
│   ├── DeletedProduct      there was one
│   ├── IdTaken             an upload's id is in use
│   ├── NothingToUndo       every change is undone, or there is none
│   ├── UnknownFinding      no finding of that key in the snapshot that is live
│   ├── PictureAbsent       the product is known, its picture file cannot be served
│   └── KeyReused           an Idempotency-Key came back with another request
└── Refused                 the caller may not do this
    ├── KeyRequired         no key or a wrong one
    ├── WriteForbidden      read-only, cross-site, or from outside without keys
    ├── HostForbidden       asked under a host name that is not this service's
    └── TooManyRequests     past a rate limit or a full queue
"""

from __future__ import annotations

import datetime as dt

from vitrine.indexer.errors import InputError, QueryError, SnapshotError


class UnknownProduct(QueryError):
    """No product has this id."""

    def __init__(self, product_id: str, *, field: str = "id") -> None:
        super().__init__(f"there is no product {product_id!r}", field=field)
        self.id = product_id


class DeletedProduct(QueryError):
    """The product was deleted; `deleted_at` says when."""

    def __init__(self, product_id: str, deleted_at: dt.datetime | None, *, field: str = "id") -> None:
        super().__init__(f"product {product_id!r} was deleted; restore it to use it again", field=field)
        self.id = product_id
        self.deleted_at = deleted_at


class IdTaken(QueryError):
    """The id of an upload belongs to a product already, live or deleted."""

    def __init__(self, product_id: str) -> None:
        super().__init__(f"a product {product_id!r} exists already: choose another id", field="id")


class UnknownFinding(QueryError):
    """No finding of the live snapshot has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no finding {key!r}", field="keys")
        self.key = key


class NotLookedThrough(SnapshotError):
    """A catalogue too large to be looked through while somebody waits, and nobody has yet."""


class NothingToUndo(QueryError):
    """No change is left to take back."""

    def __init__(self) -> None:
        super().__init__("there is no change left to undo")


class PictureAbsent(QueryError):
    """The product's picture is not at hand; the message says why."""


class KeyReused(QueryError):
    """An Idempotency-Key was used before for another request."""

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was used for another request: take a new one", field="Idempotency-Key"
        )


class Refused(InputError):
    """The caller may not do this."""


class KeyRequired(Refused):
    """A write came without a key or with a wrong one."""


class WriteForbidden(Refused):
    """A write that no key would make right here."""


class HostForbidden(Refused):
    """The request names a host that this service does not answer for."""


class TooManyRequests(Refused):
    """Past a limit; `retry_after_s` says when to try again."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
