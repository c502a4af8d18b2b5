"""Weight files: those PyTorch wrote read back exactly, those that would run a program are refused."""

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
def test_what_pytorch_wrote_is_read_exactly(name: str) -> None:
    tensors = read_tensors(FOLDER / name)
    for key, array in expected().items():
        assert tensors[key].dtype == array.dtype
        np.testing.assert_array_equal(tensors[key], array)


def test_bfloat16_is_read_as_float32() -> None:
    brain = read_tensors(FOLDER / "torch.safetensors")["brain"]
    assert brain.dtype == np.float32
    np.testing.assert_allclose(brain, expected()["plain"], rtol=2**-8)


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "torch.safetensors"])
def test_only_what_is_wanted_is_kept(name: str) -> None:
    assert list(read_tensors(FOLDER / name, keep=lambda name: name == "half")) == ["half"]


def test_an_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    assert list(read_tensors(tmp_path / "a.npz", keep=lambda name: name == "x")) == ["x"]


class Mischief:
    """What a hostile weight file would hold: a call of its author's choice."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self._mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "weights.pth"
    data = pickle.dumps({"weight": Mischief(mark)}, protocol=2)
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
    else:
        magic, protocol = 0x1950A86A20F9469CFC6C, 1001
        path.write_bytes(b"".join([pickle.dumps(magic, 2), pickle.dumps(protocol, 2), data]))
    with pytest.raises(ModelUnavailable, match="only tensors are admitted"):
        read_tensors(path)
    assert not mark.exists()


def test_an_object_array_in_an_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([Mischief(tmp_path / "ran")], dtype=object))
    with pytest.raises(ModelUnavailable, match="allow_pickle"):
        read_tensors(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "torch.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_a_file_cut_short_is_named(tmp_path: Path, name: str, share: float) -> None:
    data = (FOLDER / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelUnavailable, match=rf"{name}: not a readable weight file"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"", "weights are read from"),
        ("a.npz", b"no zip", "not a readable weight file"),
        ("a.pth", pickle.dumps(7, 2), "not a PyTorch file"),
        ("a.safetensors", b"\xff" * 8, "larger than the format allows"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0[]", "not a readable weight file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelUnavailable, match=complaint):
        read_tensors(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="there is no such weight file"):
        read_tensors(tmp_path / "a.npz")


def test_a_zip_without_a_state_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ModelUnavailable, match="a zip file without a PyTorch state"):
        read_tensors(tmp_path / "a.pth")


def test_a_pickle_that_is_no_state_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps([1, 2], 2))
    with pytest.raises(ModelUnavailable, match="no dictionary of tensors"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("span", [[0, 2000], [4, 6], [-8, 4]])
def test_safetensors_that_point_outside_their_bytes_are_refused(tmp_path: Path, span: list[int]) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": span}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ModelUnavailable, match="not a readable weight file"):
        read_tensors(tmp_path / "a.safetensors")
