"""BiT network, the ResNet-v2 of Big Transfer, built natively as a TensorFlow graph for speed.

Kolesnikov et al., arXiv:1912.11370; the reference is google-research/big_transfer, bit_tf2/models.py.
Common mistakes of a port: the max-pool of the root is "valid" over explicit zero padding (activations below
zero must lose to the border), the stride is in the 3x3 convolution, the projection shortcut of a unit takes
the activated input, and both epsilons are small.
Shapes: B pictures, H W pixels, I O channels in and out, G groups, D dimension.
"""

from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.models.bit_weights import BitWeights, read_dimension, read_weights
from vitrine.indexer.models.model import ModelSource, build_preprocessing, compute_weights_digest
from vitrine.indexer.models.runtime import FrozenNetwork, Threads, ToTensor, freeze, import_tensorflow

IMAGE_SIZE_PX = 224
# Input range of the TF Hub interface. `build_graph` maps it to the network's own range, [-1, 1].
VALUE_RANGE = (0.0, 1.0)
GROUPS = 32
GROUP_NORM_EPSILON = 1e-5
STANDARDIZE_EPSILON = 1e-10


def describe_file(path: Path, name: str, handle: str, reason: str, image_size_px: int | None) -> ModelSource:
    """Return the model source of a BiT weight file. Raises ModelUnavailable if the file is not one."""
    dimension = read_dimension(path)
    spec = build_preprocessing(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)
    return ModelSource(name, handle, "bit", path, compute_weights_digest(path), spec, dimension, reason)


def load_network(source: ModelSource, threads: Threads | None = None) -> FrozenNetwork:
    """Load the network of a weight file. Raises ModelUnavailable if it does not hold a complete BiT."""
    return freeze_weights(read_weights(source.path), source.size_px, threads)


def freeze_weights(weights: BitWeights, size_px: tuple[int, int], threads: Threads | None) -> FrozenNetwork:
    """Build the network with these weights for pictures of size (H, W)."""
    return freeze(
        lambda images, to_tensor: build_graph(images, weights, to_tensor),
        size_px,
        VALUE_RANGE,
        weight_bytes=weights.nbytes,
        threads=threads,
    )


def build_graph(images: Any, weights: BitWeights, to_tensor: ToTensor) -> Any:
    """Add the network to TensorFlow's current graph and return its (B, D) features, all >= 0.

    images: (B, H, W, 3) float32 in [0, 1]. to_tensor: converts an array to a tensor.
    """
    layers = _Layers(weights, to_tensor)
    x = layers.root(images * 2.0 - 1.0)
    for block, units in enumerate(weights.units, start=1):
        for unit in range(1, units + 1):
            x = layers.unit(x, f"block{block}/unit{unit:02d}", stride=2 if block > 1 and unit == 1 else 1)
    return layers.features(x)


def standardize(kernel: FloatArray) -> FloatArray:
    """Scale a kernel (H, W, I, O) to mean 0 and variance 1 in each output channel (arXiv:1903.10520)."""
    exact = kernel.astype(np.float64)
    mean = exact.mean(axis=(0, 1, 2))
    deviation = np.sqrt(exact.var(axis=(0, 1, 2)) + STANDARDIZE_EPSILON)
    standard: FloatArray = ((exact - mean) / deviation).astype(np.float32)
    return standard


class _Layers:
    """The layers of BiT. Names are those of the official checkpoints."""

    def __init__(self, weights: BitWeights, to_tensor: ToTensor) -> None:
        self._tf = import_tensorflow()
        self._weights = weights
        self._to_tensor = to_tensor

    def root(self, x: Any) -> Any:
        x = self._convolve(x, "root_block", stride=2)
        x = self._pad(x, 1)
        return self._tf.nn.max_pool2d(x, 3, 2, "VALID")

    def unit(self, x: Any, name: str, stride: int) -> Any:
        shortcut = x
        y = self._norm_relu(x, f"{name}/a")
        if self._weights.has_convolution(f"{name}/a/proj"):
            shortcut = self._convolve(y, f"{name}/a/proj", stride=stride)
        y = self._convolve(y, f"{name}/a")
        y = self._convolve(self._norm_relu(y, f"{name}/b"), f"{name}/b", stride=stride)
        y = self._convolve(self._norm_relu(y, f"{name}/c"), f"{name}/c")
        return shortcut + y

    def features(self, x: Any) -> Any:
        return self._tf.reduce_mean(self._norm_relu(x, ""), axis=[1, 2])

    def _convolve(self, x: Any, name: str, *, stride: int = 1) -> Any:
        kernel = standardize(self._weights.kernel(name))
        if stride == 1:
            return self._tf.nn.conv2d(x, self._to_tensor(kernel), 1, "SAME")
        # For a strided convolution "SAME" pads on one side only; BiT pads on both sides.
        return self._tf.nn.conv2d(
            self._pad(x, kernel.shape[0] // 2), self._to_tensor(kernel), stride, "VALID"
        )

    def _pad(self, x: Any, border: int) -> Any:
        edges = [border, border]
        return self._tf.pad(x, [[0, 0], edges, edges, [0, 0]]) if border else x

    def _norm_relu(self, x: Any, name: str) -> Any:
        """Apply group normalisation and ReLU with one scale and one shift per channel (arXiv:1803.08494).

        The variance is computed around the mean: E[x²] - E[x]² loses precision on pictures of low contrast.
        """
        tf = self._tf
        gamma, beta = self._weights.norm(name)
        channels = int(gamma.shape[0])
        by_group = [-1, GROUPS, channels // GROUPS]
        per_channel = [-1, 1, 1, channels]
        count = float(x.shape[1] * x.shape[2] * channels // GROUPS)

        def group_mean(values: Any) -> Any:
            sums = tf.reshape(tf.reduce_sum(values, axis=[1, 2]), by_group)
            return tf.reduce_sum(sums, axis=2, keepdims=True) / count

        mean = group_mean(x)
        expand = np.ones((GROUPS, channels // GROUPS), np.float32)
        squares = tf.math.squared_difference(x, tf.reshape(mean * expand, per_channel))
        inverse = tf.math.rsqrt(group_mean(squares) + GROUP_NORM_EPSILON)
        scale = inverse * gamma.reshape(GROUPS, -1)
        shift = beta.reshape(GROUPS, -1) - mean * scale
        return tf.nn.relu(x * tf.reshape(scale, per_channel) + tf.reshape(shift, per_channel))
