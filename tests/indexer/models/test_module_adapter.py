"""Tests of module_adapter and saved_model: SavedModels with other inputs and outputs than TF Hub's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitrine.indexer.arrays import FloatArray, Pixels
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models import resolve_model

SIZE_PX = 32
Save = Callable[..., Path]


@pytest.fixture
def tf() -> Any:
    from vitrine.indexer.models.runtime import import_tensorflow

    return import_tensorflow()


@pytest.fixture
def save(tf: Any, tmp_path: Path) -> Save:
    """Return a function that saves a callable module with one input signature."""

    def save_module(network: Callable[[Any], Any], shape: list[int | None], dtype: Any = None) -> Path:
        class Module(tf.Module):  # type: ignore[misc]
            @tf.function(input_signature=[tf.TensorSpec(shape, dtype or tf.float32)])  # type: ignore[untyped-decorator]
            def __call__(self, images: Any) -> Any:
                return network(images)

        tf.saved_model.save(Module(), str(tmp_path / "net"))
        return tmp_path / "net"

    return save_module


@pytest.fixture
def pictures() -> Pixels:
    """Two pictures of noise, their four quarters unlike each other."""
    noise = np.random.default_rng(5).integers(0, 256, (2, SIZE_PX, SIZE_PX, 3), np.uint8)
    noise[:, :16, :16] //= 4
    noise[:, 16:, 16:, 0] //= 3
    return noise


def quarter_means(images: FloatArray) -> FloatArray:
    """Return (B, 12): the mean colour of each quarter, of pictures (B, H, W, 3)."""
    quarters = images.reshape(len(images), 2, 16, 2, 16, 3).mean(axis=(2, 4))
    return np.asarray(quarters.reshape(len(images), 12), np.float32)


def unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def embed(path: Path, pictures: Pixels, output: str = "") -> FloatArray:
    model = resolve_model(f"{path}#{output}" if output else str(path), image_size=SIZE_PX).load()
    try:
        return model.embed(pictures)
    finally:
        model.close()


def test_a_feature_map_is_averaged_over_all_positions(tf: Any, save: Save, pictures: Pixels) -> None:
    """As of Keras' `include_top=False`: a change in any part of the picture changes the vector."""
    path = save(lambda x: tf.nn.avg_pool2d(x, 8, 8, "VALID") ** 2, [None, None, None, 3])
    values = pictures.astype(np.float32) / 255
    cells = values.reshape(2, 4, 8, 4, 8, 3).mean(axis=(2, 4)) ** 2
    np.testing.assert_allclose(embed(path, pictures), unit(cells.mean(axis=(1, 2))), atol=1e-5)
    model = resolve_model(str(path), image_size=SIZE_PX).load()
    assert model.pooling == "mean over 4 x 4"
    darkened = pictures.copy()
    darkened[:, 8:] = 0  # all but the uppermost cells
    assert np.abs(model.embed(darkened) - model.embed(pictures)).max() > 0.01
    model.close()


def test_a_map_of_one_position_is_a_vector(tf: Any, save: Save, pictures: Pixels) -> None:
    path = save(lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), [None, None, None, 3])
    model = resolve_model(str(path), image_size=SIZE_PX).load()
    assert model.pooling == ""
    expected = unit(pictures.astype(np.float32).mean(axis=(1, 2)))
    np.testing.assert_allclose(model.embed(pictures), expected, atol=1e-5)
    model.close()


@pytest.mark.parametrize("name", ["uint8", "int32", "float16", "float64"])
def test_inputs_of_other_number_types_are_converted(tf: Any, save: Save, pictures: Pixels, name: str) -> None:
    dtype = tf.dtypes.as_dtype(name)
    scale = 1.0 if dtype.is_integer else 255.0
    path = save(
        lambda x: tf.reduce_mean(tf.cast(x, tf.float32) * scale, [1, 2]), [None, None, None, 3], dtype
    )
    expected = unit(pictures.astype(np.float32).mean(axis=(1, 2)))
    np.testing.assert_allclose(embed(path, pictures), expected, atol=2e-3 if name == "float16" else 1e-5)


def test_channels_may_come_first(tf: Any, save: Save, pictures: Pixels) -> None:
    def network(x: Any) -> Any:
        return tf.reduce_mean(tf.reshape(x, [-1, 3, 2, 16, 2, 16]), [3, 5])

    path = save(network, [None, 3, SIZE_PX, SIZE_PX])  # a map (B, 3, 2, 2)
    expected = unit(pictures.astype(np.float32).mean(axis=(1, 2)))
    np.testing.assert_allclose(embed(path, pictures), expected, atol=1e-5)


def test_a_model_of_one_picture_at_a_time_embeds_batches(tf: Any, save: Save, pictures: Pixels) -> None:
    def network(x: Any) -> Any:
        return tf.reshape(tf.reduce_mean(tf.reshape(x, [1, 2, 16, 2, 16, 3]), [2, 4]), [1, 12])

    path = save(network, [1, SIZE_PX, SIZE_PX, 3])
    expected = unit(quarter_means(pictures.astype(np.float32)))
    np.testing.assert_allclose(embed(path, pictures), expected, atol=1e-5)


def two_outputs(tf: Any) -> Callable[[Any], Any]:
    def network(x: Any) -> dict[str, Any]:
        features = tf.reduce_mean(x, [1, 2])
        return {"features": features, "a_logits": tf.concat([features, 1 - features], 1)}

    return network


def test_one_of_several_outputs_must_be_chosen(tf: Any, save: Save, pictures: Pixels) -> None:
    path = save(two_outputs(tf), [None, None, None, 3])
    with pytest.raises(ModelUnavailable, match=r"several outputs \(a_logits, features\).*--model-output"):
        embed(path, pictures)
    with pytest.raises(ModelUnavailable, match=r"no output 'pooled'; there are: a_logits, features"):
        embed(path, pictures, "pooled")
    assert embed(path, pictures, "a_logits").shape == (2, 6)
    expected = unit(pictures.astype(np.float32).mean(axis=(1, 2)))
    np.testing.assert_allclose(embed(path, pictures, "features"), expected, atol=1e-5)


def test_vectors_of_two_outputs_have_keys_of_their_own(tf: Any, save: Save) -> None:
    path = save(two_outputs(tf), [None, None, None, 3])
    sources = [resolve_model(f"{path}#{name}") for name in ("features", "a_logits")]
    assert len({source.key for source in sources}) == 2
    assert [source.handle for source in sources] == [f"{path}#features", f"{path}#a_logits"]


def test_a_signature_with_one_output_of_any_name_is_used(tf: Any, tmp_path: Path, pictures: Pixels) -> None:
    module = tf.Module()

    spec = tf.TensorSpec([None, SIZE_PX, SIZE_PX, 3], tf.uint8, name="pixels")

    @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator]
    def serve(pixels: Any) -> Any:
        return {"output_0": tf.reduce_mean(tf.cast(pixels, tf.float32), [1, 2])}

    tf.saved_model.save(module, str(tmp_path / "net"), signatures=serve)
    expected = unit(pictures.astype(np.float32).mean(axis=(1, 2)))
    np.testing.assert_allclose(embed(tmp_path / "net", pictures), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype", "problem"),
    [
        ([None, 99, 99, 3], "float32", "takes pictures of 99 x 99 pixels: use --image-size 99"),
        ([None, 99, 50, 3], "float32", "takes pictures of 99 x 50 pixels, which is not square"),
        ([None, 32, 32, 4], "float32", "without three channels"),
        ([None, 3072], "float32", "not \\(B, H, W, 3\\)"),
        ([4, 32, 32, 3], "float32", "batches of exactly 4 pictures"),
        ([None], "string", "its input is string, not pixels"),
    ],
)
def test_other_inputs_are_refused_in_one_line(
    tf: Any, save: Save, pictures: Pixels, shape: list[int | None], dtype: str, problem: str
) -> None:
    path = save(lambda x: tf.zeros([tf.shape(x)[0], 5]), shape, tf.dtypes.as_dtype(dtype))
    with pytest.raises(ModelUnavailable, match=problem) as raised:
        embed(path, pictures)
    assert len(str(raised.value).splitlines()) == 1
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("shape", [[5], [None, 7, 5]])
def test_outputs_that_are_no_vectors_are_refused(
    tf: Any, save: Save, pictures: Pixels, shape: list[int | None]
) -> None:
    path = save(
        lambda x: tf.zeros([tf.shape(x)[0], *shape[1:]] if len(shape) > 1 else shape), [None] * 3 + [3]
    )
    with pytest.raises(ModelUnavailable, match=r"its output has shape .*, not \(B, D\)"):
        embed(path, pictures)
