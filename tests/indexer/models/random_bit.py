"""BiT networks with random weights, as official `.npz` arrays, as timm's state dict and as a SavedModel.

The SavedModel is written after the reference code with every operation in the graph, kernels
standardised at every call, as in those of TF Hub. It shares no code with the native network that it tests.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]

R50 = (3, 4, 6, 3)
TINY = (1, 2, 1, 1)


def random_arrays(units: tuple[int, ...] = TINY, *, base: int = 32, seed: int = 0) -> Arrays:
    """Create the arrays of a BiT without its head. base: channels of the root, 64 for R50x1."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}

    def kernel(name: str, *shape: int) -> None:
        # A non-zero mean and a small scale, so that missing standardisation changes the result.
        values = 0.01 + 0.02 * rng.standard_normal(shape, dtype=np.float32)
        arrays[f"resnet/{name}/standardized_conv2d/kernel"] = values

    def norm(name: str, channels: int) -> None:
        gamma = 1 + 0.2 * rng.standard_normal(channels, dtype=np.float32)
        arrays[f"resnet/{name}group_norm/gamma"] = gamma
        arrays[f"resnet/{name}group_norm/beta"] = 0.2 * rng.standard_normal(channels, dtype=np.float32)

    kernel("root_block", 7, 7, 3, base)
    channels = base
    for block, count in enumerate(units):
        middle, out = base << block, 4 * base << block
        for unit in range(count):
            name = f"block{block + 1}/unit{unit + 1:02d}"
            norm(f"{name}/a/", channels)
            kernel(f"{name}/a", 1, 1, channels, middle)
            norm(f"{name}/b/", middle)
            kernel(f"{name}/b", 3, 3, middle, middle)
            norm(f"{name}/c/", middle)
            kernel(f"{name}/c", 1, 1, middle, out)
            if unit == 0:
                kernel(f"{name}/a/proj", 1, 1, channels, out)
            channels = out
    norm("", channels)
    return arrays


def write_npz(path: Path, arrays: Arrays) -> Path:
    """Write a file in the official layout."""
    np.savez(path, allow_pickle=False, **arrays)
    return path


def timm_state(arrays: Arrays) -> Arrays:
    """Return the arrays under the names and with the axes of timm's ResNetV2."""
    state: Arrays = {}
    for name, array in arrays.items():
        parts = name.removeprefix("resnet/").split("/")
        if parts[0] == "root_block":
            state["stem.conv.weight"] = _oihw(array)
        elif parts[0] == "group_norm":
            state[f"norm.{_weight(parts[-1])}"] = array
        else:
            prefix = f"stages.{int(parts[0][5:]) - 1}.blocks.{int(parts[1][4:]) - 1}"
            number = "abc".index(parts[2]) + 1
            if parts[3] == "proj":
                state[f"{prefix}.downsample.conv.weight"] = _oihw(array)
            elif parts[3] == "group_norm":
                state[f"{prefix}.norm{number}.{_weight(parts[-1])}"] = array
            else:
                state[f"{prefix}.conv{number}.weight"] = _oihw(array)
    return state


def _weight(part: str) -> str:
    return {"gamma": "weight", "beta": "bias"}[part]


def _oihw(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def pictures(height: int, width: int, count: int = 2, seed: int = 7) -> NDArray[np.uint8]:
    """Create (count, H, W, 3) pictures with large shapes. The last one has almost no contrast.

    Its activations are so small that the epsilons of the norms affect the result.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = rng.uniform(0.01, 0.12, (count, 3, 2))
    planes = [[np.sin(a * y + b * x + n) for n, (a, b) in enumerate(channels)] for channels in waves]
    images = 127.5 + 90 * np.stack(planes).transpose(0, 2, 3, 1)
    images += rng.normal(0, 20, images.shape)
    images[-1] = 127 + rng.integers(0, 2, images.shape[1:])
    return np.clip(images, 0, 255).astype(np.uint8)


def save_hub_module(folder: Path, arrays: Arrays, *, named: bool = True) -> Path:
    """Save a SavedModel of TF Hub's interface: float32 in [0, 1], (B, H, W, 3) → (B, D), not unit length.

    named: whether the variables have the official names.
    """
    from vitrine.indexer.models.runtime import import_tensorflow

    tf = import_tensorflow()
    tf.saved_model.save(hub_module(arrays, named=named), str(folder))
    return folder


def hub_module(arrays: Arrays, *, named: bool = True) -> Any:
    """Return the module that `save_hub_module` saves. The notebook calls it directly."""
    from vitrine.indexer.models.runtime import import_tensorflow

    tf = import_tensorflow()
    kernel_suffix = "/standardized_conv2d/kernel"

    images = tf.TensorSpec([None, None, None, 3], tf.float32)

    class HubModule(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.values = {
                name: tf.Variable(array, name=name if named else "x") for name, array in arrays.items()
            }

        @tf.function(input_signature=[images])  # type: ignore[untyped-decorator]
        def __call__(self, images: Any) -> Any:
            x = self.conv(tf.pad(images * 2 - 1, _border(3)), "resnet/root_block", 2)
            x = tf.nn.max_pool2d(tf.pad(x, _border(1)), 3, 2, "VALID")
            units = sorted({"/".join(name.split("/")[:3]) for name in arrays if "/unit" in name})
            for unit in units:
                stride = 2 if unit.endswith("unit01") and "block1" not in unit else 1
                activated = self.norm(x, f"{unit}/a")
                projected = f"{unit}/a/proj{kernel_suffix}" in arrays
                shortcut = self.conv(activated, f"{unit}/a/proj", stride) if projected else x
                y = self.conv(activated, f"{unit}/a", 1)
                y = self.conv(tf.pad(self.norm(y, f"{unit}/b"), _border(1)), f"{unit}/b", stride)
                x = shortcut + self.conv(self.norm(y, f"{unit}/c"), f"{unit}/c", 1)
            return tf.reduce_mean(self.norm(x, "resnet"), [1, 2])

        def conv(self, x: Any, name: str, stride: int) -> Any:
            kernel = self.values[name + kernel_suffix]
            mean, variance = tf.nn.moments(kernel, [0, 1, 2])
            return tf.nn.conv2d(x, (kernel - mean) / tf.sqrt(variance + 1e-10), stride, "VALID")

        def norm(self, x: Any, name: str) -> Any:
            shape = tf.shape(x)
            grouped = tf.reshape(x, [shape[0], shape[1], shape[2], 32, x.shape[-1] // 32])
            mean, variance = tf.nn.moments(grouped, [1, 2, 4], keepdims=True)
            x = tf.reshape((grouped - mean) / tf.sqrt(variance + 1e-5), shape)
            gamma, beta = self.values[f"{name}/group_norm/gamma"], self.values[f"{name}/group_norm/beta"]
            return tf.nn.relu(x * gamma + beta)

    return HubModule()


def _border(size: int) -> list[list[int]]:
    return [[0, 0], [size, size], [size, size], [0, 0]]
