"""The current view of an index folder, kept up to date with its journal and its `current` snapshot.

Every request takes one immutable View. Changes of the journal are seen at the next request of every process;
a newly published snapshot is opened and warmed beside the old one by a background thread, then swapped in.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from vitrine.indexer.errors import SnapshotError, SnapshotMissing
from vitrine.indexer.journal.journal import Change, Journal
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.rules import Rules
from vitrine.service.catalogue.rules_file import RulesFile
from vitrine.service.queries.view import View
from vitrine.service.stores import Store
from vitrine.service.stores.embedded import EmbeddedStore

log = logging.getLogger(__name__)
POLL_S = 0.5
RETRY_FAILED_S = 30.0
STOP_S = 2.0


@dataclass(frozen=True)
class FailedSnapshot:
    """A snapshot that `current` names and that does not open; the one before it stays in use.

    tried_at_s: the time of the last attempt, by time.monotonic.
    """

    name: str
    problem: str
    tried_at_s: float


class SnapshotFollower:
    """Provider of the current view. Thread-safe, and safe after a fork: a child opens its own files.

    failed: the newest snapshot, while it does not open. swaps: the number of snapshots put into use.
    store_problem: the last error of the store while changes wait for it, else "".
    """

    def __init__(self, folder: IndexFolder, store: Store | None = None) -> None:
        """Open the current snapshot and the journal; without a snapshot, wait for one.

        store: the vector store to search, default the snapshot's own index. Raises SnapshotMissing when there
        is no such folder, SnapshotError when its snapshot does not open, RulesError, StoreUnavailable.
        """
        if not folder.root.is_dir():
            folder.current_name()
        self.folder = folder
        self.store = store or EmbeddedStore()
        self.rules = RulesFile(folder.layout.rules)
        self.failed: FailedSnapshot | None = None
        self.swaps = 0
        self.store_problem = ""
        self._view: View | None = None
        self._stop = threading.Event()
        self._inherited_journals: list[Journal] = []
        self._open_process_resources()
        if self.store.current_name(folder) is not None:
            self._swap_to(self._open())

    def _open_process_resources(self) -> None:
        """Open what belongs to one process: SQLite connections, locks and the background thread."""
        self._process = os.getpid()
        self._swapping = threading.RLock()
        self._opening = threading.Lock()
        self._reads = self.folder.journal()
        self._writes = self.folder.journal()
        self._version = -1
        self._watcher = threading.Thread(
            target=_watch, args=(weakref.ref(self), self._stop), name="vitrine-watcher", daemon=True
        )
        self._watcher.start()

    def _after_fork(self) -> None:
        # An SQLite connection must not be used, nor closed, in a child of the process that opened it.
        self._inherited_journals += [self._reads, self._writes]
        self._stop = threading.Event()
        self._open_process_resources()
        self.poll()

    def close(self) -> None:
        """Stop the background thread and close the journal. Running requests keep their view."""
        self._stop.set()
        if self._watcher is not threading.current_thread() and self._process == os.getpid():
            self._watcher.join(timeout=STOP_S)
        self._reads.close()
        self._writes.close()
        self.store.close()

    def view(self) -> View:
        """Return the current view, with every acknowledged change of any process. Raises SnapshotMissing."""
        view = self.view_or_none()
        if view is None:
            self.folder.current_name()
            raise SnapshotMissing(f"the snapshot in {self.folder.root} is being opened: try again shortly")
        return view

    def view_or_none(self) -> View | None:
        """Return the current view, None while nothing is published."""
        if os.getpid() != self._process:
            self._after_fork()
        if self._view is not None and self._reads.data_version() != self._version:
            self._apply_changes()
        return self._view

    def _apply_changes(self) -> None:
        with self._swapping:
            if self._view is not None:
                version = self._reads.data_version()
                self._view = self._view.after(self._reads.changes_since(self._view.state.sequence))
                # Last: a thread that reads this version without the lock must find its view in place.
                self._version = version

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[View, Journal]]:
        """Hold the journal's write lock, so that no other writer changes the catalogue; yield the view.

        Entries appended inside are durable and in `view()` when the block ends. Raises SnapshotMissing,
        StorageFull, StoreUnavailable.
        """
        self.view_or_none()
        self.poll()
        with self._writes.transaction():
            yield self.view(), self._writes

    def recent_changes(self, limit: int) -> list[Change]:
        """Return the newest changes of the journal, newest first."""
        self.view_or_none()
        return self._reads.recent_changes(limit)

    def dismissed(self) -> frozenset[str]:
        """Return the keys of all dismissed findings, of any snapshot."""
        self.view_or_none()
        return self._reads.dismissed_findings()

    def last_sequence(self) -> int:
        """Return the sequence of the journal's newest change. Raises StoreUnavailable if its file is gone."""
        self._reads.check_file()
        return self._reads.last_sequence()

    def poll(self) -> bool:
        """Open the snapshot that `current` names, if it is not in use yet; return whether it was opened.

        A snapshot that does not open is logged and recorded in `failed`; the old one stays in use. Changed
        rules are applied too; the old rules stay while the file has an error.
        """
        if self.rules.is_changed:
            with self._opening:
                self.rules.reload(self._apply_rules)
        try:
            name = self.store.current_name(self.folder)
        except SnapshotError as error:
            self._record_failure("current", error)
            return False
        if name is None or not self._must_open(name):
            return False
        with self._opening:
            if not self._must_open(name):
                return False
            try:
                self._swap_to(self._open())
            except Exception as error:  # the old snapshot stays in use after any error of the new one
                self._record_failure(name, error)
                return False
        return True

    def _apply_rules(self, rules: Rules) -> None:
        with self._swapping:
            if self._view is not None:
                self._view = self._view.with_rules(rules)
        self.failed = None  # the new snapshot may have failed because of the old rules

    def sync_store(self) -> None:
        """Write new changes into the store. If it is unavailable they wait; answers include them anyway."""
        view = self.view_or_none()
        if view is None:
            return
        try:
            view.searcher.sync_changes(view.state, self.folder)
            self.store_problem = ""
        except SnapshotError as error:
            if not self.store_problem:
                log.error("changes cannot be written to the store yet: %s", error)
            self.store_problem = str(error)

    def reload(self) -> View:
        """Open the snapshot that `current` names, even if it failed before. Raises SnapshotError.

        Rules with an error are read again too; `rules.problem` holds the error that remains.
        """
        self.view_or_none()
        self.failed = None
        self.rules.retry()
        self.poll()
        if self.failed is not None:
            raise SnapshotError(f"the snapshot {self.failed.name} does not open: {self.failed.problem}")
        return self.view()

    def _must_open(self, name: str) -> bool:
        """Return whether a snapshot is to be opened: neither in use nor failed a moment ago."""
        if self._view is not None and self._view.state.snapshot.name == name:
            self.failed = None
            return False
        failed = self.failed
        if failed is None or failed.name != name:
            return True
        return time.monotonic() >= failed.tried_at_s + RETRY_FAILED_S

    def _record_failure(self, name: str, error: Exception) -> None:
        if self.failed is None or self.failed.name != name:
            log.error("snapshot %s does not open, the old one stays in use: %s", name, error)
        self.failed = FailedSnapshot(name, str(error), time.monotonic())

    def _open(self) -> View:
        """Open the current snapshot; if it is pruned or replaced meanwhile, the one that is current then."""
        while True:
            name = self.store.current_name(self.folder)
            try:
                snapshot = self.folder.open(name)
                searcher = self.store.open_searcher(snapshot)
                break
            except SnapshotError:
                if self.store.current_name(self.folder) == name:
                    raise
        self._writes.begin_after(snapshot.manifest.journal_sequence)
        changes = self._reads.changes_since(snapshot.manifest.uploads_sequence)
        view = View.from_snapshot(snapshot, changes, searcher).with_rules(self.rules.rules)
        warm_view(view)
        return view

    def _swap_to(self, view: View) -> None:
        with self._swapping:
            version = self._reads.data_version()
            self._view = view.after(self._reads.changes_since(view.state.sequence))
            self._version = version
            self.failed = None
            self.rules.retry()
            self.swaps += 1
        live_products = int(view.state.live.sum())
        log.info("snapshot %s is in use with %d products", view.state.snapshot.name, live_products)


def warm_view(view: View) -> None:
    """Load what a first query needs: the lookup by id, category and group codes, words, the index."""
    state, segments = view.state, view.state.segments
    if not segments.n:
        return
    segments.row_of(segments.id_at(0))
    _ = state.category_codes, segments.group_codes, segments.texts
    view.search(segments.vectors([0]), min(10, segments.n))


def _watch(reference: weakref.ref[SnapshotFollower], stop: threading.Event) -> None:
    """Poll the index folder until `stop` is set or the follower is garbage-collected."""
    while not stop.wait(POLL_S):
        follower = reference()
        if follower is None:
            return
        try:
            follower.poll()
            follower.sync_store()
        except Exception:  # without this thread the service would stay on an old snapshot for ever
            if not stop.is_set():
                log.exception("the index folder cannot be polled")
        del follower
