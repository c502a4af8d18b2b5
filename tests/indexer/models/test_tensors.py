"""Tests of vitrine.indexer.models.tensors: files of PyTorch, damaged files, and files that contain code."""

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.indexer.models.record_torch_files import FOLDER, expected
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models.tensors import read_tensors


@pytest.mark.parametrize(
    "name", ["torch_zip.pth", "torch_legacy.pth", "torch_checkpoint.pth", "torch.safetensors"]
)
def test_files_of_pytorch_are_read_exactly(name: str) -> None:
    tensors = read_tensors(FOLDER / name)
    for key, array in expected().items():
        assert tensors[key].dtype == array.dtype
        np.testing.assert_array_equal(tensors[key], array)


def test_bfloat16_is_read_as_float32() -> None:
    brain = read_tensors(FOLDER / "torch.safetensors")["brain"]
    assert brain.dtype == np.float32
    np.testing.assert_allclose(brain, expected()["plain"], rtol=2**-8)


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "torch.safetensors"])
def test_only_arrays_with_a_kept_name_are_returned(name: str) -> None:
    assert list(read_tensors(FOLDER / name, keep=lambda name: name == "half")) == ["half"]


def test_an_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    assert list(read_tensors(tmp_path / "a.npz", keep=lambda name: name == "x")) == ["x"]


class MaliciousObject:
    """An object whose unpickling creates a file."""

    def __init__(self, created: Path) -> None:
        self._created = created

    def __reduce__(self) -> Any:
        return Path.touch, (self._created,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_rejected_and_not_run(tmp_path: Path, zipped: bool) -> None:
    created = tmp_path / "created"
    path = tmp_path / "weights.pth"
    data = pickle.dumps({"weight": MaliciousObject(created)}, protocol=2)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
    else:
        magic, protocol = 0x1950A86A20F9469CFC6C, 1001
        path.write_bytes(b"".join([pickle.dumps(magic, 2), pickle.dumps(protocol, 2), data]))
    with pytest.raises(ModelUnavailable, match="only tensors are allowed"):
        read_tensors(path)
    assert not created.exists()


def test_an_object_array_in_an_npz_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([MaliciousObject(tmp_path / "created")], dtype=object))
    with pytest.raises(ModelUnavailable, match="allow_pickle"):
        read_tensors(tmp_path / "a.npz")
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "torch.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_a_truncated_file_is_an_error(tmp_path: Path, name: str, share: float) -> None:
    data = (FOLDER / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelUnavailable, match=rf"{name}: not a readable weight file"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "not a weight file"),
        ("a.npz", b"no zip", "not a readable weight file"),
        ("a.pth", pickle.dumps(7, 2), "not a PyTorch file"),
        ("a.safetensors", b"\xff" * 8, "larger than the format allows"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0[]", "not a readable weight file"),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=message):
        read_tensors(tmp_path / name)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no such weight file"):
        read_tensors(tmp_path / "a.npz")


def test_a_zip_without_a_state_dict_is_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ModelUnavailable, match="a zip file without a PyTorch state"):
        read_tensors(tmp_path / "a.pth")


def test_a_pickle_without_a_state_dict_is_rejected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps([1, 2], 2))
    with pytest.raises(ModelUnavailable, match="no dictionary of tensors"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("offsets", [[0, 2000], [4, 6], [-8, 4]])
def test_safetensors_offsets_outside_the_file_are_rejected(tmp_path: Path, offsets: list[int]) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": offsets}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ModelUnavailable, match="not a readable weight file"):
        read_tensors(tmp_path / "a.safetensors")
