"""Weights of a BiT network under their official names, read from official or timm files.

Official checkpoints (.npz of google-research/big_transfer) name a kernel
`resnet/block1/unit01/a/standardized_conv2d/kernel`, (H, W, I, O); timm names the same array
`stages.0.blocks.0.conv1.weight`, (O, I, H, W).
Shapes: H W kernel size, I O channels in and out, C channels.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models.tensors import Tensors, read_tensors

BLOCKS = 4
_GROUPS = 32
_FINAL_NORM = re.compile(r"(resnet/group_norm/gamma|norm\.weight)$")
_HEAD = re.compile(r"(resnet/)?head\b")
_TIMM_UNIT = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.(conv|norm)([123])\.(weight|bias)")
_TIMM_PROJECTION = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.downsample\.conv\.weight")
_TIMM_NORM = {"weight": "gamma", "bias": "beta"}
_OFFICIAL_UNIT = re.compile(r"resnet/block(\d+)/unit(\d+)/")


class BitWeights:
    """The weights of one network. units: number of units of each of the four blocks."""

    def __init__(self, tensors: Tensors) -> None:
        """tensors: by official name. Raises ModelUnavailable if they are not a complete BiT."""
        self._tensors = {name: tensors[name].astype(np.float32, copy=False) for name in tensors}
        self.units = _count_units(self._tensors)
        self._check()

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(array.nbytes for array in self._tensors.values())

    @property
    def dimension(self) -> int:
        """D, the number of channels of the last group norm."""
        return int(self._tensors["resnet/group_norm/gamma"].shape[0])

    def has_convolution(self, name: str) -> bool:
        """Return True if there is a convolution of this name, such as 'block1/unit01/a/proj'."""
        return f"resnet/{name}/standardized_conv2d/kernel" in self._tensors

    def kernel(self, name: str) -> FloatArray:
        """Return the kernel (H, W, I, O) of a convolution, not standardised."""
        return self._tensors[f"resnet/{name}/standardized_conv2d/kernel"]

    def norm(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return gamma and beta, (C,) each, of the group norm before a convolution; '' is the last norm."""
        prefix = f"resnet/{name}/group_norm" if name else "resnet/group_norm"
        return self._tensors[f"{prefix}/gamma"], self._tensors[f"{prefix}/beta"]

    def _check(self) -> None:
        """Check the shapes of all arrays, following the channels through the network."""
        channels = self._check_kernel("root_block", 7, 3)
        for block, units in enumerate(self.units, start=1):
            for unit in range(1, units + 1):
                name = f"block{block}/unit{unit:02d}"
                self._check_norm(f"{name}/a", channels)
                middle = self._check_kernel(f"{name}/a", 1, channels)
                self._check_norm(f"{name}/b", middle)
                self._check_norm(f"{name}/c", self._check_kernel(f"{name}/b", 3, middle))
                out = self._check_kernel(f"{name}/c", 1, middle)
                shortcut = self._check_kernel(f"{name}/a/proj", 1, channels) if unit == 1 else channels
                if shortcut != out:
                    raise ModelUnavailable(f"{name} maps {shortcut} channels to {out}: not a BiT")
                channels = out
        self._check_norm("", channels)

    def _check_kernel(self, name: str, size: int, channels: int) -> int:
        full_name = f"resnet/{name}/standardized_conv2d/kernel"
        kernel = self._tensors.get(full_name)
        if kernel is None:
            raise ModelUnavailable(f"the array {full_name} is missing: not a BiT")
        if kernel.ndim != 4 or kernel.shape[:3] != (size, size, channels):
            raise ModelUnavailable(
                f"{full_name} has shape {kernel.shape}, not ({size}, {size}, {channels}, …): not a BiT"
            )
        return int(kernel.shape[3])

    def _check_norm(self, name: str, channels: int) -> None:
        prefix = f"resnet/{name}/group_norm" if name else "resnet/group_norm"
        for part in ("gamma", "beta"):
            array = self._tensors.get(f"{prefix}/{part}")
            if array is None or array.shape != (channels,) or channels % _GROUPS:
                raise ModelUnavailable(f"{prefix}/{part} is missing or not of shape ({channels},): not a BiT")


def read_weights(path: Path) -> BitWeights:
    """Read a `.npz`, `.safetensors` or `.pth` file, without its classification head.

    Raises ModelUnavailable if it cannot be read or is not a BiT.
    """
    tensors = read_tensors(path, keep=lambda name: not _HEAD.match(name))
    official = dict(filter(None, (_to_official(name, array) for name, array in tensors.items())))
    try:
        return BitWeights(official)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{path}: {error}") from None


def read_dimension(path: Path) -> int:
    """Return D without reading the whole file. Raises ModelUnavailable as read_weights does."""
    tensors = read_tensors(path, keep=lambda name: _FINAL_NORM.match(name) is not None)
    if not tensors:
        raise ModelUnavailable(
            f"{path}: neither resnet/group_norm/gamma (official) nor norm.weight (timm) is in it: not a BiT"
        )
    return int(next(iter(tensors.values())).shape[0])


def _to_official(name: str, array: NDArray[np.float32]) -> tuple[str, NDArray[np.float32]] | None:
    """Return the official name of an array, and the array in official axis order; None if BiT has none."""
    if name.startswith("resnet/"):
        return name, array
    if name == "stem.conv.weight":
        return "resnet/root_block/standardized_conv2d/kernel", _to_hwio(array)
    if name in ("norm.weight", "norm.bias"):
        return f"resnet/group_norm/{_TIMM_NORM[name.removeprefix('norm.')]}", array
    if match := _TIMM_PROJECTION.fullmatch(name):
        unit = _unit_name(match[1], match[2])
        return f"{unit}/a/proj/standardized_conv2d/kernel", _to_hwio(array)
    if match := _TIMM_UNIT.fullmatch(name):
        unit = f"{_unit_name(match[1], match[2])}/{'abc'[int(match[4]) - 1]}"
        if match[3] == "norm":
            return f"{unit}/group_norm/{_TIMM_NORM[match[5]]}", array
        return f"{unit}/standardized_conv2d/kernel", _to_hwio(array)
    return None


def _unit_name(stage: str, block: str) -> str:
    return f"resnet/block{int(stage) + 1}/unit{int(block) + 1:02d}"


def _to_hwio(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))


def _count_units(tensors: Tensors) -> tuple[int, ...]:
    """Return the number of units of each block, such as (3, 4, 6, 3)."""
    units = [0] * BLOCKS
    for name in tensors:
        if match := _OFFICIAL_UNIT.match(name):
            block = int(match[1])
            if not 1 <= block <= BLOCKS:
                raise ModelUnavailable(f"{name} belongs to block {block} of {BLOCKS}: not a BiT")
            units[block - 1] = max(units[block - 1], int(match[2]))
    if not all(units):
        raise ModelUnavailable("not all of the four blocks have units: not a BiT")
    return tuple(units)
