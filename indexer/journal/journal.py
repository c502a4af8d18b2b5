"""The journal: changes made through the service, in one SQLite file shared by all processes.

A change is durable before its sequence number is returned (WAL, synchronous=FULL). The journal stores and
orders changes; `fold` interprets them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitrine.indexer.arrays import FloatVector
from vitrine.indexer.errors import (
    FormatUnsupported,
    JournalMismatch,
    SnapshotCorrupt,
    StorageFull,
    StoreUnavailable,
)
from vitrine.indexer.files import is_storage_full

# A file keeps the first version until a kind of change is written that the first version does not support.
FORMAT_VERSIONS = (1, 2)
BUSY_TIMEOUT_S = 20.0
_BUSY_PAUSE_S = 0.01

ChangeKind = Literal["delete", "restore", "upload", "purge", "move", "dismiss", "reopen"]
_VERSION_2_KINDS = frozenset({"move", "dismiss", "reopen"})

_COLUMNS = "batch, kind, id, at, actor, request, product, model, vector, undoes"
_SCHEMA = """
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    batch    TEXT NOT NULL,
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    at       TEXT NOT NULL,
    actor    TEXT NOT NULL,
    request  TEXT NOT NULL,
    product  TEXT,
    model    TEXT,
    vector   BLOB,
    undoes   INTEGER UNIQUE REFERENCES changes (sequence)
);
CREATE INDEX changes_by_id ON changes (id, sequence);
CREATE TABLE answers (
    key    TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at     TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded product with its vector.

    product: the fields of Product except deleted_at. model: the key of the model that computed the vector
    (vitrine.indexer.models.ModelSource.key). vector: (D,) float32, of unit length, before any transform.
    """

    product: dict[str, Any]
    model: str
    vector: FloatVector


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one product.

    sequence: its number, increasing. batch: shared by the changes of one request. undoes: the sequence of
    the change that it undoes. undone: True if a later change undoes it. details: further fields by kind,
    {"category": NAME, "from": NAME} of a move and {"finding": KEY} of a dismissal.
    """

    sequence: int
    batch: str
    kind: ChangeKind
    id: str
    at: dt.datetime
    actor: str
    request: str
    upload: Upload | None = field(default=None, repr=False)
    undoes: int | None = None
    undone: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target_category(self) -> str:
        """The category that a move puts the product into; "" for none."""
        return str(self.details.get("category", ""))


class Journal:
    """An open journal file. Thread-safe; several processes may open the same file."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises FormatUnsupported for another format version, SnapshotCorrupt if it is not a journal.
        """
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite_errors(path):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._enable_wal()
            self._connection.execute("PRAGMA synchronous=FULL")
            self._identity = _file_identity(path)
            self._create()

    def _enable_wal(self) -> None:
        """Turn on write-ahead logging, with retries.

        SQLite ignores the timeout here and reports a busy file at once while another process opens it.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # The low byte is the primary code; recovery by another process is SQLITE_BUSY_RECOVERY.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(_BUSY_PAUSE_S)

    def _create(self) -> None:
        """Create the tables of a new file. Raises FormatUnsupported."""
        if self._format_version() == 0:
            with self.transaction():
                if self._format_version() == 0:
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version={FORMAT_VERSIONS[0]}")
        version = self._format_version()
        if version not in FORMAT_VERSIONS:
            raise FormatUnsupported(
                f"{self.path} has journal format {version}, but this version of Vitrine reads up to "
                f"{FORMAT_VERSIONS[-1]}: "
                "use the version of Vitrine that wrote it"
            )

    def _format_version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file. All returned changes are on disk already."""
        with self._lock:
            self._connection.close()

    def checkpoint(self) -> None:
        """Write the log into the file itself, so that a copy of this one file holds every change."""
        self._fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    def check_file(self) -> None:
        """Raise StoreUnavailable if the open file is no longer the one at its path.

        Changes would be written into a file without a name, and be lost.
        """
        if _file_identity(self.path) != self._identity:
            raise StoreUnavailable(
                f"the journal {self.path} was removed or replaced while it was open: stop the service, "
                "put the file back and start again"
            )

    def begin_after(self, sequence: int) -> None:
        """Number the first change of an empty journal after `sequence`, which a snapshot contains.

        A snapshot applies only later changes, so a lower number would be acknowledged without any effect.
        Raises JournalMismatch if the journal has changes and ends before `sequence`.
        """
        if self.last_sequence() >= sequence:
            return
        with self.transaction():
            if self._connection.execute("SELECT 1 FROM changes LIMIT 1").fetchone():
                raise JournalMismatch(
                    f"{self.path} ends at change {self.last_sequence()}, but a snapshot contains the changes "
                    f"up to {sequence}: it is another journal or an older copy; restore the newest copy, or "
                    "move the file away to go on with what the snapshot contains"
                )
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'changes'")
            self._connection.execute("INSERT INTO sqlite_sequence VALUES ('changes', ?)", (sequence,))

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock of the file, so that no other process changes it within the block.

        All appends within the block become durable together at its end, or none if it raises. A nested block
        joins the outer one. Raises StorageFull, or StoreUnavailable if the lock cannot be acquired.
        """
        with self._lock, sqlite_errors(self.path):
            if self._connection.in_transaction:
                yield
                return
            self.check_file()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def append(
        self,
        kind: ChangeKind,
        ids: Sequence[str],
        *,
        actor: str = "",
        request: str = "",
        upload: Upload | None = None,
        undoes: Sequence[int] | None = None,
        details: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Change]:
        """Append one change per id as one batch; durable when the call or the outer `transaction` returns.

        undoes: the sequences of the changes that are undone. details: further fields. Both one per id.
        """
        batch, at = uuid.uuid4().hex, dt.datetime.now(dt.UTC)
        insert = f"INSERT INTO changes ({_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608 (constants)
        vector = np.ascontiguousarray(upload.vector, "<f4").tobytes() if upload else None
        changes = []
        with self.transaction():
            if kind in _VERSION_2_KINDS:
                self._connection.execute(f"PRAGMA user_version={FORMAT_VERSIONS[-1]}")
            for position, product_id in enumerate(ids):
                undone_sequence = undoes[position] if undoes else None
                fields = dict(details[position]) if details else {}
                stored = upload.product if upload else fields or None
                product = None if stored is None else json.dumps(stored, ensure_ascii=False)
                cursor = self._connection.execute(
                    insert,
                    (batch, kind, product_id, at.isoformat(), actor, request, product,
                     upload.model if upload else None, vector, undone_sequence),
                )  # fmt: skip
                sequence = int(cursor.lastrowid or 0)
                values = (sequence, batch, kind, product_id, at, actor, request, upload, undone_sequence)
                changes.append(Change(*values, details=fields))
        return changes

    def last_sequence(self) -> int:
        """Return the sequence of the newest change, or the one that an empty journal begins after."""
        return int(self._fetch("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")[0][0])

    def data_version(self) -> int:
        """Return a number that changes when another connection writes; takes microseconds."""
        with self._lock:
            try:
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.DatabaseError:
                return int(self._fetch("PRAGMA data_version")[0][0])  # raises the translated error

    def changes_since(self, sequence: int, *, until: int | None = None) -> list[Change]:
        """Return the changes after `sequence` (up to and including `until`), oldest first."""
        last = until if until is not None else 2**62
        where = "WHERE c.sequence > ? AND c.sequence <= ? ORDER BY c.sequence"
        return [_read_change(row) for row in self._fetch(_SELECT + where, (sequence, last))]

    def recent_changes(self, limit: int) -> list[Change]:
        """Return the newest `limit` changes, newest first."""
        return [
            _read_change(row) for row in self._fetch(_SELECT + "ORDER BY c.sequence DESC LIMIT ?", (limit,))
        ]

    def last_undoable_batch(self) -> list[Change]:
        """Return the changes not yet undone of the newest batch that can be undone, or an empty list.

        An undo or a purge cannot be undone.
        """
        newest = self._fetch(
            _SELECT + "WHERE c.undoes IS NULL AND u.sequence IS NULL AND c.kind != 'purge'"
            " ORDER BY c.sequence DESC LIMIT 1"
        )
        if not newest:
            return []
        batch = newest[0][1]
        rows = self._fetch(_SELECT + "WHERE c.batch = ? AND u.sequence IS NULL ORDER BY c.sequence", (batch,))
        return [_read_change(row) for row in rows]

    def dismissed_findings(self) -> frozenset[str]:
        """Return the keys of the findings that were dismissed and not reopened since."""
        keys: set[str] = set()
        where = "WHERE c.kind IN ('dismiss', 'reopen') AND c.product IS NOT NULL ORDER BY c.sequence"
        for change in map(_read_change, self._fetch(_SELECT + where)):
            (keys.add if change.kind == "dismiss" else keys.discard)(str(change.details.get("finding")))
        return frozenset(keys)

    def erase(self, ids: Sequence[str]) -> None:
        """Overwrite the stored fields and vectors of these products, and all stored answers; keep the ids."""
        with self.transaction():
            self._connection.execute("PRAGMA secure_delete=ON")
            for product_id in ids:
                self._connection.execute(
                    "UPDATE changes SET product = NULL, model = NULL, vector = NULL WHERE id = ?",
                    (product_id,),
                )
            self._connection.execute("DELETE FROM answers")
        self._fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    def stored_answer(self, key: str) -> tuple[str, Any] | None:
        """Return the request digest and the answer stored under an idempotency key, or None."""
        rows = self._fetch("SELECT digest, answer FROM answers WHERE key = ?", (key,))
        return (rows[0][0], json.loads(rows[0][1])) if rows else None

    def store_answer(self, key: str, digest: str, answer: Any) -> None:
        """Store the answer to a request under its idempotency key, in the open transaction if any."""
        with self.transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (key, digest, json.dumps(answer, ensure_ascii=False), dt.datetime.now(dt.UTC).isoformat()),
            )

    def _fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock, sqlite_errors(self.path):
            return self._connection.execute(query, values).fetchall()


def _file_identity(path: Path) -> tuple[int, int]:
    """Return (device, inode) of a file, zeros if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


_SELECT = (
    "SELECT c.sequence, c.batch, c.kind, c.id, c.at, c.actor, c.request, c.product, c.model, c.vector,"
    " c.undoes, u.sequence IS NOT NULL"
    " FROM changes c LEFT JOIN changes u ON u.undoes = c.sequence "
)


def _read_change(row: tuple[Any, ...]) -> Change:
    """Return a row of _SELECT as a Change."""
    sequence, batch, kind, product_id, at, actor, request, product, model, vector, undoes, undone = row
    upload, details = None, {}
    if vector is not None:
        upload = Upload(json.loads(product), model, np.frombuffer(vector, "<f4"))
    elif product is not None:
        details = json.loads(product)
    moment = dt.datetime.fromisoformat(at)
    return Change(
        sequence, batch, kind, product_id, moment, actor, request, upload, undoes, bool(undone), details
    )


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Translate errors of SQLite: StorageFull, StoreUnavailable or SnapshotCorrupt."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if is_storage_full(error, path):
            raise StorageFull(f"no space left to write {path}: free some and repeat the request") from error
        if isinstance(error, sqlite3.OperationalError):
            raise StoreUnavailable(f"the journal {path} is unavailable: {text}") from error
        raise SnapshotCorrupt(f"{path} is not a journal ({text}): restore it from a backup") from error
