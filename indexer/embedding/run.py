"""Result of embedding a source, and the collector that both engines fill it with.

Shapes: N rows of the source, D dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import SourceError
from vitrine.indexer.progress import Progress
from vitrine.indexer.source.source import Source

# Vectors whose length differs from 1 by more are not usable, such as those of an all-black picture.
UNIT_TOLERANCE = 1e-3
NO_VECTOR = "the model finds nothing in it"  # reason of a Failure, as stored in failures.parquet


class Failure(NamedTuple):
    """A product whose picture cannot be embedded: one row of failures.parquet."""

    row: int
    id: str
    image: str
    reason: str


@dataclass
class EmbeddingRun:
    """The outcome of embedding each row of a source. The vectors are in the cache, by digest.

    sha256: (N, 32) uint8. sizes_px: (N, 2) int32, width and height of the upright original.
    ok: (N,) bool, False for the rows of `failures`. dimension: D, or None if no row is ok.
    net_wait_share: share of its time in which the network waited for pictures, 0..1. pooling: as of Model,
    None if the network was not loaded.
    """

    sha256: NDArray[np.uint8]
    sizes_px: NDArray[np.int32]
    ok: NDArray[np.bool_]
    dimension: int | None = None
    failures: list[Failure] = field(default_factory=list)
    embedded: int = 0
    from_cache: int = 0
    net_wait_share: float = 0.0
    batch_size: int | None = None
    decode_threads: int | None = None
    device: str | None = None
    pooling: str | None = None


class RunCollector:
    """A collector of the outcome of each row into one EmbeddingRun. It also reports the progress."""

    def __init__(
        self, source: Source, model_key: str, cache: EmbeddingCache, max_failures: float, progress: Progress
    ) -> None:
        """max_failures: number of pictures that may fail."""
        rows = len(source)
        self.run = EmbeddingRun(
            np.zeros((rows, 32), np.uint8), np.zeros((rows, 2), np.int32), np.zeros(rows, np.bool_)
        )
        self._source = source
        self._model_key = model_key
        self._cache = cache
        self._max_failures = max_failures
        self._progress = progress

    def add_embedded(self, rows: Sequence[int], digest: bytes, size_px: tuple[int, int]) -> None:
        """Record rows of one picture that was embedded in this run, for the first of them."""
        self._add(rows, digest, size_px)
        self.run.embedded += 1
        self.run.from_cache += len(rows) - 1

    def add_cached(self, rows: Sequence[int], digest: bytes, size_px: tuple[int, int]) -> None:
        """Record rows of one picture whose vector was in the cache."""
        self._add(rows, digest, size_px)
        self.run.from_cache += len(rows)

    def add_failed(self, rows: Sequence[int], reason: str) -> None:
        """Record rows whose picture cannot be embedded. Raises SourceError if too many have failed."""
        products = self._source.products
        for row in rows:
            product_id, image = products["id"][row].as_py(), products["image"][row].as_py()
            self.run.failures.append(Failure(row, product_id, image, reason))
        self._progress.advance(len(rows))
        self._check_failures()

    def finish(self) -> EmbeddingRun:
        """Return the run, with its failures in row order and its dimension, read from the cache if unset."""
        run = self.run
        run.failures.sort()
        if run.dimension is None and run.ok.any():
            digest = run.sha256[np.argmax(run.ok)].tobytes()
            run.dimension = self._cache.vectors(self._model_key, [digest]).shape[1]
        return run

    def _add(self, rows: Sequence[int], digest: bytes, size_px: tuple[int, int]) -> None:
        self.run.sha256[rows] = np.frombuffer(digest, np.uint8)
        self.run.sizes_px[rows] = size_px
        self.run.ok[rows] = True
        self._progress.advance(len(rows))

    def _check_failures(self) -> None:
        failures = self.run.failures
        if len(failures) > self._max_failures:
            examples = "; ".join(f"{failure.image}: {failure.reason}" for failure in failures[:3])
            raise SourceError(
                f"{self._source.location}: {len(failures)} of {len(self._source)} pictures cannot be used, "
                f"more than --max-failures allows ({examples}); repair them or allow more"
            )
