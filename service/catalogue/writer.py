"""Writes to the catalogue: each is validated, recorded and acknowledged under the journal's write lock.

Nothing is kept in memory: a write has ended when it is durable, and every view is made from the journal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitrine.indexer.journal.journal import Change, ChangeKind, Journal, Upload
from vitrine.indexer.products.schema import Product
from vitrine.indexer.quality.findings import Finding
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.catalogue.new_product import (
    NewProduct,
    generate_id,
    request_digest,
    validated_category,
)
from vitrine.service.catalogue.reference import find_live_row, find_row
from vitrine.service.errors import DeletedProduct, IdempotencyKeyReused, IdTaken, NothingToUndo
from vitrine.service.pictures.embedding import EmbeddedPhoto
from vitrine.service.queries.view import View

Json = dict[str, Any]
# From the written products, or changes, to the answer.
ToJson = Callable[[list[Product]], Json]
ChangesToJson = Callable[[list[Change]], Json]
# The part of a write that runs under the lock.
Write = Callable[[View, Journal], Json]

_OPPOSITE: dict[ChangeKind, ChangeKind] = {
    "delete": "restore",
    "restore": "delete",
    "upload": "delete",
    "move": "move",
    "dismiss": "reopen",
    "reopen": "dismiss",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The author of a write, the id of its request, and its Idempotency-Key.

    idempotency_key: a repeated request with the same key gets the first answer; None for no such check.
    """

    actor: str = ""
    request: str = ""
    idempotency_key: str | None = None


ANONYMOUS = Caller()


class ModelChanged(Exception):
    """The current snapshot has another model than the one that embedded the picture: embed it again."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """The picture of an upload: its file, and its embedding by the model of this key."""

    sha256: str
    path: str
    model_key: str
    photo: EmbeddedPhoto


class Writer:
    """The writes of one index folder.

    `to_json` makes the answer of a write; it is stored under the Idempotency-Key.
    """

    def __init__(self, follower: SnapshotFollower) -> None:
        """Write to the journal of the follower's index folder."""
        self._follower = follower

    def delete(self, ids: Sequence[str], by: Caller, to_json: ToJson) -> Json:
        """Tombstone products as one batch. Raises UnknownProduct, DeletedProduct when all are deleted."""

        def write(view: View, journal: Journal) -> Json:
            state = view.state
            rows = [find_row(view, product_id) for product_id in dict.fromkeys(ids)]
            live_rows = [row for row in rows if state.live[row]]
            if not live_rows:
                deleted = state.product(rows[0])
                raise DeletedProduct(deleted.id, deleted.deleted_at)
            changes = _append(journal, "delete", state.ids(live_rows), by)
            return to_json(
                [
                    dataclasses.replace(state.product(row), deleted_at=change.at)
                    for row, change in zip(live_rows, changes, strict=True)
                ]
            )

        return self._write_once(by, ("delete", *ids), write)

    def restore(self, ids: Sequence[str], by: Caller, to_json: ToJson) -> Json:
        """Restore deleted products as one batch; live ones stay as they are. Raises UnknownProduct."""

        def write(view: View, journal: Journal) -> Json:
            state = view.state
            rows = [find_row(view, product_id) for product_id in dict.fromkeys(ids)]
            deleted_rows = [row for row in rows if not state.live[row]]
            if deleted_rows:
                _append(journal, "restore", state.ids(deleted_rows), by)
            return to_json([dataclasses.replace(state.product(row), deleted_at=None) for row in rows])

        return self._write_once(by, ("restore", *ids), write)

    def move(self, ids: Sequence[str], category: str, by: Caller, to_json: ToJson) -> Json:
        """Move live products into a category as one batch; those already in it stay as they are.

        Raises UnknownProduct, DeletedProduct, QueryError for a text that cannot be the name of a category.
        """
        name = validated_category(category)

        def write(view: View, journal: Journal) -> Json:
            rows = [find_live_row(view, product_id) for product_id in dict.fromkeys(ids)]
            products = [view.state.product(row) for row in rows]
            moving = [product for product in products if product.category != name]
            if moving:
                details = [{"category": name, "from": product.category} for product in moving]
                moving_ids = [product.id for product in moving]
                journal.append("move", moving_ids, actor=by.actor, request=by.request, details=details)
            return to_json([dataclasses.replace(product, category=name) for product in products])

        return self._write_once(by, ("move", name, *ids), write)

    def undo(self, by: Caller, to_json: ChangesToJson) -> Json:
        """Undo the newest batch that is not undone yet. Raises NothingToUndo."""

        def write(view: View, journal: Journal) -> Json:
            changes = journal.last_undoable_batch()
            if not changes:
                raise NothingToUndo
            ids = [change.id for change in changes]
            undoes = [change.sequence for change in changes]
            opposite = _OPPOSITE[changes[0].kind]
            details = [_undo_details(view, change) for change in changes]
            journal.append(opposite, ids, actor=by.actor, request=by.request, undoes=undoes, details=details)
            return to_json([dataclasses.replace(change, undone=True) for change in changes])

        return self._write_once(by, ("undo",), write)

    def dismiss(self, findings: Sequence[Finding], by: Caller, to_json: ChangesToJson) -> Json:
        """Record as one batch that findings are no mistakes."""

        def write(_: View, journal: Journal) -> Json:
            ids = [finding.ids[0] for finding in findings]
            details = [{"finding": finding.key, "of": finding.type} for finding in findings]
            changes = journal.append("dismiss", ids, actor=by.actor, request=by.request, details=details)
            return to_json(changes)

        return self._write_once(by, ("dismiss", *(finding.key for finding in findings)), write)

    def add(self, product: NewProduct, picture: StoredPicture, by: Caller, to_json: ToJson) -> Json:
        """Record an upload whose picture is stored. Raises IdTaken, QueryError, ModelChanged."""

        def write(view: View, journal: Journal) -> Json:
            if view.state.snapshot.manifest.model.key != picture.model_key:
                raise ModelChanged
            row_of = view.state.segments.row_of
            validated = product.validated(view)
            product_id = validated.id or generate_id(
                validated, picture.sha256, lambda candidate: row_of(candidate) is not None
            )
            if row_of(product_id) is not None:
                raise IdTaken(product_id)
            added = _uploaded_product(product_id, validated, picture)
            upload = Upload(_upload_fields(added), picture.model_key, picture.photo.vector)
            journal.append("upload", [product_id], actor=by.actor, request=by.request, upload=upload)
            return to_json([added])

        return self._write_once(by, ("add", product, picture.sha256), write)

    def _write_once(self, by: Caller, request: tuple[object, ...], write: Write) -> Json:
        """Run a write under the lock, or return the stored answer of the same request and key.

        request: the operation and its arguments.
        """
        with self._follower.writing() as (view, journal):
            answer = _stored_answer(journal, by, request)
            if answer is None:
                answer = write(view, journal)
                if by.idempotency_key:
                    journal.store_answer(_actor_key(by), request_digest(*request), answer)
        return answer


def _undo_details(view: View, change: Change) -> Mapping[str, Any]:
    """Return the details of the change that undoes another.

    A product that is no longer where it was moved to, because its source has moved it, stays where it is.
    """
    row = view.state.segments.row_of(change.id)
    if change.kind != "move" or row is None:
        return change.details
    current = view.state.product(row).category
    is_there = "from" in change.details and current == change.target_category
    return {"category": change.details["from"] if is_there else current, "from": current}


def _append(journal: Journal, kind: ChangeKind, ids: Sequence[str], by: Caller) -> list[Change]:
    return journal.append(kind, ids, actor=by.actor, request=by.request)


def _stored_answer(journal: Journal, by: Caller, request: tuple[object, ...]) -> Json | None:
    """Return the answer stored under the caller's key. Raises IdempotencyKeyReused for another request."""
    if not by.idempotency_key:
        return None
    stored = journal.stored_answer(_actor_key(by))
    if stored is None:
        return None
    digest, answer = stored
    if digest != request_digest(*request):
        raise IdempotencyKeyReused
    stored_answer: Json = answer
    return stored_answer


def _actor_key(by: Caller) -> str:
    """Return the key prefixed by its actor, so that keys of different callers cannot collide."""
    return f"{by.actor}\n{by.idempotency_key}"


def _uploaded_product(product_id: str, product: NewProduct, picture: StoredPicture) -> Product:
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


def _upload_fields(product: Product) -> dict[str, Any]:
    """Return the fields of a product as the journal stores them: all but the tombstone."""
    names = [field.name for field in dataclasses.fields(product) if field.name != "deleted_at"]
    return {name: getattr(product, name) for name in names}
