"""Differences between two states of a catalogue: products, categories and recommendations.

Shape letters: D dimension, C categories.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrine.indexer.arrays import FloatVector
from vitrine.indexer.errors import SnapshotMissing
from vitrine.indexer.export import ListFilters, product_lists
from vitrine.indexer.progress import Progress
from vitrine.indexer.report.page import (
    Json,
    category_centroids,
    check_output_path,
    product_data,
    state_data,
    write_page,
)
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state

TOP = 10
HITS_SHOWN = 5
CHANGED_LISTS_MAX = 60
PRODUCTS_SHOWN_MAX = 400
_COMPARED_MAX = 20_000
_SEED = 5


@dataclass(frozen=True)
class ListChange:
    """A product whose recommendations changed. overlap: share of its top 10 that stayed, in 0..1."""

    id: str
    overlap: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class CatalogueDiff:
    """The differences between two states.

    before, after: tags of the states, NAME@SEQUENCE. entered, left: ids. moved: (id, category before,
    category after). overlap: mean share of the top 10 that stayed, over the `compared` products of both
    states; None if there are none. shifts: (category, 1 - cosine of its centroids), largest first; empty if
    the vectors are of different models. changed: the products whose top 10 changed most. The field names are
    those of `diff --json`.
    """

    before: str
    after: str
    entered: tuple[str, ...]
    left: tuple[str, ...]
    moved: tuple[tuple[str, str, str], ...]
    overlap: float | None
    compared: int
    shifts: tuple[tuple[str, float], ...]
    changed: tuple[ListChange, ...]

    def as_json(self) -> Json:
        """Return the object that `diff --json` prints."""
        return dataclasses.asdict(self)


def compare_states(folder: IndexFolder, before: str | None, after: str | None) -> CatalogueDiff:
    """Compare two states, by default the previous snapshot with the present state.

    before, after: SNAPSHOT or SNAPSHOT@SEQUENCE. Raises SnapshotMissing if there is no earlier snapshot,
    SnapshotError, InputError.
    """
    new = read_state(folder, after)
    old = read_state(folder, before or _previous_name(folder, new.snapshot.name))
    old_ids, new_ids = (set(state.ids(state.live_rows)) for state in (old, new))
    shared = sorted(old_ids & new_ids)
    changed, overlap = _compare_lists(old, new, shared)
    moved = []
    for product_id in shared:
        old_category, new_category = _category(old, product_id), _category(new, product_id)
        if old_category != new_category:
            moved.append((product_id, old_category, new_category))
    return CatalogueDiff(
        before=old.tag,
        after=new.tag,
        entered=tuple(sorted(new_ids - old_ids)),
        left=tuple(sorted(old_ids - new_ids)),
        moved=tuple(moved),
        overlap=overlap,
        compared=min(len(shared), _COMPARED_MAX),
        shifts=_centroid_shifts(old, new),
        changed=tuple(changed),
    )


def write_diff_page(folder: IndexFolder, diff: CatalogueDiff, output: Path, progress: Progress) -> int:
    """Write a page that displays a diff with pictures; return its size in bytes. Raises InputError."""
    check_output_path(output)
    new, old = read_state(folder, diff.after), read_state(folder, diff.before)
    entered, left = diff.entered[:PRODUCTS_SHOWN_MAX], diff.left[:PRODUCTS_SHOWN_MAX]
    moved = [
        {"id": product_id, "before": old_category, "after": new_category}
        for product_id, old_category, new_category in diff.moved[:PRODUCTS_SHOWN_MAX]
    ]
    in_lists = [
        product_id
        for change in diff.changed
        for product_id in (change.id, *change.before[:HITS_SHOWN], *change.after[:HITS_SHOWN])
    ]
    new_ids = list(dict.fromkeys([*in_lists, *(product["id"] for product in moved), *entered]))
    new_data = product_data(folder, new, new_ids, progress)
    old_ids = [name for name in dict.fromkeys([*in_lists, *left]) if name not in new_data["products"]]
    old_data = product_data(folder, old, old_ids, progress)
    data = {
        "report": "diff",
        "from": diff.before,
        "entered": {"count": len(diff.entered), "ids": entered},
        "left": {"count": len(diff.left), "ids": left},
        "moved": {"count": len(diff.moved), "products": moved},
        "overlap": diff.overlap,
        "shifts": [{"category": name, "shift": shift} for name, shift in diff.shifts],
        "changed": [dataclasses.asdict(change) for change in diff.changed],
        **state_data(new),
        "products": new_data["products"] | old_data["products"],
        "pictures": new_data["pictures"] | old_data["pictures"],
    }
    return write_page(output, data)


def _previous_name(folder: IndexFolder, name: str) -> str:
    older = [other for other in folder.snapshot_names() if other < name]
    if not older:
        raise SnapshotMissing(f"no snapshot in {folder.root} is older than {name}: nothing to compare with")
    return older[-1]


def _category(state: CatalogueState, product_id: str) -> str:
    row = state.segments.row_of(product_id)
    assert row is not None, "the product is in both states"
    return state.categories[int(state.category_codes[row])]


def _compare_lists(
    old: CatalogueState, new: CatalogueState, shared: list[str]
) -> tuple[list[ListChange], float | None]:
    """Return the shared products whose top 10 changed most, and the mean overlap of all compared ones."""
    if len(shared) > _COMPARED_MAX:
        sample = np.random.default_rng(_SEED).choice(len(shared), _COMPARED_MAX, replace=False)
        shared = [shared[index] for index in np.sort(sample)]
    old_lists, new_lists = (_top_lists(state, set(shared)) for state in (old, new))
    changes = []
    for product_id in shared:
        before, after = old_lists.get(product_id, ()), new_lists.get(product_id, ())
        if before or after:
            overlap = len(set(before) & set(after)) / max(len(before), len(after))
            changes.append(ListChange(product_id, round(overlap, 4), before, after))
    if not changes:
        return [], None
    mean = round(float(np.mean([change.overlap for change in changes])), 4)
    changed = [change for change in changes if change.before != change.after]
    changed.sort(key=lambda change: (change.overlap, change.id))
    return changed[:CHANGED_LISTS_MAX], mean


def _top_lists(state: CatalogueState, ids: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the ids of the top 10 of each of the products `ids`."""
    lists = {}
    for row, hits in product_lists(state, ListFilters(), TOP):
        product_id = state.segments.id_at(row)
        if product_id in ids:
            lists[product_id] = tuple(state.ids(hits.rows))
    return lists


def _centroid_shifts(old: CatalogueState, new: CatalogueState) -> tuple[tuple[str, float], ...]:
    """Return (category, 1 - cosine of its centroids) of the categories of both states, largest first."""
    if old.snapshot.manifest.model != new.snapshot.manifest.model:
        return ()
    old_centroids, new_centroids = (_centroids_by_name(state) for state in (old, new))
    shifts = [
        (name, round(max(float(1 - old_centroids[name] @ new_centroids[name]), 0.0), 6))
        for name in old_centroids.keys() & new_centroids.keys()
    ]
    return tuple(sorted(shifts, key=lambda shift: (-shift[1], shift[0])))


def _centroids_by_name(state: CatalogueState) -> dict[str, FloatVector]:
    names, centroids, _ = category_centroids(state, state.live_rows)
    return dict(zip(names, centroids, strict=True))
