"""Trash page and status page, with the journal and the snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, g, jsonify, render_template, request

from vitrine.indexer.errors import QueryError, SnapshotError
from vitrine.indexer.snapshot.folder import roll_back
from vitrine.indexer.snapshot.manifest import Manifest
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.queries.view import View

page = Pages()
TRASH_PAGE = 60
JOURNAL_SHOWN = 30
UNDO_SEARCH_LIMIT = 200


@page("/trash")
def trash(visit: Visit) -> str:
    """Show the deleted products."""
    offset = max(0, request.args.get("offset", 0, int))
    found = visit.catalogue.products(deleted=True, limit=TRASH_PAGE, offset=offset)
    end = offset + len(found["products"])
    return render_template(
        "vitrine/trash.html",
        page="trash",
        found=found,
        offset=offset,
        page_size=TRASH_PAGE,
        next_offset=end if end < found["total"] else None,
        last=_last_change(visit),
    )


def _last_change(visit: Visit) -> Json | None:
    """Return the change that undo would revert, with the name of its product, or None."""
    changes = visit.catalogue.changes(limit=UNDO_SEARCH_LIMIT)["changes"]
    last = next((each for each in changes if not each["undone"] and each["undoes"] is None), None)
    return last and _named(visit.catalogue.view(), last)


@page("/status")
def status(visit: Visit) -> str:
    """Show the current snapshot, its measurements, the latest changes and earlier snapshots."""
    view = visit.catalogue.view()
    changes = visit.catalogue.changes(limit=JOURNAL_SHOWN)["changes"]
    return render_template(
        "vitrine/status.html",
        page="status",
        state=visit.catalogue.status(),
        changes=[_named(view, each) for each in changes],
        snapshots=_snapshots(visit),
        live=view.state.snapshot.name,
    )


@page("/status/rollback", "POST")
def rollback(visit: Visit) -> Response:
    """Make an earlier snapshot current again. Requires the right to write."""
    actor = visit.service.guard.check_write(request)
    if isinstance(actor, Response):
        return actor
    g.actor = actor
    name = str((request.get_json(silent=True) or {}).get("snapshot", ""))
    if not name:
        raise QueryError("give the snapshot to go back to", field="snapshot", malformed=True)
    before, after = roll_back(visit.catalogue.follower.folder, name)
    visit.catalogue.reload()
    return jsonify(before=before, snapshot=after)


@dataclass(frozen=True, slots=True)
class PublishedSnapshot:
    """One snapshot of the history; manifest is None if it cannot be read."""

    name: str
    manifest: Manifest | None


def _snapshots(visit: Visit) -> list[PublishedSnapshot]:
    """Return the published snapshots, newest first."""
    folder = visit.catalogue.follower.folder
    snapshots = []
    for name in reversed(folder.snapshot_names()):
        try:
            snapshots.append(PublishedSnapshot(name, folder.manifest(name)))
        except SnapshotError:
            snapshots.append(PublishedSnapshot(name, None))
    return snapshots


def _named(view: View, change: dict[str, Any]) -> Json:
    row = view.state.segments.row_of(change["id"])
    return {**change, "name": None if row is None else view.state.product(row).name}
