"""The journal: live changes since the snapshots, one SQLite file shared by every process.

A change is durable before its sequence number is handed out (WAL, synchronous=FULL). The journal only
stores and orders changes; it does not interpret them.
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
    SnapshotCorrupt,
    StorageFull,
    StoreUnavailable,
)
from vitrine.indexer.files import is_full

# A file stays of the first version until something is written that programs of that version do not know.
FORMAT_VERSIONS = (1, 2)
BUSY_TIMEOUT_S = 20.0
_BUSY_PAUSE_S = 0.01

Kind = Literal["delete", "restore", "upload", "purge", "move", "dismiss", "reopen"]
_NEW_KINDS = frozenset({"move", "dismiss", "reopen"})

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
    """What an upload adds: the product's fields, and its unit vector before any transform.

    product: the fields of Product but deleted_at. model: the key of the model that made
    `vector` (vitrine.indexer.models.ModelSource.key). vector: (D,) float32.
    """

    product: dict[str, Any]
    model: str
    vector: FloatVector


@dataclass(frozen=True, slots=True)
class Change:
    """One entry. `undoes` is the sequence it takes back; `undone` says that it was taken back.

    details: what a change other than an upload says besides its kind, such as {"finding": KEY}, or for a move
    {"category": NAME, "from": NAME}.
    """

    sequence: int
    batch: str
    kind: Kind
    id: str
    at: dt.datetime
    actor: str
    request: str
    upload: Upload | None = field(default=None, repr=False)
    undoes: int | None = None
    undone: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def category(self) -> str:
        """Where a move puts the product; "" is no category."""
        return str(self.details.get("category", ""))


class Journal:
    """One open journal file. Thread-safe; several processes may hold the same file."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises FormatUnsupported for another format version, SnapshotCorrupt when it is not a journal.
        """
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with translated(path):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._keep_log()
            self._connection.execute("PRAGMA synchronous=FULL")
            self._create()

    def _keep_log(self) -> None:
        """Turn WAL on. While others open the same file, SQLite says busy at once, whatever the timeout."""
        latest = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # The low byte is the kind: recovery of the log by another process is busy as well.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= latest:
                    raise
            time.sleep(_BUSY_PAUSE_S)

    def _create(self) -> None:
        if self._format_version() == 0:
            with self.writing():
                if self._format_version() == 0:
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version={FORMAT_VERSIONS[0]}")
        version = self._format_version()
        if version not in FORMAT_VERSIONS:
            raise FormatUnsupported(
                f"{self.path} has journal format {version}; this program reads up to {FORMAT_VERSIONS[-1]}: "
                "use the version of Vitrine that wrote it"
            )

    def _format_version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file. Everything acknowledged is already on disk."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Journal:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the one write lock of the file: what is read inside cannot change before the end.

        All appends inside become durable together when the block ends, or not at all when it raises.
        Nesting joins the outer block. Raises StorageFull, or StoreUnavailable when the lock is not had.
        """
        with self._lock, translated(self.path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise

    def append(
        self,
        kind: Kind,
        ids: Sequence[str],
        *,
        actor: str = "",
        request: str = "",
        upload: Upload | None = None,
        undoes: Sequence[int] | None = None,
        details: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Change]:
        """Add one change per id as one batch; durable when the call (or the outer `writing`) returns.

        undoes: the sequences taken back; details: what each says besides; one per id.
        """
        batch, at = uuid.uuid4().hex, dt.datetime.now(dt.UTC)
        insert = f"INSERT INTO changes ({_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608 (constants)
        vector = np.ascontiguousarray(upload.vector, "<f4").tobytes() if upload else None
        changes = []
        with self.writing():
            if kind in _NEW_KINDS:
                self._connection.execute(f"PRAGMA user_version={FORMAT_VERSIONS[-1]}")
            for position, product_id in enumerate(ids):
                taken_back = undoes[position] if undoes else None
                said = dict(details[position]) if details else {}
                about = upload.product if upload else said or None
                product = None if about is None else json.dumps(about, ensure_ascii=False)
                cursor = self._connection.execute(
                    insert,
                    (batch, kind, product_id, at.isoformat(), actor, request, product,
                     upload.model if upload else None, vector, taken_back),
                )  # fmt: skip
                sequence = int(cursor.lastrowid or 0)
                changes.append(
                    Change(
                        sequence, batch, kind, product_id, at, actor, request, upload, taken_back, False, said
                    )
                )
        return changes

    def last_sequence(self) -> int:
        """Return the sequence of the newest change, 0 when there is none."""
        return int(self._fetch("SELECT coalesce(max(sequence), 0) FROM changes")[0][0])

    def data_version(self) -> int:
        """Return a number that changes when another connection has written; costs microseconds."""
        with self._lock:
            try:
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.DatabaseError:
                return int(self._fetch("PRAGMA data_version")[0][0])  # raises what it is

    def since(self, sequence: int, *, until: int | None = None) -> list[Change]:
        """Return the changes after `sequence` (up to and including `until`), oldest first."""
        end = until if until is not None else 2**62
        where = "WHERE c.sequence > ? AND c.sequence <= ? ORDER BY c.sequence"
        return [_change(row) for row in self._fetch(_SELECT + where, (sequence, end))]

    def recent(self, limit: int) -> list[Change]:
        """Return the newest changes, newest first."""
        return [_change(row) for row in self._fetch(_SELECT + "ORDER BY c.sequence DESC LIMIT ?", (limit,))]

    def last_undoable(self) -> list[Change]:
        """Return the changes of the newest batch that is no undo and not undone; empty when none."""
        found = self._fetch(
            _SELECT + "WHERE c.undoes IS NULL AND u.sequence IS NULL AND c.kind != 'purge'"
            " ORDER BY c.sequence DESC LIMIT 1"
        )
        if not found:
            return []
        batch = found[0][1]
        rows = self._fetch(_SELECT + "WHERE c.batch = ? AND u.sequence IS NULL ORDER BY c.sequence", (batch,))
        return [_change(row) for row in rows]

    def dismissed(self) -> frozenset[str]:
        """Return the keys of the findings that were dismissed and not reopened since."""
        kept: set[str] = set()
        where = "WHERE c.kind IN ('dismiss', 'reopen') AND c.product IS NOT NULL ORDER BY c.sequence"
        for change in map(_change, self._fetch(_SELECT + where)):
            (kept.add if change.kind == "dismiss" else kept.discard)(str(change.details.get("finding")))
        return frozenset(kept)

    def scrub(self, ids: Sequence[str]) -> None:
        """Overwrite what the journal holds of these products but for the ids themselves."""
        with self.writing():
            self._connection.execute("PRAGMA secure_delete=ON")
            for product_id in ids:
                self._connection.execute(
                    "UPDATE changes SET product = NULL, model = NULL, vector = NULL WHERE id = ?",
                    (product_id,),
                )
            self._connection.execute("DELETE FROM answers")
        self._fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    def answer_to(self, key: str) -> tuple[str, Any] | None:
        """Return (digest of the request, its answer) remembered under an idempotency key."""
        found = self._fetch("SELECT digest, answer FROM answers WHERE key = ?", (key,))
        return (found[0][0], json.loads(found[0][1])) if found else None

    def remember_answer(self, key: str, digest: str, answer: Any) -> None:
        """Keep the answer to a request under its idempotency key, in the transaction that is open."""
        with self.writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                (key, digest, json.dumps(answer, ensure_ascii=False), dt.datetime.now(dt.UTC).isoformat()),
            )

    def _fetch(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock, translated(self.path):
            return self._connection.execute(query, values).fetchall()


_SELECT = (
    "SELECT c.sequence, c.batch, c.kind, c.id, c.at, c.actor, c.request, c.product, c.model, c.vector,"
    " c.undoes, u.sequence IS NOT NULL"
    " FROM changes c LEFT JOIN changes u ON u.undoes = c.sequence "
)


def _change(row: tuple[Any, ...]) -> Change:
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
def translated(path: Path) -> Iterator[None]:
    """Say SQLite's errors as ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if is_full(error, path):
            raise StorageFull(f"no space left to write {path}: free some and repeat the request") from error
        if isinstance(error, sqlite3.OperationalError):
            raise StoreUnavailable(f"the journal {path} cannot be used now: {text}") from error
        raise SnapshotCorrupt(f"{path} is not a journal ({text}): restore it from a backup") from error
