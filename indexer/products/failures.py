"""The file failures.parquet: products left out of a snapshot because their picture cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_failures(path: Path, failures: Iterable[tuple[str, str, str]]) -> None:
    """Write failures.parquet from (id, image, reason) triples."""
    ids, images, reasons = zip(*failures, strict=True) if failures else ((), (), ())
    columns = {"id": ids, "image": images, "reason": reasons}
    pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), path)


def read_failures(path: Path) -> list[dict[str, str]]:
    """Return the rows of a failures.parquet: id, image, reason."""
    rows: list[dict[str, str]] = pq.read_table(path).to_pylist()
    return rows
