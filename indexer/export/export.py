"""The export: the lists of every live product, or those that changed since an earlier state, in one file."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vitrine.indexer.export.changes import PreviousLists
from vitrine.indexer.export.lists import ListFilters, product_lists
from vitrine.indexer.export.output import BATCH_ROWS, ExportRows, check_output_path, open_output
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state
from vitrine.indexer.state.rules import read_rules


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export.

    top: the most hits of a list. since: an earlier state, as NAME, NAME@SEQUENCE or NAME@SEQUENCE+RULES; only
    the lists that changed since are written.
    """

    output: Path
    top: int
    filters: ListFilters = field(default_factory=ListFilters)
    since: str | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The result of an export, printed by `export --json` under these names.

    state: the exported state, for `since` of a later export. emptied: the number of products written without
    a list.
    """

    snapshot: str
    state: str
    since: str | None
    output: str
    products: int
    rows: int
    emptied: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dataclasses.asdict(self)


def export(folder: IndexFolder, options: ExportOptions, progress: Progress) -> ExportReport:
    """Write the exact recommendations of every live product, with the journal and the shop rules applied.

    The digest of the rules is part of the exported state. The file is complete or does not exist. Raises
    InputError, QueryError, RulesError, SnapshotError, StorageFull.
    """
    start = time.monotonic()
    check_output_path(options.output)
    state = read_state(folder)
    rules = read_rules(folder.layout.rules)
    options = replace(options, filters=replace(options.filters, rules=rules))
    tag = f"{state.tag}+{rules.digest}" if rules.digest else state.tag
    previous = _previous_lists(folder, options, progress)
    metadata = {"state": tag, "since": options.since, "top": options.top}
    products = rows = emptied = 0
    progress.start(len(state.live_rows), "products")
    with open_output(options.output, metadata) as writer:
        for batch in _batches(state, options, previous, progress):
            writer.write(batch)
            rows += len(batch)
            products += sum(rank == 1 for rank in batch.rank)
            emptied += sum(rank == 0 for rank in batch.rank)
    progress.done()
    return ExportReport(
        snapshot=state.snapshot.name,
        state=tag,
        since=options.since,
        output=str(options.output),
        products=products,
        rows=rows,
        emptied=emptied,
        seconds=round(time.monotonic() - start, 3),
    )


def _previous_lists(folder: IndexFolder, options: ExportOptions, progress: Progress) -> PreviousLists | None:
    """Return the lists of the state `since`; None if every list is to be written."""
    if options.since is None:
        return None
    tag, _, rules_digest = options.since.partition("+")
    state = read_state(folder, tag)
    has_same_rules = rules_digest == options.filters.rules.digest
    if has_same_rules:
        progress.note(f"comparing with the recommendations of {state.tag}")
    else:
        progress.note(f"the rules have changed since {state.tag}: writing every list")
    return PreviousLists(state, options.filters, options.top, has_same_rules=has_same_rules)


def _batches(
    state: CatalogueState, options: ExportOptions, previous: PreviousLists | None, progress: Progress
) -> Iterator[ExportRows]:
    """Yield rows in batches of about BATCH_ROWS. Without `previous`, empty lists are left out."""
    batch = ExportRows()
    for row, hits in product_lists(state, options.filters, options.top):
        progress.advance(1)
        if len(hits) if previous is None else previous.is_changed(state, row, hits):
            rules = None if hits.rules is None else hits.rules.tolist()
            batch.add_list(state.segments.id_at(row), state.ids(hits.rows), hits.scores.tolist(), rules)
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = ExportRows()
    for product_id in previous.removed_products(state) if previous is not None else ():
        batch.add_list(product_id, [], [])
    if len(batch):
        yield batch
