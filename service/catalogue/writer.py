"""Writes: each one checked, recorded and acknowledged under the journal's lock, so that all processes agree.

Nothing is kept in memory: a write is over when it is durable, and every view is made from what is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrine.indexer.journal.journal import Change, Journal, Kind, Upload
from vitrine.indexer.products.table import Product
from vitrine.indexer.quality.findings import Finding
from vitrine.service.catalogue.live import LiveView
from vitrine.service.catalogue.new_product import (
    NewProduct,
    checked_category,
    free_id,
    request_digest,
)
from vitrine.service.errors import DeletedProduct, IdTaken, KeyReused, NothingToUndo, UnknownProduct
from vitrine.service.pictures.embedding import Photo
from vitrine.service.queries.view import View

Json = dict[str, Any]
Show = Callable[[list[Product]], Json]
Work = Callable[[View, Journal], Json]

_OPPOSITE: dict[Kind, Kind] = {
    "delete": "restore",
    "restore": "delete",
    "upload": "delete",
    "move": "move",
    "dismiss": "reopen",
    "reopen": "dismiss",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who writes, in which request, and under which Idempotency-Key (None: not to be recognised again)."""

    actor: str = ""
    request: str = ""
    idempotency_key: str | None = None


ANYBODY = Caller()


class ModelChanged(Exception):
    """The snapshot that is live now has another model than the one the vector was made with: embed again."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """An upload's picture on disk, and what the model of this key made of it."""

    sha256: str
    path: str
    model_key: str
    photo: Photo


class Writer:
    """The writes of one live view. `show` turns what was written into the answer, which may be remembered."""

    def __init__(self, live: LiveView) -> None:
        """Write to the journal of this live view."""
        self._live = live

    def delete(self, ids: Sequence[str], by: Caller, show: Show) -> Json:
        """Tombstone products as one batch. Raises UnknownProduct, DeletedProduct when all are deleted."""

        def work(view: View, journal: Journal) -> Json:
            rows = [_row(view, product_id) for product_id in dict.fromkeys(ids)]
            live = [row for row in rows if view.live[row]]
            if not live:
                deleted = view.product(rows[0])
                raise DeletedProduct(deleted.id, deleted.deleted_at)
            changes = _append(journal, "delete", view.ids(live), by)
            return show(
                [
                    dataclasses.replace(view.product(row), deleted_at=change.at)
                    for row, change in zip(live, changes, strict=True)
                ]
            )

        return self._once(by, ("delete", *ids), work)

    def restore(self, ids: Sequence[str], by: Caller, show: Show) -> Json:
        """Bring products back as one batch; live ones stay as they are. Raises UnknownProduct."""

        def work(view: View, journal: Journal) -> Json:
            rows = [_row(view, product_id) for product_id in dict.fromkeys(ids)]
            dead = [row for row in rows if not view.live[row]]
            if dead:
                _append(journal, "restore", view.ids(dead), by)
            return show([dataclasses.replace(view.product(row), deleted_at=None) for row in rows])

        return self._once(by, ("restore", *ids), work)

    def move(self, ids: Sequence[str], category: str, by: Caller, show: Show) -> Json:
        """Put live products into a category as one batch; those in it stay as they are.

        Raises UnknownProduct, DeletedProduct, QueryError for a text that is no name of a category.
        """
        name = checked_category(category)

        def work(view: View, journal: Journal) -> Json:
            products = [view.product(_live_row(view, product_id)) for product_id in dict.fromkeys(ids)]
            elsewhere = [product for product in products if product.category != name]
            if elsewhere:
                details = [{"category": name, "from": product.category} for product in elsewhere]
                moved = [product.id for product in elsewhere]
                journal.append("move", moved, actor=by.actor, request=by.request, details=details)
            return show([dataclasses.replace(product, category=name) for product in products])

        return self._once(by, ("move", name, *ids), work)

    def undo(self, by: Caller, show: Callable[[list[Change]], Json]) -> Json:
        """Take back the newest batch that still stands. Raises NothingToUndo."""

        def work(view: View, journal: Journal) -> Json:
            changes = journal.last_undoable()
            if not changes:
                raise NothingToUndo
            ids = [change.id for change in changes]
            undoes = [change.sequence for change in changes]
            opposite = _OPPOSITE[changes[0].kind]
            details = [_taking_back(view, change) for change in changes]
            journal.append(opposite, ids, actor=by.actor, request=by.request, undoes=undoes, details=details)
            return show([dataclasses.replace(change, undone=True) for change in changes])

        return self._once(by, ("undo",), work)

    def dismiss(self, findings: Sequence[Finding], by: Caller, show: Callable[[list[Change]], Json]) -> Json:
        """Record that findings are no mistakes, as one batch."""

        def work(_: View, journal: Journal) -> Json:
            ids = [each.ids[0] for each in findings]
            details = [{"finding": each.key, "of": each.kind} for each in findings]
            return show(journal.append("dismiss", ids, actor=by.actor, request=by.request, details=details))

        return self._once(by, ("dismiss", *(each.key for each in findings)), work)

    def add(self, product: NewProduct, picture: StoredPicture, by: Caller, show: Show) -> Json:
        """Record an upload whose picture is stored. Raises IdTaken, QueryError, ModelChanged."""

        def work(view: View, journal: Journal) -> Json:
            if view.snapshot.manifest.model.key != picture.model_key:
                raise ModelChanged
            checked = product.checked(view)
            product_id = checked.id or free_id(
                checked, picture.sha256, lambda candidate: view.row_of(candidate) is not None
            )
            if view.row_of(product_id) is not None:
                raise IdTaken(product_id)
            added = _added(product_id, checked, picture)
            fields = {key: value for key, value in _fields(added).items() if key != "deleted_at"}
            upload = Upload(fields, picture.model_key, picture.photo.vector)
            journal.append("upload", [product_id], actor=by.actor, request=by.request, upload=upload)
            return show([added])

        return self._once(by, ("add", product, picture.sha256), work)

    def _once(self, by: Caller, parts: tuple[object, ...], work: Work) -> Json:
        """Do it under the write lock, or give the answer that it got before under the same key."""
        with self._live.writing() as (view, journal):
            answer = _remembered(journal, by, parts)
            if answer is None:
                answer = work(view, journal)
                if by.idempotency_key:
                    journal.remember_answer(_scoped(by), request_digest(*parts), answer)
        return answer


def _row(view: View, product_id: str) -> int:
    row = view.row_of(product_id)
    if row is None:
        raise UnknownProduct(product_id)
    return row


def _live_row(view: View, product_id: str) -> int:
    row = _row(view, product_id)
    if not view.live[row]:
        raise DeletedProduct(product_id, view.product(row).deleted_at)
    return row


def _taking_back(view: View, change: Change) -> Mapping[str, Any]:
    """Return the details of the change that takes another back.

    A product that is not where it was moved to, since its source has put it elsewhere, stays where it is.
    """
    row = view.row_of(change.id)
    if change.kind != "move" or row is None:
        return change.details
    here = view.product(row).category
    is_there = "from" in change.details and here == change.category
    return {"category": change.details["from"] if is_there else here, "from": here}


def _append(journal: Journal, kind: Kind, ids: Sequence[str], by: Caller) -> list[Change]:
    return journal.append(kind, ids, actor=by.actor, request=by.request)


def _remembered(journal: Journal, by: Caller, parts: tuple[object, ...]) -> Json | None:
    if not by.idempotency_key:
        return None
    found = journal.answer_to(_scoped(by))
    if found is None:
        return None
    digest, answer = found
    if digest != request_digest(*parts):
        raise KeyReused
    remembered: Json = answer
    return remembered


def _scoped(by: Caller) -> str:
    """Return the key within its actor, so that nobody is given what somebody else was answered."""
    return f"{by.actor}\n{by.idempotency_key}"


def _added(product_id: str, product: NewProduct, picture: StoredPicture) -> Product:
    return Product(
        id=product_id,
        name=product.name,
        category=product.category,
        group=product.group,
        image=picture.path,
        sha256=picture.sha256,
        width_px=picture.photo.width_px,
        height_px=picture.photo.height_px,
        attributes=dict(product.attributes),
    )


def _fields(product: Product) -> dict[str, Any]:
    return {each.name: getattr(product, each.name) for each in dataclasses.fields(product)}
