"""Embedding pipeline of one machine: reads, looks up, decodes and embeds pictures concurrently.

The calling thread does the bookkeeping and writes the cache. Reading and decoding have thread pools, and the
network has a thread of its own, so that it computes while the next pictures are prepared.
Shapes: B pictures, H W pixels, D dimension.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.embedding.inference import InferenceWorker, choose_decode_threads
from vitrine.indexer.embedding.reader import DecodedPicture, HashedPicture, PictureLoader, UnusablePicture
from vitrine.indexer.embedding.run import NO_VECTOR, UNIT_TOLERANCE, EmbeddingRun, RunCollector
from vitrine.indexer.models import ModelSource
from vitrine.indexer.models.runtime import available_cores
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.progress import Progress, SilentProgress
from vitrine.indexer.source.source import Source


@dataclass(frozen=True)
class EmbeddingOptions:
    """Options of an embedding run.

    batch_size, decode_threads: None tunes them by timing the first batches.
    max_failures: number of pictures that may fail, or, as a float, their share, 0..1; None for no limit.
    """

    batch_size: int | None = None
    decode_threads: int | None = None
    max_failures: int | float | None = None

    def max_failed_pictures(self, pictures: int) -> float:
        """Return the number of pictures that may fail out of `pictures`."""
        limit = self.max_failures
        if limit is None:
            return pictures
        return limit * pictures if isinstance(limit, float) else limit


def embed_source(
    source: Source,
    model_source: ModelSource,
    cache: EmbeddingCache,
    *,
    options: EmbeddingOptions | None = None,
    progress: Progress | None = None,
) -> EmbeddingRun:
    """Add the missing vectors of a source's pictures to the cache and return the outcome of each row.

    The model is loaded when the first picture without a cached vector has been decoded. Identical pictures
    are embedded once. A batch is durable in the cache before its pictures count as done, so a kill loses one
    batch at most. Raises SourceError if more pictures fail than allowed, ModelUnavailable, StorageFull.
    """
    options, progress = options or EmbeddingOptions(), progress or SilentProgress()
    return _Pipeline(source, model_source, cache, options, progress).run()


class _Pipeline:
    """One run over one source, controlled by the calling thread."""

    def __init__(
        self,
        source: Source,
        model_source: ModelSource,
        cache: EmbeddingCache,
        options: EmbeddingOptions,
        progress: Progress,
    ) -> None:
        self._cache = cache
        self._model_key = model_source.key
        self._progress = progress
        self._row_count = len(source)
        max_failures = options.max_failed_pictures(len(source))
        self._collector = RunCollector(source, model_source.key, cache, max_failures, progress)
        spec = Preprocessing.parse(model_source.preprocessing)
        self._loader = PictureLoader(source, cache, spec, options.decode_threads or available_cores())
        self._tune_threads = options.decode_threads is None
        self._inference = InferenceWorker(model_source, options.batch_size, progress)
        self._pending_rows: dict[bytes, list[int]] = {}  # rows by the digest of a picture not yet embedded

    def run(self) -> EmbeddingRun:
        self._progress.start(self._row_count, "pictures")
        try:
            self._embed_all()
            self._loader.flush()
        finally:
            self._loader.close()
            self._inference.close()
        self._progress.done()
        return self._finish()

    def _embed_all(self) -> None:
        decoded = self._loader.decode(self._uncached_pictures(), lambda: self._inference.decode_ahead)
        usable = self._drop_unusable(decoded)
        running: tuple[list[DecodedPicture], Future[FloatArray]] | None = None
        while batch := list(itertools.islice(usable, self._inference.next_size())):
            finished = running
            if finished is not None:
                finished[1].exception()  # waits, so that the next batch runs while this one is stored
            running = batch, self._inference.submit([picture.pixels for picture in batch])
            if finished is not None:
                self._store(*finished)
        if running is not None:
            self._store(*running)

    def _uncached_pictures(self) -> Iterator[HashedPicture]:
        """Yield each distinct picture without a cached vector, in source order. Record all other rows."""
        for chunk in self._loader.read_chunks():
            yield from self._look_up(chunk)

    def _look_up(self, chunk: list[HashedPicture | UnusablePicture]) -> list[HashedPicture]:
        digests = {picture.digest for picture in chunk if isinstance(picture, HashedPicture)}
        cached_sizes = self._cache.sizes_px(self._model_key, list(digests))
        uncached: list[HashedPicture] = []
        for picture in chunk:
            if isinstance(picture, UnusablePicture):
                self._collector.add_failed([picture.row], picture.reason)
                continue
            if picture.digest not in cached_sizes and picture.digest not in self._pending_rows:
                self._pending_rows[picture.digest] = [picture.row]
                uncached.append(picture)
                continue
            self._loader.discard(picture)
            if picture.digest in cached_sizes:
                self._collector.add_cached([picture.row], picture.digest, cached_sizes[picture.digest])
            else:
                self._pending_rows[picture.digest].append(picture.row)
        return uncached

    def _drop_unusable(self, decoded: Iterator[DecodedPicture | UnusablePicture]) -> Iterator[DecodedPicture]:
        for picture in decoded:
            if isinstance(picture, DecodedPicture):
                self._inference.start()  # not earlier: bad pictures alone must not start TensorFlow
                yield picture
            else:
                rows = self._pending_rows.pop(picture.digest or b"", [picture.row])
                self._collector.add_failed(rows, picture.reason)

    def _store(self, batch: list[DecodedPicture], embedding: "Future[FloatArray]") -> None:
        """Write one batch to the cache, then record its rows."""
        vectors = embedding.result()
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT_TOLERANCE  # False for NaN, too
        entries = [
            CacheEntry(picture.digest, picture.width_px, picture.height_px, vector)
            for picture, vector, is_valid in zip(batch, vectors, is_unit, strict=True)
            if is_valid
        ]
        self._cache.put(self._model_key, entries)
        for picture, is_valid in zip(batch, is_unit, strict=True):
            rows = self._pending_rows.pop(picture.digest)
            if is_valid:
                self._collector.add_embedded(rows, picture.digest, (picture.width_px, picture.height_px))
            else:
                self._collector.add_failed(rows, NO_VECTOR)
        if self._tune_threads and self._inference.is_tuned:
            self._choose_threads()

    def _choose_threads(self) -> None:
        self._tune_threads = False
        decode_s, inference_s = self._loader.decode_timer.mean_s, self._inference.mean_s
        self._loader.set_threads(choose_decode_threads(decode_s, inference_s, available_cores()))

    def _finish(self) -> EmbeddingRun:
        run, inference = self._collector.run, self._inference
        run.dimension = inference.dimension
        if inference.dimension is not None:
            run.batch_size, run.device = inference.batch_size, inference.device
            run.pooling = inference.pooling
            run.decode_threads, run.net_wait_share = self._loader.threads, inference.idle_share
        return self._collector.finish()
