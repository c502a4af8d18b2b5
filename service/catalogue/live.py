"""The live state of one index folder: which view answers now, and how it moves to the next.

Every request takes one immutable View. Changes of the journal are seen at the next request of every process;
a newly published snapshot is opened and warmed beside the old one by a thread of its own, then swapped in.
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
from typing import TypeVar

from vitrine.indexer.errors import SnapshotError, SnapshotMissing
from vitrine.indexer.journal.journal import Journal
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.indexer.state.rules import Rules
from vitrine.service.catalogue.rules_file import RulesFile
from vitrine.service.queries.view import View
from vitrine.service.stores import Store
from vitrine.service.stores.embedded import EmbeddedStore

log = logging.getLogger(__name__)
POLL_S = 0.5
RETRY_BROKEN_S = 30.0
STOP_S = 2.0
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Broken:
    """A snapshot that `current` names and that would not open; the one before it goes on answering."""

    name: str
    problem: str
    tried_at: float


class LiveView:
    """Gives the view of now. Thread-safe, and safe after a fork: a child opens its own files."""

    def __init__(self, folder: IndexFolder, store: Store | None = None) -> None:
        """Open the live snapshot and the journal; without a snapshot, wait for one.

        store: where vectors are searched, default in the snapshot itself. Raises SnapshotMissing when there
        is no such folder, SnapshotError when its snapshot does not open, RulesError, StoreUnavailable.
        """
        if not folder.root.is_dir():
            folder.current()
        self.folder = folder
        self.store = store or EmbeddedStore()
        self.rules = RulesFile(folder.layout.rules)
        self.broken: Broken | None = None
        self.swaps = 0
        self.store_problem = ""
        self._view: View | None = None
        self._stop = threading.Event()
        self._orphans: list[Journal] = []
        self._attach()
        if self.store.live_name(folder) is not None:
            self._swap_to(self._open())

    def _attach(self) -> None:
        """Take what one process owns: SQLite connections, locks and the thread that watches `current`."""
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
        self._orphans += [self._reads, self._writes]
        self._stop = threading.Event()
        self._attach()
        self.follow()

    def close(self) -> None:
        """Stop watching and close the journal. A request under way keeps its view."""
        self._stop.set()
        if self._watcher is not threading.current_thread() and self._process == os.getpid():
            self._watcher.join(timeout=STOP_S)
        self._reads.close()
        self._writes.close()
        self.store.close()

    def view(self) -> View:
        """Return the view of now, every acknowledged change of any process in it. Raises SnapshotMissing."""
        view = self.view_or_none()
        if view is None:
            self.folder.current()
            raise SnapshotMissing(f"the snapshot in {self.folder.root} is being opened: try again shortly")
        return view

    def view_or_none(self) -> View | None:
        """Return the view of now, None while nothing was published."""
        if os.getpid() != self._process:
            self._after_fork()
        if self._view is not None and self._reads.data_version() != self._version:
            self._refresh()
        return self._view

    def _refresh(self) -> None:
        with self._swapping:
            if self._view is not None:
                version = self._reads.data_version()
                self._view = self._view.after(self._reads.since(self._view.sequence))
                # Last: who sees this version without taking the lock must find its view in place.
                self._version = version

    @contextlib.contextmanager
    def writing(self) -> Iterator[tuple[View, Journal]]:
        """Hold the journal's write lock with the view of now: nobody changes the catalogue meanwhile.

        What is appended inside is durable and in `view()` when the block ends. Raises SnapshotMissing,
        StorageFull, StoreUnavailable.
        """
        self.view_or_none()
        self.follow()
        with self._writes.writing():
            yield self.view(), self._writes

    def recent_changes(self, limit: int) -> list:  # type: ignore[type-arg]
        """Return the newest changes of the journal, newest first."""
        self.view_or_none()
        return self._reads.recent(limit)

    def dismissed(self) -> frozenset[str]:
        """Return the keys of the findings that were dismissed, of whatever snapshot."""
        self.view_or_none()
        return self._reads.dismissed()

    def last_sequence(self) -> int:
        """Return the sequence of the journal's newest change."""
        return self._reads.last_sequence()

    def follow(self) -> bool:
        """Open the snapshot that `current` names, if it is not the one in use; return whether it is new.

        One that does not open is logged and kept in `broken`; the old one stays. So do rules, where the file
        cannot be obeyed.
        """
        if self.rules.is_changed:
            with self._opening:
                self.rules.follow(self._obey)
        try:
            name = self.store.live_name(self.folder)
        except SnapshotError as error:
            self._note_broken("current", error)
            return False
        if name is None or self._is_settled(name):
            return False
        with self._opening:
            if self._is_settled(name):
                return False
            try:
                self._swap_to(self._open())
            except Exception as error:  # whatever is wrong with the new one, the old one goes on answering
                self._note_broken(name, error)
                return False
        return True

    def _obey(self, rules: Rules) -> None:
        with self._swapping:
            if self._view is not None:
                self._view = self._view.under(rules)
        self.broken = None  # the new snapshot may have been refused for the old rules

    def keep_up(self) -> None:
        """Bring new changes into the store. While it is away they wait; answers hold them all the same."""
        view = self.view_or_none()
        if view is None:
            return
        try:
            view.searcher.keep_up(view.state, self.folder)
            self.store_problem = ""
        except SnapshotError as error:
            if not self.store_problem:
                log.error("changes wait for the store: %s", error)
            self.store_problem = str(error)

    def reload(self) -> View:
        """Open what `current` names now, tried again if it would not open before. Raises SnapshotError.

        Rules that could not be obeyed are tried again too; `rules.problem` says whether they are now.
        """
        self.view_or_none()
        self.broken = None
        self.rules.retry()
        self.follow()
        if self.broken is not None:
            raise SnapshotError(f"the snapshot {self.broken.name} does not open: {self.broken.problem}")
        return self.view()

    def _is_settled(self, name: str) -> bool:
        """Return whether there is nothing to do about this name: in use, or broken a moment ago."""
        if self._view is not None and self._view.snapshot.name == name:
            self.broken = None
            return True
        broken = self.broken
        return (
            broken is not None and broken.name == name and time.monotonic() < broken.tried_at + RETRY_BROKEN_S
        )

    def _note_broken(self, name: str, error: Exception) -> None:
        if self.broken is None or self.broken.name != name:
            log.error("snapshot %s does not open, the old one stays: %s", name, error)
        self.broken = Broken(name, str(error), time.monotonic())

    def _open(self) -> View:
        """Open the live snapshot; when it is pruned or replaced meanwhile, the one that is live then."""
        while True:
            name = self.store.live_name(self.folder)
            try:
                snapshot = self.folder.open(name)
                searcher = self.store.attach(snapshot)
                break
            except SnapshotError:
                if self.store.live_name(self.folder) == name:
                    raise
        view = View.of(snapshot, self._reads.since(snapshot.manifest.uploads_sequence), searcher)
        view = view.under(self.rules.rules)
        warm_view(view)
        return view

    def _swap_to(self, view: View) -> None:
        with self._swapping:
            version = self._reads.data_version()
            self._view = view.after(self._reads.since(view.sequence))
            self._version = version
            self.broken = None
            self.rules.retry()
            self.swaps += 1
        log.info("snapshot %s is live with %d products", view.snapshot.name, int(view.live.sum()))


def warm_view(view: View) -> None:
    """Touch what a first query would wait for: look-ups by id, category codes, words, the index."""
    if not view.n:
        return
    view.row_of(view.id_at(0))
    _ = view.category_codes, view.group_codes, view.texts
    view.search(view.vectors([0]), min(10, view.n))


def _watch(reference: weakref.ref[LiveView], stop: threading.Event) -> None:
    """Follow `current` until told to stop or until nobody uses the live view any more."""
    while not stop.wait(POLL_S):
        live = reference()
        if live is None:
            return
        try:
            live.follow()
            live.keep_up()
        except Exception:  # a watcher that dies would leave the service on an old snapshot for ever
            if not stop.is_set():
                log.exception("cannot follow the index folder")
        del live
