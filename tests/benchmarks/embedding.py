"""Embedding: from picture files to vectors with a full-size BiT, against the notebook's loop and PyTorch.

Weights are random: they compute as long as real ones. Contestants take turns, and ratios are medians over
the turns, so that what else the machine does falls on all alike.
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
from vitrine.indexer.models import Model, ModelSource, resolve
from vitrine.indexer.models.runtime import FrozenNet, Threads, import_tensorflow
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.indexer.source.source import Source, open_source
from vitrine.service.pictures.batching import BatchingEmbedder

PHOTOS = CLOTHING
SIZE_PX = 224
# Multiply-adds of R50x1 at 224 x 224, times two.
GFLOP_A_PICTURE = 8.6
MATMUL = 2048
CALLERS = 8
Rates = dict[str, list[float]]


class Loaded(ModelSource):
    """A model source that is loaded already, so that a run measures embedding and not loading."""

    model: Model

    @classmethod
    def of(cls, source: ModelSource) -> Loaded:
        fields = [getattr(source, name) for name in ModelSource.__dataclass_fields__]
        loaded = cls(*fields)
        object.__setattr__(loaded, "model", source.load())
        return loaded

    def load(self, *, threads: Threads | None = None) -> Any:
        """Return the one model, which a run may close without effect."""
        model = self.model

        class Kept:
            name, dimension, device = model.name, model.dimension, model.device
            embed = staticmethod(model.embed)
            close = staticmethod(lambda: None)

        return Kept()


@dataclass(frozen=True)
class Contest:
    """What is measured on."""

    arrays: Arrays
    native: Loaded
    lite: Loaded
    source: Source
    pictures: Sequence[bytes]
    folder: Path
    workers: list[subprocess.Popen[str]]


def run(quick: bool) -> Section:
    """Measure with R50x1 at 224 x 224 on real photos where they lie beside the repo, else on the demo's."""
    turns, count = (2, 32) if quick else (6, 96)
    with tempfile.TemporaryDirectory() as name:
        contest = prepare(Path(name), count)
        rates, runs = take_turns(contest, turns)
        rows = [*_against(rates), *_share(rates, runs), *_saved_models(rates), *_queries(contest, turns)]
        notes = _notes(contest)
        for worker in contest.workers:
            worker.communicate()
    where = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"BiT R50x1 with random weights at {SIZE_PX} x {SIZE_PX}, float32, {count} photos of {where}, from "
        f"the bytes of a JPEG file to a vector in the cache; medians of {turns} turns."
    )
    return Section("Embedding", about, rows, notes)


def prepare(folder: Path, count: int) -> Contest:
    """Write the weights in both forms and load what takes part."""
    arrays = random_arrays(R50, base=64)
    native = Loaded.of(resolve(str(write_npz(folder / "r50x1.npz", arrays))))
    save_hub_module(folder / "module", arrays, named=False)
    source = open_source(PHOTOS if PHOTOS.is_dir() else DEMO / "catalogue.csv", limit=count)
    pictures = [source.read(row) for row in range(len(source))]
    return Contest(arrays, native, Loaded.of(resolve("efficientnet-lite2")), source, pictures, folder, [])


def take_turns(contest: Contest, turns: int) -> tuple[Rates, list[EmbeddingRun]]:
    """Return pictures a second of every contestant by turn, and what the pipeline said of itself."""
    runs: list[EmbeddingRun] = []
    contestants = {
        "Vitrine": lambda: _pipeline(contest, contest.native, runs),
        "notebook": _notebook(contest),
        "timm": _timm(contest),
        "matmul": _matmul(),
        "lite": lambda: _pipeline(contest, contest.lite, []),
        **_saved_model_contestants(contest),
    }
    taking_part: dict[str, Callable[[], float]] = {k: v for k, v in contestants.items() if v is not None}
    for contestant in taking_part.values():
        contestant()
    runs.clear()
    rates: Rates = defaultdict(list)
    for _ in range(turns):
        for name, contestant in taking_part.items():
            begin = time.perf_counter()
            done = contestant()
            rates[name].append(done / (time.perf_counter() - begin))
    return rates, runs


def _pipeline(contest: Contest, model: Loaded, runs: list[EmbeddingRun]) -> float:
    with tempfile.TemporaryDirectory(dir=contest.folder) as folder, EmbeddingCache(folder) as cache:
        run = embed_source(contest.source, model, cache, options=EmbeddingOptions(batch_size=8))
    runs.append(run)
    return run.embedded


def _notebook(contest: Contest) -> Callable[[], float]:
    """Return the notebook's loop: PIL, squash, / 255, and one call of the module a picture."""
    tf = import_tensorflow()
    module = hub_module(contest.arrays)
    paths = [contest.source.resolve_image(row) for row in range(min(12, len(contest.source)))]

    def loop() -> float:
        for path in paths:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize((SIZE_PX, SIZE_PX)), np.float32) / 255
            module(tf.constant(pixels[np.newaxis])).numpy()
        return len(paths)

    return loop


def _timm(contest: Contest) -> Callable[[], float] | None:
    """Return timm's network on the same files in batches of 16, channels_last; None without timm."""
    if importlib.util.find_spec("timm") is None:
        return None
    weights = contest.folder / "r50x1.npz"
    pictures = [contest.source.resolve_image(row) for row in range(16)]
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.timm_worker", str(weights), *pictures],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    ask, answer = worker.stdin, worker.stdout
    answer.readline()

    def loop() -> float:
        for _ in range(2):
            ask.write("\n")
            ask.flush()
            answer.readline()
        return 32

    contest.workers.append(worker)
    return loop


def _matmul() -> Callable[[], float]:
    """Return a float32 matrix product by TensorFlow on all cores; its rate is in GFLOP/s."""
    tf = import_tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        left = tf.compat.v1.placeholder(tf.float32, [MATMUL, MATMUL])
        product = tf.reduce_sum(tf.matmul(left, tf.constant(np.ones((MATMUL, MATMUL), np.float32))))
    config = tf.compat.v1.ConfigProto(use_per_session_threads=True)
    call = tf.compat.v1.Session(graph=graph, config=config).make_callable(product, [left])
    matrix = np.ones((MATMUL, MATMUL), np.float32)

    def loop() -> float:
        for _ in range(20):
            call(matrix)
        return 20 * 2 * MATMUL**3 / 1e9

    return loop


def _saved_model_contestants(contest: Contest) -> dict[str, Callable[[], float]]:
    tf = import_tensorflow()
    as_is = tf.saved_model.load(str(contest.folder / "module"))
    frozen = resolve(str(contest.folder / "module")).load()
    pixels = _pixels(contest, 0, 16)
    floats = tf.constant(pixels.astype(np.float32) / 255)
    return {
        "SavedModel": lambda: len(as_is(floats).numpy()),
        "frozen": lambda: len(frozen.embed(pixels)),
        "native": lambda: len(contest.native.model.embed(pixels)),
    }


def _pixels(contest: Contest, first: int, count: int) -> Any:
    from vitrine.indexer.pictures.preprocessing import Preprocessing

    spec = Preprocessing.parse(contest.native.preprocessing)
    return np.stack([spec.to_pixels(data)[0] for data in contest.pictures[first : first + count]])


def _against(rates: Rates) -> list[Row]:
    rate = statistics.median(rates["Vitrine"])
    rows = [Row("R50x1, files to vectors", f"{rate:.1f} pictures/s")]
    times = _ratio(rates, "Vitrine", "notebook")
    own = statistics.median(rates["notebook"])
    rows.append(
        Row("against the notebook's loop", f"{times:.2f} times its {own:.1f}/s", "at least 3", times >= 3)
    )
    if "timm" in rates:
        times = _ratio(rates, "Vitrine", "timm")
        value = f"{times:.2f} times its {statistics.median(rates['timm']):.1f}/s"
        rows.append(
            Row("against timm, PyTorch, channels_last, batch 16", value, "at least 1.3", times >= 1.3)
        )
    else:
        rows.append(Row("against timm, PyTorch", "timm is not installed here", "at least 1.3"))
    return [
        *rows,
        Row("efficientnet-lite2 at 260 x 260", f"{statistics.median(rates['lite']):.1f} pictures/s"),
    ]


def _share(rates: Rates, runs: Sequence[EmbeddingRun]) -> list[Row]:
    share = _ratio(rates, "Vitrine", "matmul") * GFLOP_A_PICTURE
    waits = statistics.median(run.net_wait_share for run in runs)
    peak = statistics.median(rates["matmul"])
    return [
        Row(f"share of the matmul peak ({peak:.0f} GFLOP/s)", f"{share:.0%}", "at least 70 %", share >= 0.7),
        Row("time the net waits for pictures", f"{waits:.1%}", "under 3 %", waits < 0.03),
    ]


def _saved_models(rates: Rates) -> list[Row]:
    """Return what freezing does to any SavedModel, and drawing natively to one that holds a BiT."""
    before = statistics.median(rates["SavedModel"])
    return [
        Row(
            f"a SavedModel, {what}, batch 16",
            f"{_ratio(rates, name, 'SavedModel'):.2f} times its {before:.1f}/s as it is",
        )
        for name, what in (("frozen", "variables frozen"), ("native", "recognised as BiT and drawn natively"))
    ]


def _queries(contest: Contest, turns: int) -> list[Row]:
    """Return what the way from a photo's bytes to its vector adds to a bare forward pass."""
    model = contest.native.model
    record = ModelRecord(
        contest.native.name,
        contest.native.handle,
        contest.native.digest,
        contest.native.preprocessing,
        model.dimension,
    )
    embedder = BatchingEmbedder()
    embedder.warm(record)
    photos = contest.pictures[: 2 * CALLERS]
    pixels = _pixels(contest, 0, 1)
    many = _pixels(contest, 0, CALLERS)
    alone: list[float] = []
    gains: list[float] = []
    bounds: list[float] = []
    with ThreadPoolExecutor(CALLERS) as pool:
        ask = _asker(embedder, record)
        list(pool.map(ask, photos))
        for _ in range(turns):
            pairs = [(_seconds(model.embed, pixels), _seconds(ask, photo)) for photo in photos]
            alone.append(statistics.median(q for _, q in pairs) / statistics.median(f for f, _ in pairs))
            together = _seconds(lambda: list(pool.map(ask, photos)))
            gains.append(sum(query for _, query in pairs) / together)
            bare = statistics.median(alone for alone, _ in pairs)
            bounds.append(CALLERS * bare / _seconds(model.embed, many))
    embedder.close()
    latency, gain, bound = map(statistics.median, (alone, gains, bounds))
    return [
        Row(
            "photo query alone, against a bare pass", f"{latency:.2f} times", "at most 1.15", latency <= 1.15
        ),
        Row(
            f"{CALLERS} concurrent photo queries, throughput",
            f"{gain:.2f} times",
            "at least 1.3",
            gain >= 1.3,
        ),
        Row(
            f"a bare pass of {CALLERS} photos, which bounds that", f"{bound:.2f} times {CALLERS} bare passes"
        ),
    ]


def _asker(embedder: BatchingEmbedder, record: ModelRecord) -> Callable[[bytes], Any]:
    return lambda data: embedder.embed(data, record)


def _seconds(work: Callable[..., Any], *given: Any) -> float:
    begin = time.perf_counter()
    work(*given)
    return time.perf_counter() - begin


def _ratio(rates: Rates, one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def _notes(contest: Contest) -> list[str]:
    """Say where the time of one batch goes, operation by operation."""
    shares = profile(contest.native.model._net, _pixels(contest, 0, 16))
    listed = ", ".join(f"{name} {share:.0%}" for name, share in shares[:7])
    return [
        "the notebook's loop is its code on a SavedModel-like module with the Hub's operations",
        f"where a batch of 16 spends its time: {listed}",
        "the convolutions alone run at the speed of a matrix product, so they bound every ratio; the rest is "
        "group normalisation, which is limited by memory, not by arithmetic",
    ]


def profile(net: FrozenNet, pixels: Any) -> list[tuple[str, float]]:
    """Return each kind of operation with its share of the time of one batch, largest first."""
    v1 = import_tensorflow().compat.v1
    graph = net._session.graph
    placeholder = next(op for op in graph.get_operations() if op.type == "Placeholder").outputs[0]
    vectors = graph.get_operations()[-1].outputs[0]
    traced = v1.RunMetadata()
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    net._session.run(vectors, {placeholder: pixels}, options=options, run_metadata=traced)
    spent: dict[str, float] = defaultdict(float)
    for device in traced.step_stats.dev_stats:
        for node in device.node_stats:
            kind = node.timeline_label.partition(" = ")[2].partition("(")[0].removeprefix("_MklNative")
            spent[kind or node.node_name] += node.op_end_rel_micros - node.op_start_rel_micros
    total = sum(spent.values())
    return sorted(((kind, micros / total) for kind, micros in spent.items()), key=lambda item: -item[1])
