"""Readers of weight files, `.npz`, `.safetensors` and PyTorch's `.pth`, into NumPy arrays.

Independent of networks and frameworks. A `.pth` file is a pickle, which can run any code. The unpickler below
accepts only tensors, ordered dictionaries and numbers, and rejects every other name.
"""

import collections
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.errors import ModelUnavailable

Tensors = dict[str, NDArray[Any]]
NameFilter = Callable[[str], bool]

WEIGHT_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".bin")

_TORCH_DTYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_SAFETENSORS_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# Format of torch.save before 1.6 (torch/serialization.py): magic, protocol, system, objects, storage keys.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SAFETENSORS_MAX_HEADER_BYTES = 100_000_000


def read_tensors(path: Path, *, keep: NameFilter = lambda _: True) -> Tensors:
    """Return the arrays of a weight file by name. The format is given by the suffix.

    keep: returns True for the names of arrays to return; the others are not held in memory.
    Raises ModelUnavailable if the format is unknown, or the file is truncated or holds more than tensors.
    """
    suffix = path.suffix.lower()
    if suffix not in WEIGHT_SUFFIXES:
        raise ModelUnavailable(f"{path}: not a weight file ({', '.join(WEIGHT_SUFFIXES)})")
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    try:
        return readers.get(suffix, _read_torch)(path, keep)
    except FileNotFoundError as error:
        raise ModelUnavailable(f"{path}: no such weight file") from error
    except Exception as error:  # unpickling untrusted bytes can raise any exception
        reason = str(error) or type(error).__name__
        raise ModelUnavailable(f"{path}: not a readable weight file ({reason}); fetch it again") from error


def _read_npz(path: Path, keep: NameFilter) -> Tensors:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if keep(name)}


def _read_safetensors(path: Path, keep: NameFilter) -> Tensors:
    """Read the safetensors format: u64 header length, JSON header, raw little-endian data."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(_read_exactly(file, 8), "little")
        if header_bytes > _SAFETENSORS_MAX_HEADER_BYTES:
            raise ValueError("the header is larger than the format allows")
        header: Mapping[str, Any] = json.loads(_read_exactly(file, header_bytes))
        tensors: Tensors = {}
        for name, entry in header.items():
            if name == "__metadata__" or not keep(name):
                continue
            start, end = entry["data_offsets"]
            file.seek(8 + header_bytes + start)
            data = _as_dtype(_read_exactly(file, end - start), entry["dtype"])
            tensors[name] = data.reshape(entry["shape"])
    return tensors


def _as_dtype(data: bytes, dtype: str) -> NDArray[Any]:
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        widened: NDArray[Any] = np.left_shift(np.frombuffer(data, np.uint16).astype(np.uint32), 16)
        return widened.view(np.float32)
    return np.frombuffer(data, _SAFETENSORS_DTYPES[dtype])


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("the file is truncated")
    return data


class _TensorView(NamedTuple):
    """A tensor as a strided view of a storage that is read later. offset, strides: in elements."""

    key: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_array(self, storages: Mapping[str, bytes]) -> NDArray[Any]:
        data = np.frombuffer(storages[self.key], self.dtype)
        extent = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        if self.offset < 0 or min(self.strides, default=0) < 0 or self.offset + extent > data.size:
            raise ValueError("a tensor exceeds its storage")
        steps = tuple(stride * self.dtype.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, steps).copy()


class _Storage(NamedTuple):
    """A storage of a PyTorch file. elements: its length."""

    key: str
    dtype: np.dtype[Any]
    elements: int


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that creates only tensors and containers of tensors."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _rebuild_tensor if name == "_rebuild_tensor_v2" else _rebuild_parameter
        if module == "torch" and name in _TORCH_DTYPES:
            return name
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, and only tensors are allowed")

    def persistent_load(self, pid: Any) -> _Storage:
        record_type, dtype, key, _device, elements = pid[:5]
        if record_type != "storage" or dtype not in _TORCH_DTYPES:
            raise pickle.UnpicklingError(f"it refers to {record_type!r}, and only tensors are allowed")
        return self.storages.setdefault(str(key), _Storage(str(key), _TORCH_DTYPES[dtype], int(elements)))


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _TensorView:
    return _TensorView(storage.key, storage.dtype, int(offset), tuple(shape), tuple(strides))


def _rebuild_parameter(view: _TensorView, *_: Any) -> _TensorView:
    return view


def _read_torch(path: Path, keep: NameFilter) -> Tensors:
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _read_torch_zip(path, keep)
        file.seek(0)
        return _read_torch_legacy(file, keep)


def _read_torch_zip(path: Path, keep: NameFilter) -> Tensors:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError("a zip file without a PyTorch state dict")
        prefix = pickles[0].removesuffix("data.pkl")
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(pickles[0])))
        views = _state_views(unpickler.load(), keep)
        keys = {view.key for view in views.values()}
        storages = {key: archive.read(f"{prefix}data/{key}") for key in keys}
    return {name: view.to_array(storages) for name, view in views.items()}


def _read_torch_legacy(file: BinaryIO, keep: NameFilter) -> Tensors:
    if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("not a PyTorch file")
    for _ in range(2):  # protocol version, then type sizes of the writing system
        _TensorUnpickler(file).load()
    unpickler = _TensorUnpickler(file)
    views = _state_views(unpickler.load(), keep)
    keys = {view.key for view in views.values()}
    storages: dict[str, bytes] = {}
    for key in _TensorUnpickler(file).load():
        storage = unpickler.storages[str(key)]
        if int.from_bytes(_read_exactly(file, 8), "little") != storage.elements:
            raise ValueError("the recorded length of a storage is wrong")
        data = _read_exactly(file, storage.elements * storage.dtype.itemsize)
        if storage.key in keys:
            storages[storage.key] = data
    return {name: view.to_array(storages) for name, view in views.items()}


def _state_views(state: Any, keep: NameFilter) -> dict[str, _TensorView]:
    """Return the tensors to keep of a state dict, or of the `state_dict` entry of a training checkpoint."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise pickle.UnpicklingError("no dictionary of tensors is in it")
    return {name: view for name, view in state.items() if isinstance(view, _TensorView) and keep(name)}
