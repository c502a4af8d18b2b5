"""The files that an export writes: rows in a stream, seen under their name only when they are whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from vitrine.indexer.errors import InputError
from vitrine.indexer.files import whole_file

SCHEMA = pa.schema(
    [
        pa.field("product", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("hit", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("rule", pa.string()),
    ]
)
BATCH_ROWS = 65_536
_METADATA_KEY = b"vitrine"


@dataclass
class ExportRows:
    """Columns of some rows. rank: 1 the best hit; 0, with no hit, says that the product has no list now.

    rule: the rule of the shop that put the hit there, if one did.
    """

    product: list[str] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    hit: list[str | None] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)
    rule: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.product)

    def add(
        self, product: str, hits: list[str], scores: list[float], rules: list[str | None] | None = None
    ) -> None:
        """Add the list of one product; an empty one as a row of rank 0."""
        self.product += [product] * max(len(hits), 1)
        self.rank += range(1, len(hits) + 1) if hits else [0]
        self.hit += hits or [None]
        self.score += scores or [None]
        self.rule += rules or [None] * max(len(hits), 1)


class RowsFile(Protocol):
    """A file that takes rows one batch after another."""

    def write(self, rows: ExportRows) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write what ends the file."""


class _Parquet:
    def __init__(self, file: IO[bytes], about: Mapping[str, Any]) -> None:
        schema = SCHEMA.with_metadata({_METADATA_KEY: json.dumps(about, ensure_ascii=False).encode()})
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, rows: ExportRows) -> None:
        columns = [pa.array(getattr(rows, each.name), each.type) for each in SCHEMA]
        self._writer.write_batch(pa.record_batch(columns, schema=self._writer.schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    def __init__(self, file: IO[bytes], about: Mapping[str, Any]) -> None:  # noqa: ARG002 (rows and no more)
        self._file = file

    def write(self, rows: ExportRows) -> None:
        lines = [
            json.dumps(dict(zip(SCHEMA.names, row, strict=True)), ensure_ascii=False)
            for row in zip(
                rows.product, rows.rank, rows.hit, map(_shortest, rows.score), rows.rule, strict=True
            )
        ]
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """Nothing ends a file of lines."""


def _shortest(score: float | None) -> float | None:
    """Return a float32 with as few digits as tell it."""
    return None if score is None else round(score, 7)


_KINDS: Mapping[str, Callable[[IO[bytes], Mapping[str, Any]], RowsFile]] = {
    ".parquet": _Parquet,
    ".jsonl": _JsonLines,
}


def checked_output(path: Path) -> Path:
    """Return a path that can be written. Raises InputError for another ending or a missing folder."""
    if path.suffix.lower() not in _KINDS:
        raise InputError(f"--output {path}: the name ends in .parquet or .jsonl")
    if not path.parent.is_dir():
        raise InputError(f"--output {path}: there is no folder {path.parent}")
    return path


@contextlib.contextmanager
def rows_file(path: Path, about: Mapping[str, Any]) -> Iterator[RowsFile]:
    """Open a file to stream rows into; it gets its name, in one step, when the block ends well.

    about: what was exported, kept in a Parquet file's metadata. Raises StorageFull, SnapshotError; whatever
    had that name stays then, and nothing else is left.
    """
    with whole_file(path) as file:
        opened = _KINDS[path.suffix.lower()](file, about)
        yield opened
        opened.close()
