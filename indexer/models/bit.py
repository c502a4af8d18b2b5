"""BiT, the ResNet-v2 of Big Transfer, drawn natively so that it runs at the speed of the machine.

Kolesnikov et al., arXiv:1912.11370; the reference is google-research/big_transfer, bit_tf2/models.py.
What a port gets wrong: the root's max-pool is "valid" over zeros padded explicitly (activations below
zero must lose to the border), the stride sits on the 3x3 convolution, the projection of a unit's shortcut
takes the activated input, and both epsilons are small.
Shapes: B pictures, H W pixels, I O channels in and out, G groups, D dimension.
"""

from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.models.bit_weights import BitWeights, read_dimension, read_weights
from vitrine.indexer.models.model import ModelSource, digest_weights, preprocessing_spec
from vitrine.indexer.models.runtime import FrozenNet, Hold, Threads, freeze, import_tensorflow

IMAGE_SIZE_PX = 224
# The interface of TF Hub. The network itself wants [-1, 1]: `draw` does the rest.
VALUE_RANGE = (0.0, 1.0)
GROUPS = 32
GROUP_NORM_EPSILON = 1e-5
STANDARDIZE_EPSILON = 1e-10


def describe_file(path: Path, name: str, handle: str, why: str, image_size_px: int | None) -> ModelSource:
    """Return the source of a weight file of BiT. Raises ModelUnavailable when it is not one."""
    dimension = read_dimension(path)
    spec = preprocessing_spec(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)
    return ModelSource(name, handle, "bit", path, digest_weights(path), spec, dimension, why)


def load_net(source: ModelSource, threads: Threads | None = None) -> FrozenNet:
    """Return the network of a weight file, ready to embed.

    Raises ModelUnavailable when the file does not hold a whole BiT.
    """
    return freeze_weights(read_weights(source.path), source.size_px, threads)


def freeze_weights(weights: BitWeights, size_px: tuple[int, int], threads: Threads | None) -> FrozenNet:
    """Return the network of these weights for pictures of one size (H, W)."""
    return freeze(
        lambda images, hold: draw(images, weights, hold),
        size_px,
        VALUE_RANGE,
        weight_bytes=weights.nbytes,
        threads=threads,
    )


def draw(images: Any, weights: BitWeights, hold: Hold) -> Any:
    """Draw the network into TensorFlow's current graph and return its (B, D) features, all >= 0.

    images: (B, H, W, 3) float32 in [0, 1]. hold: makes a tensor of an array.
    """
    net = _Drawing(weights, hold)
    x = net.root(images * 2.0 - 1.0)
    for block, units in enumerate(weights.units, start=1):
        for unit in range(1, units + 1):
            x = net.unit(x, f"block{block}/unit{unit:02d}", stride=2 if block > 1 and unit == 1 else 1)
    return net.features(x)


def standardize(kernel: FloatArray) -> FloatArray:
    """Return a kernel (H, W, I, O) with mean 0 and variance 1 in each output channel (arXiv:1903.10520)."""
    exact = kernel.astype(np.float64)
    mean = exact.mean(axis=(0, 1, 2))
    deviation = np.sqrt(exact.var(axis=(0, 1, 2)) + STANDARDIZE_EPSILON)
    standard: FloatArray = ((exact - mean) / deviation).astype(np.float32)
    return standard


class _Drawing:
    """The layers of BiT by the names of the official checkpoints."""

    def __init__(self, weights: BitWeights, hold: Hold) -> None:
        self._tf = import_tensorflow()
        self._weights = weights
        self._hold = hold

    def root(self, x: Any) -> Any:
        x = self._convolve(x, "root_block", stride=2)
        x = self._pad(x, 1)
        return self._tf.nn.max_pool2d(x, 3, 2, "VALID")

    def unit(self, x: Any, name: str, stride: int) -> Any:
        shortcut = x
        y = self._norm_relu(x, f"{name}/a")
        if self._weights.has(f"{name}/a/proj"):
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
            return self._tf.nn.conv2d(x, self._hold(kernel), 1, "SAME")
        # "SAME" would pad a strided convolution on one side only; BiT pads on both.
        return self._tf.nn.conv2d(self._pad(x, kernel.shape[0] // 2), self._hold(kernel), stride, "VALID")

    def _pad(self, x: Any, border: int) -> Any:
        edges = [border, border]
        return self._tf.pad(x, [[0, 0], edges, edges, [0, 0]]) if border else x

    def _norm_relu(self, x: Any, name: str) -> Any:
        """Group normalisation and ReLU as one scale and one shift a channel (arXiv:1803.08494).

        The variance is taken around the mean: E[x²] - E[x]² loses its digits on flat pictures.
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
        spread = np.ones((GROUPS, channels // GROUPS), np.float32)
        squares = tf.math.squared_difference(x, tf.reshape(mean * spread, per_channel))
        inverse = tf.math.rsqrt(group_mean(squares) + GROUP_NORM_EPSILON)
        scale = inverse * gamma.reshape(GROUPS, -1)
        shift = beta.reshape(GROUPS, -1) - mean * scale
        return tf.nn.relu(x * tf.reshape(scale, per_channel) + tf.reshape(shift, per_channel))
