"""Exporting: the lists of every live product, or those that changed since a state, into one file."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitrine.indexer.export.changes import EarlierLists
from vitrine.indexer.export.files import BATCH_ROWS, ExportRows, checked_output, rows_file
from vitrine.indexer.export.lists import Filters, product_lists
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state
from vitrine.indexer.state.rules import read_rules


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export. since: NAME or NAME@SEQUENCE or NAME@SEQUENCE+RULES, a state that was exported; only
    what changed since is written.
    """

    output: Path
    top: int
    filters: Filters = field(default_factory=Filters)
    since: str | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote. state: for `since` next time. emptied: products written without a list."""

    snapshot: str
    state: str
    since: str | None
    output: str
    products: int
    rows: int
    emptied: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `export --json` prints them."""
        return dataclasses.asdict(self)


def export(folder: IndexFolder, options: ExportOptions, progress: Progress) -> ExportReport:
    """Write the recommendations of every live product, exact, journal included; see ExportOptions.

    The rules of the shop are obeyed, and their digest is part of the state. Raises InputError, QueryError,
    SnapshotError, StorageFull; the file is there afterwards whole or not at all.
    """
    started = time.monotonic()
    output = checked_output(options.output)
    state = read_state(folder)
    rules = read_rules(folder.layout.rules)
    options = replace(options, filters=replace(options.filters, rules=rules))
    tag = f"{state.tag}+{rules.digest}" if rules.digest else state.tag
    earlier = _earlier(folder, options, progress)
    about = {"state": tag, "since": options.since, "top": options.top}
    products = rows = emptied = 0
    progress.start(len(state.live_rows), "products")
    with rows_file(output, about) as file:
        for batch in _batches(state, options, earlier, progress):
            file.write(batch)
            rows += len(batch)
            products += sum(rank == 1 for rank in batch.rank)
            emptied += sum(rank == 0 for rank in batch.rank)
    progress.done()
    return ExportReport(
        snapshot=state.snapshot.name,
        state=tag,
        since=options.since,
        output=str(output),
        products=products,
        rows=rows,
        emptied=emptied,
        seconds=round(time.monotonic() - started, 3),
    )


def _earlier(folder: IndexFolder, options: ExportOptions, progress: Progress) -> EarlierLists | None:
    """Return the lists of the state `since`, None where every list is to be written."""
    if options.since is None:
        return None
    tag, _, digest = options.since.partition("+")
    before = read_state(folder, tag)
    same_rules = digest == options.filters.rules.digest
    compared = "to compare with" if same_rules else "under other rules: every list is written"
    progress.note(f"recommendations of {before.tag}, {compared}")
    return EarlierLists(before, options.filters, options.top, same_rules=same_rules)


def _batches(
    state: CatalogueState, options: ExportOptions, earlier: EarlierLists | None, progress: Progress
) -> Iterator[ExportRows]:
    """Yield rows in parts of about BATCH_ROWS; without `earlier`, products without hits have none."""
    batch = ExportRows()
    for row, hits in product_lists(state, options.filters, options.top):
        progress.advance(1)
        if len(hits) if earlier is None else earlier.differs(state, row, hits):
            names = None if hits.rules is None else hits.rules.tolist()
            batch.add(state.segments.id_at(row), state.ids(hits.rows), hits.scores.tolist(), names)
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = ExportRows()
    for product_id in earlier.gone(state) if earlier is not None else ():
        batch.add(product_id, [], [])
    if len(batch):
        yield batch
