"""Errors that only the service raises, added to the tree of `vitrine.indexer.errors`.

InputError
├── QueryError
│   ├── UnknownProduct        no product has this id
│   ├── DeletedProduct        the product was deleted
│   ├── IdTaken               the id of an upload is in use
│   ├── NothingToUndo         every change is undone, or there is none
│   ├── UnknownFinding        no finding of the current snapshot has this key
│   ├── PictureUnavailable    the product exists, but its picture cannot be served
│   └── IdempotencyKeyReused  the Idempotency-Key was used for another request
└── Refused                   the caller is not allowed to do this
    ├── KeyRequired           the API key is missing or wrong
    ├── WriteForbidden        read-only, cross-site, or from outside without keys
    ├── HostForbidden         the host name of the request is not one of this service
    └── TooManyRequests       a rate limit is exceeded or a queue is full
SnapshotError
└── QualityNotAnalysed        the quality analysis of the snapshot has not been run
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
    """The product was deleted, at `deleted_at`."""

    def __init__(self, product_id: str, deleted_at: dt.datetime | None, *, field: str = "id") -> None:
        super().__init__(f"product {product_id!r} was deleted; restore it to use it again", field=field)
        self.id = product_id
        self.deleted_at = deleted_at


class IdTaken(QueryError):
    """The id of an upload belongs to another product, live or deleted."""

    def __init__(self, product_id: str) -> None:
        super().__init__(f"a product {product_id!r} exists already: choose another id", field="id")


class UnknownFinding(QueryError):
    """No finding of the current snapshot has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no finding {key!r}", field="keys")
        self.key = key


class QualityNotAnalysed(SnapshotError):
    """The quality analysis has not been run, and the catalogue is too large to run it in a request."""


class NothingToUndo(QueryError):
    """No change is left to undo."""

    def __init__(self) -> None:
        super().__init__("there is no change left to undo")


class PictureUnavailable(QueryError):
    """The product's picture cannot be served; the message gives the reason."""


class IdempotencyKeyReused(QueryError):
    """The Idempotency-Key was used before for another request."""

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was used for another request: use a new one", field="Idempotency-Key"
        )


class Refused(InputError):
    """The caller is not allowed to do this."""


class KeyRequired(Refused):
    """A write without an API key or with a wrong one."""


class WriteForbidden(Refused):
    """A write that no API key would allow here."""


class HostForbidden(Refused):
    """A request for a host name that is not one of this service."""


class TooManyRequests(Refused):
    """A limit is exceeded; the request may be repeated after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
