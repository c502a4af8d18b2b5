"""The arrays of one BiT by the official names, whichever of the two worlds the file comes from.

Official checkpoints (.npz of google-research/big_transfer) name a kernel
`resnet/block1/unit01/a/standardized_conv2d/kernel`, (H, W, I, O); timm names the same array
`stages.0.blocks.0.conv1.weight`, (O, I, H, W). Knows no network.
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
    """The arrays of one network. units: how many units each of its four blocks has."""

    def __init__(self, tensors: Tensors) -> None:
        """tensors: by official name. Raises ModelUnavailable when they are not the whole of a BiT."""
        self._tensors = {name: tensors[name].astype(np.float32, copy=False) for name in tensors}
        self.units = _count_units(self._tensors)
        self._check()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self._tensors.values())

    @property
    def dimension(self) -> int:
        """D, the width of the last group norm."""
        return int(self._tensors["resnet/group_norm/gamma"].shape[0])

    def has(self, name: str) -> bool:
        """Say whether there is a convolution of that name, such as 'block1/unit01/a/proj'."""
        return f"resnet/{name}/standardized_conv2d/kernel" in self._tensors

    def kernel(self, name: str) -> FloatArray:
        """Return the raw kernel (H, W, I, O) of a convolution."""
        return self._tensors[f"resnet/{name}/standardized_conv2d/kernel"]

    def norm(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return gamma and beta, (C,) each, of the group norm before a convolution; '' names the last one."""
        prefix = f"resnet/{name}/group_norm" if name else "resnet/group_norm"
        return self._tensors[f"{prefix}/gamma"], self._tensors[f"{prefix}/beta"]

    def _check(self) -> None:
        """Follow the channels through the network: a file of another net must not get as far as a graph."""
        channels = self._check_kernel("root_block", 7, 3)
        for block, units in enumerate(self.units, start=1):
            for unit in range(1, units + 1):
                name = f"block{block}/unit{unit:02d}"
                self._check_norm(f"{name}/a", channels)
                middle = self._check_kernel(f"{name}/a", 1, channels)
                self._check_norm(f"{name}/b", middle)
                self._check_norm(f"{name}/c", self._check_kernel(f"{name}/b", 3, middle))
                out = self._check_kernel(f"{name}/c", 1, middle)
                through = self._check_kernel(f"{name}/a/proj", 1, channels) if unit == 1 else channels
                if through != out:
                    raise ModelUnavailable(f"{name} turns {through} channels into {out}: not a BiT")
                channels = out
        self._check_norm("", channels)

    def _check_kernel(self, name: str, size: int, channels: int) -> int:
        full = f"resnet/{name}/standardized_conv2d/kernel"
        kernel = self._tensors.get(full)
        if kernel is None:
            raise ModelUnavailable(f"the array {full} is missing: not a BiT")
        if kernel.ndim != 4 or kernel.shape[:3] != (size, size, channels):
            raise ModelUnavailable(
                f"{full} is {kernel.shape}, not ({size}, {size}, {channels}, …): not a BiT"
            )
        return int(kernel.shape[3])

    def _check_norm(self, name: str, channels: int) -> None:
        prefix = f"resnet/{name}/group_norm" if name else "resnet/group_norm"
        for part in ("gamma", "beta"):
            array = self._tensors.get(f"{prefix}/{part}")
            if array is None or array.shape != (channels,) or channels % _GROUPS:
                raise ModelUnavailable(f"{prefix}/{part} is missing or not ({channels},): not a BiT")


def read_weights(path: Path) -> BitWeights:
    """Read a `.npz`, `.safetensors` or `.pth` file, without its classification head.

    Raises ModelUnavailable when it is unreadable or not a BiT.
    """
    tensors = read_tensors(path, keep=lambda name: not _HEAD.match(name))
    official = dict(filter(None, (_official(name, array) for name, array in tensors.items())))
    try:
        return BitWeights(official)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{path}: {error}") from None


def read_dimension(path: Path) -> int:
    """Return D, reading no more of the file than it takes. Raises ModelUnavailable as read_weights does."""
    tensors = read_tensors(path, keep=lambda name: _FINAL_NORM.match(name) is not None)
    if not tensors:
        raise ModelUnavailable(
            f"{path}: it has neither resnet/group_norm/gamma (official) nor norm.weight (timm): not a BiT"
        )
    return int(next(iter(tensors.values())).shape[0])


def _official(name: str, array: NDArray[np.float32]) -> tuple[str, NDArray[np.float32]] | None:
    """Return an array under its official name and in its official order; None for one that is not BiT's."""
    if name.startswith("resnet/"):
        return name, array
    if name == "stem.conv.weight":
        return "resnet/root_block/standardized_conv2d/kernel", _to_hwio(array)
    if name in ("norm.weight", "norm.bias"):
        return f"resnet/group_norm/{_TIMM_NORM[name.removeprefix('norm.')]}", array
    if found := _TIMM_PROJECTION.fullmatch(name):
        unit = _unit_name(found[1], found[2])
        return f"{unit}/a/proj/standardized_conv2d/kernel", _to_hwio(array)
    if found := _TIMM_UNIT.fullmatch(name):
        unit = f"{_unit_name(found[1], found[2])}/{'abc'[int(found[4]) - 1]}"
        if found[3] == "norm":
            return f"{unit}/group_norm/{_TIMM_NORM[found[5]]}", array
        return f"{unit}/standardized_conv2d/kernel", _to_hwio(array)
    return None


def _unit_name(stage: str, block: str) -> str:
    return f"resnet/block{int(stage) + 1}/unit{int(block) + 1:02d}"


def _to_hwio(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))


def _count_units(tensors: Tensors) -> tuple[int, ...]:
    """Return how many units each block has, such as (3, 4, 6, 3)."""
    units = [0] * BLOCKS
    for name in tensors:
        if found := _OFFICIAL_UNIT.match(name):
            block = int(found[1])
            if not 1 <= block <= BLOCKS:
                raise ModelUnavailable(f"{name} is of a {block}th block: not a BiT")
            units[block - 1] = max(units[block - 1], int(found[2]))
    if not all(units):
        raise ModelUnavailable("not every one of the four blocks has a unit: not a BiT")
    return tuple(units)
