"""How a catalogue drifted from one state to another: who came, who left, what is recommended instead.

Shape letters: N products of both states, D dimension, C categories.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.errors import SnapshotMissing
from vitrine.indexer.export import Filters, product_lists
from vitrine.indexer.progress import Progress
from vitrine.indexer.report.report import about, centroids_of, check_html, products_of, write_page
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state

TOP = 10
SHOWN = 5
CHANGED_SHOWN = 60
LISTED_MAX = 400
_COMPARED_MAX = 20_000
_SEED = 5
Json = dict[str, Any]


@dataclass(frozen=True)
class Changed:
    """One product whose recommendations changed. overlap: the share of its top 10 that stayed."""

    id: str
    overlap: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class CatalogueDiff:
    """What lies between two states, NAME@SEQUENCE.

    moved: (id, category before, after). overlap: mean share of the top 10 that stayed, over products of both;
    None without any. shifts: 1 - cosine of a category's centroids, greatest first; empty where the spaces
    cannot be compared. changed: the products whose top 10 changed most.
    """

    before: str
    after: str
    entered: tuple[str, ...]
    left: tuple[str, ...]
    moved: tuple[tuple[str, str, str], ...]
    overlap: float | None
    compared: int
    shifts: tuple[tuple[str, float], ...]
    changed: tuple[Changed, ...]

    def as_json(self) -> Json:
        """Return it as `diff --json` prints it."""
        return dataclasses.asdict(self) | {"changed": [dataclasses.asdict(each) for each in self.changed]}


def compare_states(folder: IndexFolder, before: str | None, after: str | None) -> CatalogueDiff:
    """Compare two states; by default the snapshot before the live one with what stands now.

    Raises SnapshotMissing where there is no earlier one, SnapshotError, InputError.
    """
    new = read_state(folder, after)
    old = read_state(folder, before or _one_before(folder, new.snapshot.name))
    ids = {name: set(state.ids(state.live_rows)) for name, state in (("old", old), ("new", new))}
    both = sorted(ids["old"] & ids["new"])
    changed, overlap = _changed(old, new, both)
    moved = []
    for name in both:
        was, now = (_category(state, name) for state in (old, new))
        if was != now:
            moved.append((name, was, now))
    return CatalogueDiff(
        before=old.tag,
        after=new.tag,
        entered=tuple(sorted(ids["new"] - ids["old"])),
        left=tuple(sorted(ids["old"] - ids["new"])),
        moved=tuple(moved),
        overlap=overlap,
        compared=min(len(both), _COMPARED_MAX),
        shifts=_shifts(old, new),
        changed=tuple(changed),
    )


def write_diff_page(folder: IndexFolder, drift: CatalogueDiff, output: Path, progress: Progress) -> int:
    """Write a page that shows a drift with pictures; return its size in bytes. Raises InputError."""
    check_html(output)
    new, old = read_state(folder, drift.after), read_state(folder, drift.before)
    entered, left = drift.entered[:LISTED_MAX], drift.left[:LISTED_MAX]
    moved = [{"id": name, "before": was, "after": now} for name, was, now in drift.moved[:LISTED_MAX]]
    shown = [name for each in drift.changed for name in (each.id, *each.before[:SHOWN], *each.after[:SHOWN])]
    wanted = list(dict.fromkeys([*shown, *(each["id"] for each in moved), *entered]))
    here = products_of(folder, new, wanted, progress)
    missing = [name for name in dict.fromkeys([*shown, *left]) if name not in here["products"]]
    gone = products_of(folder, old, missing, progress)
    data = {
        "report": "drift",
        "from": drift.before,
        "entered": {"count": len(drift.entered), "ids": entered},
        "left": {"count": len(drift.left), "ids": left},
        "moved": {"count": len(drift.moved), "products": moved},
        "overlap": drift.overlap,
        "shifts": [{"category": name, "shift": shift} for name, shift in drift.shifts],
        "changed": [dataclasses.asdict(each) for each in drift.changed],
        **about(new),
        "products": here["products"] | gone["products"],
        "pictures": here["pictures"] | gone["pictures"],
    }
    return write_page(output, data)


def _one_before(folder: IndexFolder, name: str) -> str:
    older = [each for each in folder.snapshot_names() if each < name]
    if not older:
        raise SnapshotMissing(f"no snapshot in {folder.root} is older than {name}: nothing to compare with")
    return older[-1]


def _category(state: CatalogueState, name: str) -> str:
    row = state.segments.row_of(name)
    assert row is not None, "asked for a product that is there"
    return state.categories[int(state.category_codes[row])]


def _changed(old: CatalogueState, new: CatalogueState, both: list[str]) -> tuple[list[Changed], float | None]:
    """Return the products of both states whose top 10 changed most, and the mean overlap of all."""
    if len(both) > _COMPARED_MAX:
        chosen = np.random.default_rng(_SEED).choice(len(both), _COMPARED_MAX, replace=False)
        both = [both[place] for place in np.sort(chosen)]
    lists = [_lists(state, set(both)) for state in (old, new)]
    found = []
    for name in both:
        before, after = lists[0].get(name, ()), lists[1].get(name, ())
        if before or after:
            overlap = len(set(before) & set(after)) / max(len(before), len(after))
            found.append(Changed(name, round(overlap, 4), before, after))
    if not found:
        return [], None
    mean = round(float(np.mean([each.overlap for each in found])), 4)
    most = sorted(
        (each for each in found if each.before != each.after), key=lambda each: (each.overlap, each.id)
    )
    return most[:CHANGED_SHOWN], mean


def _lists(state: CatalogueState, wanted: set[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for row, hits in product_lists(state, Filters(), TOP):
        name = state.segments.id_at(row)
        if name in wanted:
            found[name] = tuple(state.ids(hits.rows))
    return found


def _shifts(old: CatalogueState, new: CatalogueState) -> tuple[tuple[str, float], ...]:
    """Return how far the centroid of each category of both states moved."""
    if old.snapshot.manifest.model != new.snapshot.manifest.model:
        return ()
    centroids = []
    for state in (old, new):
        names, vectors, _ = centroids_of(state, state.live_rows)
        centroids.append(dict(zip(names, vectors, strict=True)))
    before, after = centroids
    shifts = [
        (name, round(max(float(1 - before[name] @ after[name]), 0.0), 6))
        for name in before.keys() & after.keys()
    ]
    return tuple(sorted(shifts, key=lambda each: (-each[1], each[0])))
