"""Output files of an export, Parquet or JSON Lines, written in batches and renamed when complete."""

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
from vitrine.indexer.files import atomic_write

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
    """The columns of a batch of rows, named as in the file.

    rank: 1 for the best hit; 0, without a hit, for a product whose list is empty now. rule: the name of the
    shop rule that pinned the hit, if any.
    """

    product: list[str] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    hit: list[str | None] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)
    rule: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.product)

    def add_list(
        self, product: str, hits: list[str], scores: list[float], rules: list[str | None] | None = None
    ) -> None:
        """Add the list of one product; an empty list becomes a row of rank 0."""
        self.product += [product] * max(len(hits), 1)
        self.rank += range(1, len(hits) + 1) if hits else [0]
        self.hit += hits or [None]
        self.score += scores or [None]
        self.rule += rules or [None] * max(len(hits), 1)


class RowWriter(Protocol):
    """A writer of batches of rows to an open file."""

    def write(self, rows: ExportRows) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write the end of the file; the file itself stays open."""


class _ParquetWriter:
    def __init__(self, file: IO[bytes], metadata: Mapping[str, Any]) -> None:
        schema = SCHEMA.with_metadata({_METADATA_KEY: json.dumps(metadata, ensure_ascii=False).encode()})
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def write(self, rows: ExportRows) -> None:
        columns = [pa.array(getattr(rows, column.name), column.type) for column in SCHEMA]
        self._writer.write_batch(pa.record_batch(columns, schema=self._writer.schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLinesWriter:
    def __init__(self, file: IO[bytes], metadata: Mapping[str, Any]) -> None:  # noqa: ARG002 (not stored)
        self._file = file

    def write(self, rows: ExportRows) -> None:
        scores = [_round_score(score) for score in rows.score]
        lines = [
            json.dumps(dict(zip(SCHEMA.names, values, strict=True)), ensure_ascii=False)
            for values in zip(rows.product, rows.rank, rows.hit, scores, rows.rule, strict=True)
        ]
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None:
        """Do nothing: the last line ends the file."""


def _round_score(score: float | None) -> float | None:
    """Round a float32 to the digits that it has."""
    return None if score is None else round(score, 7)


_WRITERS: Mapping[str, Callable[[IO[bytes], Mapping[str, Any]], RowWriter]] = {
    ".parquet": _ParquetWriter,
    ".jsonl": _JsonLinesWriter,
}


def check_output_path(path: Path) -> None:
    """Raise InputError if the path has another suffix than .parquet or .jsonl, or its folder is missing."""
    if path.suffix.lower() not in _WRITERS:
        raise InputError(f"--output {path}: the name must end in .parquet or .jsonl")
    if not path.parent.is_dir():
        raise InputError(f"--output {path}: folder {path.parent} does not exist")


@contextlib.contextmanager
def open_output(path: Path, metadata: Mapping[str, Any]) -> Iterator[RowWriter]:
    """Open a writer of rows to a file that appears under its name when the block ends without an error.

    metadata: a description of the export, stored in a Parquet file. After an error the previous file is
    unchanged. Raises StorageFull, SnapshotError.
    """
    with atomic_write(path) as file:
        writer = _WRITERS[path.suffix.lower()](file, metadata)
        yield writer
        writer.close()
