"""What was and what is: the trash, the state of the service, its journal and its snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, g, jsonify, render_template, request

from vitrine.indexer.errors import QueryError, SnapshotError
from vitrine.indexer.snapshot.manifest import Manifest
from vitrine.indexer.snapshot.snapshot import roll_back
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.queries.view import View

page = Pages()
TRASH_PAGE = 60
JOURNAL_SHOWN = 30
UNDO_LOOKS_BACK = 200


@page("/trash")
def trash(visit: Visit) -> str:
    """Show what was deleted."""
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
    """Return the change that undo would take back, with the name of its product; None when there is none."""
    changes = visit.catalogue.changes(limit=UNDO_LOOKS_BACK)["changes"]
    last = next((each for each in changes if not each["undone"] and each["undoes"] is None), None)
    return last and _named(visit.catalogue.view(), last)


@page("/status")
def status(visit: Visit) -> str:
    """Show what is served, how well, and how it came to be."""
    view = visit.catalogue.view()
    changes = visit.catalogue.changes(limit=JOURNAL_SHOWN)["changes"]
    return render_template(
        "vitrine/status.html",
        page="status",
        state=visit.catalogue.status(),
        changes=[_named(view, each) for each in changes],
        snapshots=_snapshots(visit),
        live=view.snapshot.name,
    )


@page("/status/rollback", "POST")
def rollback(visit: Visit) -> Response:
    """Make an earlier snapshot live again. A write: it needs the same right as a deletion."""
    allowed = visit.service.guard.check_write(request)
    if isinstance(allowed, Response):
        return allowed
    g.actor = allowed
    name = str((request.get_json(silent=True) or {}).get("snapshot", ""))
    if not name:
        raise QueryError("name the snapshot to go back to", field="snapshot", malformed=True)
    before, after = roll_back(visit.catalogue.live.folder, name)
    visit.catalogue.reload()
    return jsonify(before=before, snapshot=after)


@dataclass(frozen=True, slots=True)
class Published:
    """One snapshot of the history; manifest is None where it cannot be read."""

    name: str
    manifest: Manifest | None


def _snapshots(visit: Visit) -> list[Published]:
    """Return the published snapshots, newest first."""
    folder = visit.catalogue.live.folder
    found = []
    for name in reversed(folder.names()):
        try:
            found.append(Published(name, folder.manifest(name)))
        except SnapshotError:
            found.append(Published(name, None))
    return found


def _named(view: View, change: dict[str, Any]) -> Json:
    row = view.row_of(change["id"])
    return {**change, "name": None if row is None else view.product(row).name}
