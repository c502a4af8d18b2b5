"""TensorFlow runtime: quiet import, device, threads, and frozen graphs that embed pictures.

The only module that starts TensorFlow. Each network runs in its own session with its own threads, so that
loading one does not change the settings of the process: the service may be part of another application.
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

from vitrine.indexer.arrays import FloatArray, Pixels

# Converts an array of weights to a tensor of the current graph.
ToTensor = Callable[[FloatArray], Any]

# A graph is one protocol buffer, which is limited to 2 GiB. R152x4 has 3.7 GiB of weights.
MAX_GRAPH_BYTES = 1_800_000_000

# Messages that TensorFlow writes to stderr at every start, for any TF_CPP_MIN_LOG_LEVEL. None is an error.
_STARTUP_MESSAGE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:\d\d|"
    rb"To enable the following instructions:|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.\d+: [IWE] )"
)
_import_lock = threading.Lock()


def import_tensorflow() -> Any:
    """Import and return TensorFlow without its start-up messages on stderr. Takes seconds the first time.

    Other output to stderr during the import is written after it.
    """
    with _import_lock:
        if "tensorflow" in sys.modules:
            return sys.modules["tensorflow"]
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _filtered_stderr():
            import tensorflow as tf

            tf.config.list_physical_devices()
        return tf


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Buffer the stderr of the process, at the file descriptor, and drop TensorFlow's start-up messages."""
    sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # started without a stderr
        yield
        return
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            buffer.seek(0)
            for line in buffer:
                if not _STARTUP_MESSAGE.match(line):
                    os.write(original, line)
            os.close(original)


@dataclass(frozen=True)
class Threads:
    """Threads of a network. intra: within one operation, 0 for all cores. inter: concurrent operations."""

    intra: int = 0
    inter: int = 1


def find_device() -> str:
    """Return 'GPU <name>' of the first GPU that TensorFlow can use, else 'CPU'."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU {details.get('device_name', gpus[0].name)}"


class FrozenNetwork:
    """A network frozen to one graph, from uint8 pictures to unit vectors. Thread-safe.

    pooling: how a feature map was reduced to a vector outside the network itself, "" for none.
    """

    pooling = ""

    def __init__(self, graph: Any, pixels: Any, vectors: Any, *, threads: Threads | None = None) -> None:
        """graph: tf.Graph with the tensors `pixels`, (B, H, W, 3) uint8, and `vectors`, (B, D) float32."""
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
        self._out_of_memory: type[Exception] = tf.errors.ResourceExhaustedError
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._run: Callable[[Pixels], FloatArray] = self._session.make_callable(vectors, [pixels])

    def embed(self, pixels: Pixels) -> FloatArray:
        """Return the (B, D) unit vectors of (B, H, W, 3) pictures.

        A batch that does not fit into the memory of the device is split in half and computed in two steps.
        """
        try:
            return self._run(pixels)
        except self._out_of_memory:
            half = len(pixels) // 2
            if not half:
                raise
        return np.concatenate([self.embed(pixels[:half]), self.embed(pixels[half:])])

    def initialize_variables(self, initializers: Iterable[tuple[Any, Any, FloatArray]]) -> None:
        """Run each initializer, with the placeholder of its value set to the array."""
        for initializer, placeholder, array in initializers:
            self._session.run(initializer, {placeholder: array})

    def close(self) -> None:
        """Free the network's memory and threads, and return the memory to the operating system."""
        self._session.close()
        with contextlib.suppress(OSError, AttributeError):  # without glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def freeze(
    build: Callable[[Any, ToTensor], Any],
    size_px: tuple[int, int],
    value_range: tuple[float, float],
    *,
    weight_bytes: int = 0,
    threads: Threads | None = None,
) -> FrozenNetwork:
    """Build a network whose graph converts uint8 pixels to unit vectors.

    build: adds the network to the current graph; (B, H, W, 3) float32 in value_range → (B, D).
    size_px: (H, W). The value range is applied in the graph, so that its input is uint8.
    weight_bytes: size of all weights; from MAX_GRAPH_BYTES they are variables instead of constants.
    """
    tf = import_tensorflow()
    low, high = value_range
    variables = _WeightVariables(tf) if weight_bytes > MAX_GRAPH_BYTES else None
    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.compat.v1.placeholder(tf.uint8, [None, *size_px, 3])
        images = tf.cast(pixels, tf.float32) * ((high - low) / 255.0) + low
        features = tf.cast(build(images, variables.add if variables else tf.constant), tf.float32)
        vectors = tf.math.l2_normalize(features, axis=-1, epsilon=1e-24)
    network = FrozenNetwork(graph, pixels, vectors, threads=threads)
    if variables:
        network.initialize_variables(variables.initializers)
    return network


class _WeightVariables:
    """Weights too large for constants of a graph, as variables that are initialized once."""

    def __init__(self, tf: Any) -> None:
        self._tf = tf
        self.initializers: list[tuple[Any, Any, FloatArray]] = []

    def add(self, array: FloatArray) -> Any:
        v1 = self._tf.compat.v1
        placeholder = v1.placeholder(self._tf.float32, array.shape)
        variable = v1.Variable(placeholder, trainable=False, use_resource=True)
        self.initializers.append((variable.initializer, placeholder, array))
        return variable.read_value()


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, as limited by containers or taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
