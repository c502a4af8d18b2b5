"""The only module that starts TensorFlow: quiet import, device, threads, and frozen graphs that embed.

A network runs in a session of its own, with its own threads, so that loading one changes nothing
in the process around it (the service may live inside somebody else's application).
Shapes: B pictures, H W pixels, D dimension.
"""

import contextlib
import ctypes
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.arrays import FloatArray

UInt8Array = NDArray[np.uint8]
# Makes a tensor of an array of weights, in the current graph.
Hold = Callable[[FloatArray], Any]

# A graph is one protocol buffer, and those end at 2 GiB. R152x4 weighs 3.7.
MAX_GRAPH_BYTES = 1_800_000_000

# TensorFlow says these on stderr at every start, whatever TF_CPP_MIN_LOG_LEVEL is; none is a fault.
_START_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:\d\d|"
    rb"To enable the following instructions:|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.\d+: [IWE] )"
)
_import_lock = threading.Lock()


def import_tensorflow() -> Any:
    """Import TensorFlow and return it, without its start-up chatter on stderr. Takes seconds the first time.

    What anything else writes to stderr meanwhile is kept and written after it.
    """
    with _import_lock:
        if "tensorflow" in sys.modules:
            return sys.modules["tensorflow"]
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _held_stderr():
            import tensorflow as tf

            tf.config.list_physical_devices()
        return tf


@contextmanager
def _held_stderr() -> Iterator[None]:
    """Hold back the process's stderr, file descriptor and all, and drop only the known chatter from it."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # started without a stderr
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held:
                if not _START_CHATTER.match(line):
                    os.write(real, line)
            os.close(real)


@dataclass(frozen=True)
class Threads:
    """Threads of a network: `intra` inside an operation (0: all cores), `inter` operations side by side."""

    intra: int = 0
    inter: int = 1


def find_device() -> str:
    """Return 'CPU', or 'GPU <name>' where TensorFlow sees one."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU {details.get('device_name', gpus[0].name)}"


class FrozenNet:
    """A network frozen into one graph of constants: uint8 pictures in, unit vectors out. Thread-safe."""

    def __init__(self, graph: Any, pixels: Any, vectors: Any, *, threads: Threads | None = None) -> None:
        """graph: the tf.Graph that holds `pixels`, (B, H, W, 3) uint8, and `vectors`, (B, D) float32."""
        tf = import_tensorflow()
        threads = threads or Threads()
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads.intra or available_cores(),
            inter_op_parallelism_threads=threads.inter,
            use_per_session_threads=True,
            allow_soft_placement=True,
        )
        config.gpu_options.allow_growth = True
        self.shape: tuple[int, int, int] = tuple(pixels.shape[1:])
        self.dimension = int(vectors.shape[-1])
        self._exhausted: type[Exception] = tf.errors.ResourceExhaustedError
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._call: Callable[[UInt8Array], FloatArray] = self._session.make_callable(vectors, [pixels])

    def embed(self, pixels: UInt8Array) -> FloatArray:
        """Return the (B, D) unit vectors of (B, H, W, 3) pictures.

        A batch that does not fit into the device's memory is computed in halves.
        """
        try:
            return self._call(pixels)
        except self._exhausted:
            half = len(pixels) // 2
            if not half:
                raise
        return np.concatenate([self.embed(pixels[:half]), self.embed(pixels[half:])])

    def fill(self, fillings: Iterable[tuple[Any, Any, FloatArray]]) -> None:
        """Run each initializer with its array."""
        for initializer, source, array in fillings:
            self._session.run(initializer, {source: array})

    def close(self) -> None:
        """Give the network's memory and threads back, to the system too: what comes next may need it."""
        self._session.close()
        with contextlib.suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def freeze(
    draw: Callable[[Any, Hold], Any],
    size_px: tuple[int, int],
    value_range: tuple[float, float],
    *,
    weight_bytes: int = 0,
    threads: Threads | None = None,
) -> FrozenNet:
    """Build a network whose graph starts at uint8 pixels and ends at unit vectors.

    draw: adds the network to the current graph; (B, H, W, 3) float32 in value_range → (B, D).
    size_px: (H, W). The value range is applied in the graph, so that pictures travel as bytes.
    weight_bytes: what the weights add up to; more than a graph may weigh are held beside it.
    """
    tf = import_tensorflow()
    low, high = value_range
    beside = _Beside(tf) if weight_bytes > MAX_GRAPH_BYTES else None
    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.compat.v1.placeholder(tf.uint8, [None, *size_px, 3])
        images = tf.cast(pixels, tf.float32) * ((high - low) / 255.0) + low
        features = tf.cast(draw(images, beside.hold if beside else tf.constant), tf.float32)
        vectors = tf.math.l2_normalize(features, axis=-1, epsilon=1e-24)
    net = FrozenNet(graph, pixels, vectors, threads=threads)
    if beside:
        net.fill(beside.fillings)
    return net


class _Beside:
    """Weights too heavy for a graph, as variables that are filled once."""

    def __init__(self, tf: Any) -> None:
        self._tf = tf
        self.fillings: list[tuple[Any, Any, FloatArray]] = []

    def hold(self, array: FloatArray) -> Any:
        v1 = self._tf.compat.v1
        source = v1.placeholder(self._tf.float32, array.shape)
        variable = v1.Variable(source, trainable=False, use_resource=True)
        self.fillings.append((variable.initializer, source, array))
        return variable.read_value()


def available_cores() -> int:
    """Return how many cores this process may use (containers and taskset limit them)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
