"""Benchmark of embedding with a full-size BiT, against the notebook's loop and PyTorch.

Weights are random, which does not change the duration. The candidates run in turn and ratios are medians
over rounds, so that other load on the machine affects all of them equally.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarks.report import Row, Section
from tests.indexer.models.random_bit import (
    R50,
    Arrays,
    hub_module,
    random_arrays,
    save_hub_module,
    write_npz,
)
from tests.paths import CLOTHING, DEMO, ROOT
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingOptions, embed_source
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.models import Model, ModelSource, resolve_model
from vitrine.indexer.models.runtime import FrozenNetwork, Threads, import_tensorflow
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.indexer.source.source import Source, open_source
from vitrine.service.pictures.batching import BatchingEmbedder

PHOTOS = CLOTHING
SIZE_PX = 224
# Twice the multiply-adds of R50x1 at 224 x 224.
GFLOP_PER_PICTURE = 8.6
MATRIX_SIZE = 2048
CALLERS = 8
Rates = dict[str, list[float]]


class PreloadedSource(ModelSource):
    """A model source whose model is already loaded, so that a run does not measure loading."""

    model: Model

    @classmethod
    def preload(cls, source: ModelSource) -> PreloadedSource:
        fields = [getattr(source, name) for name in ModelSource.__dataclass_fields__]
        preloaded = cls(*fields)
        object.__setattr__(preloaded, "model", source.load())
        return preloaded

    def load(self, *, threads: Threads | None = None) -> Any:
        """Return the loaded model, whose close method does nothing."""
        model = self.model

        class SharedModel:
            name, dimension, device = model.name, model.dimension, model.device
            pooling = model.pooling
            embed = staticmethod(model.embed)
            close = staticmethod(lambda: None)

        return SharedModel()


@dataclass(frozen=True)
class Setup:
    """Weights, models and pictures of the benchmark. workers: processes to stop at the end."""

    arrays: Arrays
    native: PreloadedSource
    lite: PreloadedSource
    source: Source
    pictures: Sequence[bytes]
    folder: Path
    workers: list[subprocess.Popen[str]]


def run(quick: bool) -> Section:
    """Measure R50x1 at 224 x 224 on the photos beside the repository, or on those of the demo."""
    rounds, count = (2, 32) if quick else (6, 96)
    with tempfile.TemporaryDirectory() as name:
        setup = prepare(Path(name), count)
        rates, runs = measure_rates(setup, rounds)
        rows = [
            *_comparisons(rates),
            *_utilisation(rates, runs),
            *_saved_models(rates),
            *_queries(setup, rounds),
        ]
        notes = _notes(setup)
        for worker in setup.workers:
            worker.communicate()
    location = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"BiT R50x1 with random weights at {SIZE_PX} x {SIZE_PX}, float32, {count} photos of {location}, "
        f"from the bytes of a JPEG file to a vector in the cache; medians of {rounds} rounds."
    )
    return Section("Embedding", about, rows, notes)


def prepare(folder: Path, count: int) -> Setup:
    """Write the weights in both formats and load the models."""
    arrays = random_arrays(R50, base=64)
    native = PreloadedSource.preload(resolve_model(str(write_npz(folder / "r50x1.npz", arrays))))
    save_hub_module(folder / "module", arrays, named=False)
    source = open_source(PHOTOS if PHOTOS.is_dir() else DEMO / "catalogue.csv", limit=count)
    pictures = [source.read(row) for row in range(len(source))]
    return Setup(
        arrays,
        native,
        PreloadedSource.preload(resolve_model("efficientnet-lite2")),
        source,
        pictures,
        folder,
        [],
    )


def measure_rates(setup: Setup, rounds: int) -> tuple[Rates, list[EmbeddingRun]]:
    """Return the pictures per second of each candidate by round, and the runs of the pipeline."""
    runs: list[EmbeddingRun] = []
    optional = {
        "Vitrine": lambda: _pipeline(setup, setup.native, runs),
        "notebook": _notebook(setup),
        "timm": _timm(setup),
        "matmul": _matmul(),
        "lite": lambda: _pipeline(setup, setup.lite, []),
        **_saved_model_candidates(setup),
    }
    candidates: dict[str, Callable[[], float]] = {k: v for k, v in optional.items() if v is not None}
    for embed_all in candidates.values():  # warm-up
        embed_all()
    runs.clear()
    rates: Rates = defaultdict(list)
    for _ in range(rounds):
        for name, embed_all in candidates.items():
            start_s = time.perf_counter()
            pictures = embed_all()
            rates[name].append(pictures / (time.perf_counter() - start_s))
    return rates, runs


def _pipeline(setup: Setup, model: PreloadedSource, runs: list[EmbeddingRun]) -> float:
    with tempfile.TemporaryDirectory(dir=setup.folder) as folder, EmbeddingCache(folder) as cache:
        run = embed_source(setup.source, model, cache, options=EmbeddingOptions(batch_size=8))
    runs.append(run)
    return run.embedded


def _notebook(setup: Setup) -> Callable[[], float]:
    """Return the notebook's loop: PIL, resize, / 255, and one call of the module per picture."""
    tf = import_tensorflow()
    module = hub_module(setup.arrays)
    paths = [setup.source.resolve_image(row) for row in range(min(12, len(setup.source)))]

    def loop() -> float:
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize((SIZE_PX, SIZE_PX)), np.float32) / 255
            module(tf.constant(pixels[np.newaxis])).numpy()
        return len(paths)

    return loop


def _timm(setup: Setup) -> Callable[[], float] | None:
    """Return a loop of timm's network over the same files, batch 16, channels_last; None without timm."""
    if importlib.util.find_spec("timm") is None:
        return None
    weights = setup.folder / "r50x1.npz"
    pictures = [setup.source.resolve_image(row) for row in range(16)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.timm_worker", str(weights), *pictures],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    requests, answers = worker.stdin, worker.stdout
    answers.readline()

    def loop() -> float:
        for _ in range(2):
            requests.write("\n")
            requests.flush()
            answers.readline()
        return 32

    setup.workers.append(worker)
    return loop


def _matmul() -> Callable[[], float]:
    """Return a loop of float32 matrix products by TensorFlow on all cores. Its rate is in GFLOP/s."""
    tf = import_tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        left = tf.compat.v1.placeholder(tf.float32, [MATRIX_SIZE, MATRIX_SIZE])
        product = tf.reduce_sum(tf.matmul(left, tf.constant(np.ones((MATRIX_SIZE, MATRIX_SIZE), np.float32))))
    config = tf.compat.v1.ConfigProto(use_per_session_threads=True)
    call = tf.compat.v1.Session(graph=graph, config=config).make_callable(product, [left])
    matrix = np.ones((MATRIX_SIZE, MATRIX_SIZE), np.float32)

    def loop() -> float:
        for _ in range(20):
            call(matrix)
        return 20 * 2 * MATRIX_SIZE**3 / 1e9

    return loop


def _saved_model_candidates(setup: Setup) -> dict[str, Callable[[], float]]:
    tf = import_tensorflow()
    unchanged = tf.saved_model.load(str(setup.folder / "module"))
    frozen = resolve_model(str(setup.folder / "module")).load()
    pixels = _pixels(setup, 0, 16)
    floats = tf.constant(pixels.astype(np.float32) / 255)
    return {
        "SavedModel": lambda: len(unchanged(floats).numpy()),
        "frozen": lambda: len(frozen.embed(pixels)),
        "native": lambda: len(setup.native.model.embed(pixels)),
    }


def _pixels(setup: Setup, first: int, count: int) -> Any:
    from vitrine.indexer.pictures.preprocessing import Preprocessing

    spec = Preprocessing.parse(setup.native.preprocessing)
    return np.stack([spec.to_pixels(data)[0] for data in setup.pictures[first : first + count]])


def _comparisons(rates: Rates) -> list[Row]:
    rate = statistics.median(rates["Vitrine"])
    rows = [Row("R50x1, files to vectors", f"{rate:.1f} pictures/s")]
    speedup = _ratio(rates, "Vitrine", "notebook")
    notebook_rate = statistics.median(rates["notebook"])
    rows.append(
        Row(
            "against the notebook's loop",
            f"{speedup:.2f} times its {notebook_rate:.1f}/s",
            "at least 3",
            speedup >= 3,
        )
    )
    if "timm" in rates:
        speedup = _ratio(rates, "Vitrine", "timm")
        value = f"{speedup:.2f} times its {statistics.median(rates['timm']):.1f}/s"
        rows.append(
            Row("against timm, PyTorch, channels_last, batch 16", value, "at least 1.3", speedup >= 1.3)
        )
    else:
        rows.append(Row("against timm, PyTorch", "timm is not installed here", "at least 1.3"))
    return [
        *rows,
        Row("efficientnet-lite2 at 260 x 260", f"{statistics.median(rates['lite']):.1f} pictures/s"),
    ]


def _utilisation(rates: Rates, runs: Sequence[EmbeddingRun]) -> list[Row]:
    share = _ratio(rates, "Vitrine", "matmul") * GFLOP_PER_PICTURE
    idle_share = statistics.median(run.net_wait_share for run in runs)
    peak = statistics.median(rates["matmul"])
    return [
        Row(f"share of the matmul peak ({peak:.0f} GFLOP/s)", f"{share:.0%}", "at least 70 %", share >= 0.7),
        Row(
            "time in which the network waits for pictures",
            f"{idle_share:.1%}",
            "under 3 %",
            idle_share < 0.03,
        ),
    ]


def _saved_models(rates: Rates) -> list[Row]:
    """Return the speedups of a SavedModel by frozen variables and by the native BiT network."""
    before = statistics.median(rates["SavedModel"])
    return [
        Row(
            f"a SavedModel, {method}, batch 16",
            f"{_ratio(rates, name, 'SavedModel'):.2f} times its {before:.1f}/s unchanged",
        )
        for name, method in (("frozen", "frozen variables"), ("native", "native BiT network"))
    ]


def _queries(setup: Setup, rounds: int) -> list[Row]:
    """Compare photo queries, alone and concurrent, with forward passes alone."""
    model = setup.native.model
    record = ModelRecord(
        setup.native.name,
        setup.native.handle,
        setup.native.digest,
        setup.native.preprocessing,
        model.dimension,
    )
    embedder = BatchingEmbedder()
    embedder.warm(record)
    photos = setup.pictures[: 2 * CALLERS]
    pixels = _pixels(setup, 0, 1)
    batch_pixels = _pixels(setup, 0, CALLERS)
    overheads: list[float] = []
    gains: list[float] = []
    bounds: list[float] = []
    with ThreadPoolExecutor(CALLERS) as pool:
        embed = _embed_function(embedder, record)
        list(pool.map(embed, photos))
        for _ in range(rounds):
            # Alternately, so that other load affects both equally.
            pairs = [(_duration_s(model.embed, pixels), _duration_s(embed, photo)) for photo in photos]
            pass_s = statistics.median(pass_s for pass_s, _ in pairs)
            overheads.append(statistics.median(query_s for _, query_s in pairs) / pass_s)
            concurrent_s = _duration_s(lambda: list(pool.map(embed, photos)))
            gains.append(sum(query_s for _, query_s in pairs) / concurrent_s)
            bounds.append(CALLERS * pass_s / _duration_s(model.embed, batch_pixels))
    embedder.close()
    overhead, gain, bound = map(statistics.median, (overheads, gains, bounds))
    return [
        Row(
            "a single photo query, against a forward pass",
            f"{overhead:.2f} times",
            "at most 1.15",
            overhead <= 1.15,
        ),
        Row(
            f"{CALLERS} concurrent photo queries, throughput",
            f"{gain:.2f} times",
            "at least 1.3",
            gain >= 1.3,
        ),
        Row(f"upper bound: a forward pass of {CALLERS} photos", f"{bound:.2f} times {CALLERS} single passes"),
    ]


def _embed_function(embedder: BatchingEmbedder, record: ModelRecord) -> Callable[[bytes], Any]:
    return lambda data: embedder.embed(data, record)


def _duration_s(work: Callable[..., Any], *arguments: Any) -> float:
    start_s = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start_s


def _ratio(rates: Rates, one: str, other: str) -> float:
    """Return the median over the rounds of the ratio of two rates."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def _notes(setup: Setup) -> list[str]:
    """Return the explanations, with the share of each operation in the time of a batch."""
    shares = profile(setup.native.model._network, _pixels(setup, 0, 16))
    operations = ", ".join(f"{name} {share:.0%}" for name, share in shares[:7])
    return [
        "the notebook's loop is its code with a module that has the operations of the SavedModel on TF Hub",
        f"shares of operations in the time of a batch of 16: {operations}",
        "the convolutions alone run at the speed of a matrix product and bound every ratio; the rest is "
        "group normalisation, which is limited by memory bandwidth",
    ]


def profile(network: FrozenNetwork, pixels: Any) -> list[tuple[str, float]]:
    """Return each operation type with its share of the time of one batch, largest first."""
    v1 = import_tensorflow().compat.v1
    graph = network._session.graph
    placeholder = next(op for op in graph.get_operations() if op.type == "Placeholder").outputs[0]
    vectors = graph.get_operations()[-1].outputs[0]
    trace = v1.RunMetadata()
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    network._session.run(vectors, {placeholder: pixels}, options=options, run_metadata=trace)
    spent_us: dict[str, float] = defaultdict(float)
    for device in trace.step_stats.dev_stats:
        for node in device.node_stats:
            operation = node.timeline_label.partition(" = ")[2].partition("(")[0].removeprefix("_MklNative")
            spent_us[operation or node.node_name] += node.op_end_rel_micros - node.op_start_rel_micros
    total = sum(spent_us.values())
    return sorted(
        ((operation, time_us / total) for operation, time_us in spent_us.items()), key=lambda item: -item[1]
    )
