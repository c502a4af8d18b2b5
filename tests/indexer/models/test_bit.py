"""Tests of vitrine.indexer.models.bit, bit_weights and saved_model: parity with timm and common mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.indexer.models.comparison import SAME, distance
from tests.indexer.models.random_bit import (
    Arrays,
    hub_module,
    pictures,
    random_arrays,
    save_hub_module,
    timm_state,
    write_npz,
)
from tests.indexer.models.record_bit_golden import CASES, GOLDEN, timm_features
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models import bit, resolve_model, runtime
from vitrine.indexer.models.bit_weights import BitWeights, read_weights

TINY_SIZES = CASES["tiny"][2]


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as recorded:
        return dict(recorded)


@pytest.fixture(scope="module")
def tiny() -> Arrays:
    return random_arrays()


@pytest.fixture
def embed() -> Callable[..., NDArray[np.float32]]:
    """Return a function that embeds the test pictures of a size with the native network of given arrays."""

    def run(arrays: Arrays, size: tuple[int, int]) -> NDArray[np.float32]:
        weights = BitWeights(arrays)
        network = runtime.freeze(
            lambda x, to_tensor: bit.build_graph(x, weights, to_tensor), size, bit.VALUE_RANGE
        )
        try:
            return network.embed(pictures(*size))
        finally:
            network.close()

    return run


def test_the_golden_pictures_have_different_features(golden: dict[str, NDArray[np.float32]]) -> None:
    for features in golden.values():
        assert distance(features[:1], features[1:]) > 100 * SAME


@pytest.mark.parametrize("size", TINY_SIZES)
def test_a_small_bit_equals_timm(embed: Any, tiny: Arrays, golden: Any, size: tuple[int, int]) -> None:
    assert distance(embed(tiny, size), golden[f"tiny/{size[0]}x{size[1]}"]) < SAME / 10


@pytest.mark.parametrize("size", CASES["r50x1"][2])
def test_r50x1_equals_timm(embed: Any, golden: Any, size: tuple[int, int]) -> None:
    units, base, _ = CASES["r50x1"]
    arrays = random_arrays(units, base=base)
    assert sum(array.size for array in arrays.values()) == 23_500_352
    assert distance(embed(arrays, size), golden[f"r50x1/{size[0]}x{size[1]}"]) < SAME / 10


@pytest.mark.parametrize("size", TINY_SIZES)
def test_a_small_bit_equals_the_installed_timm(embed: Any, size: tuple[int, int]) -> None:
    pytest.importorskip("timm", reason="timm is not installed; the recorded features are used instead")
    arrays = random_arrays(seed=3)
    units, base, _ = CASES["tiny"]
    expected = timm_features(arrays, units, base, pictures(*size))
    assert distance(embed(arrays, size), expected) < SAME / 10


def _pool_with_padding(self: Any, x: Any) -> Any:
    return self._tf.nn.max_pool2d(self._convolve(x, "root_block", stride=2), 3, 2, "SAME")


def _pad_the_pool_with_minus_infinity(self: Any, x: Any) -> Any:
    x = self._convolve(x, "root_block", stride=2)
    edges = [[0, 0], [1, 1], [1, 1], [0, 0]]
    return self._tf.nn.max_pool2d(self._tf.pad(x, edges, constant_values=-np.inf), 3, 2, "VALID")


def _unit(
    self: Any, x: Any, name: str, stride: int, *, project_input: bool = False, stride_first: bool = False
) -> Any:
    shortcut = x
    y = self._norm_relu(x, f"{name}/a")
    if self._weights.has_convolution(f"{name}/a/proj"):
        shortcut = self._convolve(x if project_input else y, f"{name}/a/proj", stride=stride)
    y = self._convolve(y, f"{name}/a", stride=stride if stride_first else 1)
    y = self._convolve(self._norm_relu(y, f"{name}/b"), f"{name}/b", stride=1 if stride_first else stride)
    return shortcut + self._convolve(self._norm_relu(y, f"{name}/c"), f"{name}/c")


def _project_the_raw_input(self: Any, x: Any, name: str, stride: int) -> Any:
    return _unit(self, x, name, stride, project_input=True)


def _stride_on_the_1x1(self: Any, x: Any, name: str, stride: int) -> Any:
    return _unit(self, x, name, stride, stride_first=True)


def _convolve_same(self: Any, x: Any, name: str, *, stride: int = 1) -> Any:
    kernel = bit.standardize(self._weights.kernel(name))
    return self._tf.nn.conv2d(x, self._to_tensor(kernel), stride, "SAME")


MISTAKES = {
    "pooling that pads": (bit._Layers, "root", _pool_with_padding),
    "pooling over minus infinity": (bit._Layers, "root", _pad_the_pool_with_minus_infinity),
    "stride on the 1x1": (bit._Layers, "unit", _stride_on_the_1x1),
    "projection of the raw input": (bit._Layers, "unit", _project_the_raw_input),
    "one-sided padding": (bit._Layers, "_convolve", _convolve_same),
    "a larger epsilon in the group norm": (bit, "GROUP_NORM_EPSILON", 1e-4),
    "a larger epsilon in the kernels": (bit, "STANDARDIZE_EPSILON", 1e-4),
    "kernels not standardised": (bit, "standardize", lambda kernel: kernel),
    "another number of groups": (bit, "GROUPS", 16),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_parity_detects(
    mistake: str, embed: Any, tiny: Arrays, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])
    worst = max(distance(embed(tiny, size), golden[f"tiny/{size[0]}x{size[1]}"]) for size in TINY_SIZES)
    assert worst > SAME


def test_parity_holds_for_the_unmodified_unit(
    embed: Any, tiny: Arrays, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bit._Layers, "unit", _unit)
    assert distance(embed(tiny, (64, 64)), golden["tiny/64x64"]) < SAME / 10


def test_all_file_formats_of_the_same_weights_give_the_same_vectors(tmp_path: Path, tiny: Arrays) -> None:
    npz = write_npz(tmp_path / "tiny.npz", tiny)
    tensors = write_safetensors(tmp_path / "tiny.safetensors", timm_state(tiny))
    module = save_hub_module(tmp_path / "hub", tiny)
    images = pictures(64, 64)
    vectors = []
    for path in (npz, tensors, module):
        source = resolve_model(str(path), image_size=64)
        assert source.preprocessing == "decode|resize(64,64)|value_range(0,1)"
        assert source.dimension in (1024, None)
        model = source.load()
        assert model.dimension == 1024
        vectors.append(model.embed(images))
        model.close()
    assert np.allclose(np.linalg.norm(vectors[0], axis=1), 1, atol=1e-6)
    assert (vectors[0] >= 0).all()
    assert distance(vectors[0], vectors[1]) < SAME / 10
    assert distance(vectors[0], vectors[2]) < SAME / 10
    raw = hub_module(tiny)(images.astype(np.float32) / 255).numpy()
    assert distance(vectors[2], raw) < SAME / 10


@pytest.mark.parametrize("named", [True, False])
def test_a_saved_model_with_the_variables_of_a_bit_uses_the_native_network(
    tmp_path: Path, tiny: Arrays, named: bool
) -> None:
    module = save_hub_module(tmp_path / "hub", tiny, named=named)
    model = resolve_model(str(module), image_size=64).load()
    operations = {operation.type for operation in model._network._session.graph.get_operations()}
    assert ("Sqrt" in operations) is not named  # the native network has Rsqrt only
    raw = hub_module(tiny)(pictures(64, 64).astype(np.float32) / 255).numpy()
    assert distance(model.embed(pictures(64, 64)), raw) < SAME / 10
    model.close()


def test_a_saved_model_with_bit_variables_but_other_vectors_is_not_replaced(
    tmp_path: Path, tiny: Arrays
) -> None:
    module = hub_module(tiny)
    tf = runtime.import_tensorflow()

    class Reversed(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def __call__(self, images: Any) -> Any:
            return tf.reverse(self.inner(images), [1])

    changed = Reversed()
    images = tf.TensorSpec([None, None, None, 3], tf.float32)
    changed.__call__ = tf.function(changed.__call__, input_signature=[images])  # type: ignore[method-assign]
    tf.saved_model.save(changed, str(tmp_path / "hub"))
    model = resolve_model(str(tmp_path / "hub"), image_size=64).load()
    raw = module(pictures(64, 64).astype(np.float32) / 255).numpy()[:, ::-1]
    assert distance(model.embed(pictures(64, 64)), raw) < SAME / 10
    model.close()


def test_the_head_is_ignored(tmp_path: Path, tiny: Arrays) -> None:
    head = {
        "resnet/head/conv2d/kernel": np.ones((1, 1, 1024, 7), np.float32),
        "resnet/head/conv2d/bias": np.ones(7, np.float32),
    }
    path = write_npz(tmp_path / "with-head.npz", tiny | head)
    weights = read_weights(path)
    assert weights.dimension == 1024
    assert weights.nbytes == sum(array.nbytes for array in tiny.values())


def test_weights_too_large_for_a_graph_are_variables(
    embed: Any, tmp_path: Path, tiny: Arrays, golden: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "MAX_GRAPH_BYTES", 1000)
    model = resolve_model(str(write_npz(tmp_path / "tiny.npz", tiny)), image_size=64).load()
    assert distance(model.embed(pictures(64, 64)), golden["tiny/64x64"]) < SAME / 10
    model.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("resnet/block2/unit01/b/standardized_conv2d/kernel"), "is missing"),
        (lambda a: a.pop("resnet/block2/unit01/b/group_norm/beta"), "is missing"),
        (lambda a: a.pop("resnet/block4/unit01/a/proj/standardized_conv2d/kernel"), "is missing"),
        (lambda a: [a.pop(name) for name in list(a) if "/block3/" in name], "four blocks"),
        (lambda a: a.update({"resnet/block7/unit01/x": np.zeros(1, np.float32)}), "block 7 of 4"),
        (
            lambda a: a.update(
                {"resnet/block1/unit01/b/standardized_conv2d/kernel": np.zeros((1, 1, 32, 32), np.float32)}
            ),
            r"not \(3, 3, 32",
        ),
        (
            lambda a: a.update(
                {"resnet/block2/unit02/c/standardized_conv2d/kernel": np.zeros((1, 1, 64, 64), np.float32)}
            ),
            "maps 256 channels to 64",
        ),
    ],
)
def test_weights_of_another_network_are_rejected(
    tmp_path: Path, tiny: Arrays, change: Callable[[Arrays], Any], message: str
) -> None:
    arrays = dict(tiny)
    change(arrays)
    path = write_npz(tmp_path / "other.npz", arrays)
    with pytest.raises(ModelUnavailable, match=message) as raised:
        read_weights(path)
    assert str(path) in str(raised.value)


def test_a_file_without_the_last_norm_is_rejected(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "other.npz", {"layer1.weight": np.zeros(3, np.float32)})
    with pytest.raises(ModelUnavailable, match=r"neither resnet/group_norm/gamma .* nor norm\.weight"):
        resolve_model(str(path))


def write_safetensors(path: Path, state: Arrays) -> Path:
    """Write a file without the package safetensors, as an independent check of the reader."""
    import json
    import struct

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, array in state.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    body = b"".join(array.tobytes() for array in state.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path
