"""Tests of vitrine.indexer.models.registry, model and saved_model: resolving and recording models."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.indexer.models.comparison import SAME, distance
from tests.indexer.models.random_bit import (
    Arrays,
    pictures,
    random_arrays,
    save_hub_module,
    write_npz,
)
from vitrine.indexer.errors import InputError, ModelMismatch, ModelUnavailable
from vitrine.indexer.models import load_recorded_model, resolve_model
from vitrine.indexer.models.model import compute_weights_digest
from vitrine.indexer.models.origins import Origin

HANDLE = "https://tfhub.dev/google/bit/m-r50x1/1"
HUB_FOLDER = "4ff8fefe176c863be939e3880dfa769989df4e32"


@pytest.fixture(autouse=True)
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, without network access."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setenv("VITRINE_MODELS", str(folder))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("VITRINE_OFFLINE", "1")
    return folder


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return random_arrays()


@pytest.fixture(scope="module")
def hub_module(tmp_path_factory: pytest.TempPathFactory, arrays: Arrays) -> Path:
    return save_hub_module(tmp_path_factory.mktemp("hub") / "module", arrays)


@pytest.fixture
def cached_hub_module(models_folder: Path, hub_module: Path) -> Path:
    """A SavedModel at the path that tensorflow_hub uses."""
    home = models_folder / "tfhub" / HUB_FOLDER
    home.parent.mkdir()
    home.symlink_to(hub_module)
    return home


def test_the_folder_is_that_of_tensorflow_hub() -> None:
    assert hashlib.sha1(HANDLE.encode(), usedforsecurity=False).hexdigest() == HUB_FOLDER


def test_a_cached_hub_module_embeds_without_network_access(
    cached_hub_module: Path, models_folder: Path, arrays: Arrays
) -> None:
    source = resolve_model("bit-m-r50x1", image_size=64)
    assert source.path == cached_hub_module
    assert source.handle == source.name == "bit-m-r50x1"
    vectors = source.load().embed(pictures(64, 64))
    write_npz(models_folder / "BiT-M-R50x1.npz", arrays)
    native = resolve_model("bit-m-r50x1", image_size=64)
    assert native.path.suffix == ".npz"  # the faster form is preferred
    assert distance(vectors, native.load().embed(pictures(64, 64))) < SAME


def test_the_recorded_weights_are_found_among_several(
    cached_hub_module: Path, models_folder: Path, arrays: Arrays
) -> None:
    recorded = dataclasses.asdict(resolve_model("bit-m-r50x1", image_size=64))
    write_npz(models_folder / "BiT-M-R50x1.npz", arrays)
    model = load_recorded_model(recorded)
    assert model.source.path == cached_hub_module
    assert model.source.key == f"bit-m-r50x1|{recorded['digest']}|decode|resize(64,64)|value_range(0,1)"
    assert model.dimension == 1024


def test_other_weights_than_the_recorded_ones_are_rejected(models_folder: Path, arrays: Arrays) -> None:
    path = write_npz(models_folder / "BiT-M-R50x1.npz", arrays)
    recorded = dataclasses.asdict(resolve_model("bit-m-r50x1"))
    write_npz(path, random_arrays(seed=1))
    with pytest.raises(ModelMismatch, match=r"the snapshot's vectors are of bit-m-r50x1 .*build again"):
        load_recorded_model(recorded)


def test_missing_recorded_weights_are_an_error(tmp_path: Path, arrays: Arrays) -> None:
    path = write_npz(tmp_path / "own.npz", arrays)
    recorded = dataclasses.asdict(resolve_model(str(path)))
    assert recorded["handle"] == str(path)
    path.unlink()
    with pytest.raises(ModelUnavailable, match=r"own\.npz"):
        load_recorded_model(recorded)


def test_the_packaged_network_is_loaded_from_its_record() -> None:
    recorded = dataclasses.asdict(resolve_model("efficientnet-lite2", image_size=64))
    model = load_recorded_model(recorded)
    assert model.embed(pictures(64, 64)).shape == (2, 1280)
    with pytest.raises(ModelMismatch):
        load_recorded_model(recorded | {"digest": "sha256:0"})


def test_a_path_is_recorded_as_absolute(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "own.npz", arrays)
    monkeypatch.chdir(tmp_path)
    source = resolve_model("own.npz", image_size=96)
    assert (source.name, source.handle) == ("own", str(tmp_path / "own.npz"))
    assert source.preprocessing == "decode|resize(96,96)|value_range(0,1)"
    assert source.dimension == 1024
    assert source.key != resolve_model("own.npz").key


def test_auto_selects_local_bit_weights(models_folder: Path, arrays: Arrays) -> None:
    path = write_npz(models_folder / "BiT-M-R50x1.npz", arrays)
    source = resolve_model("auto")
    assert (source.name, source.handle) == ("bit-m-r50x1", "bit-m-r50x1")
    assert source.reason == f"chosen by auto: available in {path}"


def test_auto_gives_the_reason_for_not_selecting_bit() -> None:
    source = resolve_model("auto")
    assert (source.name, source.handle) == ("efficientnet-lite2", "efficientnet-lite2")
    assert source.reason.startswith("chosen by auto: it is packaged; bit-m-r50x1 is not on this machine ")
    assert "VITRINE_OFFLINE" in source.reason


@pytest.mark.parametrize("name", ["resnet", "bit-x-r50x1", "bit-m-r50x7", "", "no/such/folder", "no.npz"])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"not a known model \(auto, efficientnet-lite2, bit-m-r50x1"):
        resolve_model(name)


def test_a_folder_without_a_saved_model_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no saved_model\.pb in it"):
        resolve_model(str(tmp_path))


def test_an_invalid_image_size_is_rejected() -> None:
    with pytest.raises(InputError):
        resolve_model("efficientnet-lite2", image_size=0x10000)


def test_the_digest_of_a_folder_ignores_download_metadata(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "variables").mkdir(parents=True)
        (tmp_path / name / "saved_model.pb").write_bytes(b"graph")
        (tmp_path / name / "variables" / "v").write_bytes(b"weights")
    (tmp_path / "other" / "fingerprint.pb").write_bytes(b"download 2")
    assert compute_weights_digest(tmp_path / "one") == compute_weights_digest(tmp_path / "other")
    (tmp_path / "other" / "variables" / "v").write_bytes(b"Weights")
    assert compute_weights_digest(tmp_path / "one") != compute_weights_digest(tmp_path / "other")


def test_tensorflow_is_imported_for_loading_only(tmp_path: Path, arrays: Arrays) -> None:
    path = write_npz(tmp_path / "own.npz", arrays)
    code = (
        "import sys; from vitrine.indexer.models import resolve_model, list_models\n"
        f"resolve_model({str(path)!r}); resolve_model('auto'); list_models()\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_is_silent_and_does_not_change_the_process(tmp_path: Path, arrays: Arrays) -> None:
    """TensorFlow writes nothing to stderr, other threads still do, and global settings are unchanged."""
    path = write_npz(tmp_path / "own.npz", arrays)
    code = (
        "import sys, os, threading; from vitrine.indexer.models import resolve_model\n"
        f"source = resolve_model({str(path)!r}, image_size=64)\n"
        "writer = threading.Timer(0.3, lambda: os.write(2, b'another thread\\n')); writer.start()\n"
        "model = source.load(); writer.join()\n"
        "import tensorflow as tf\n"
        "assert tf.config.threading.get_intra_op_parallelism_threads() == 0\n"
        "assert tf.executing_eagerly()\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert finished.stderr == "another thread\n"
    assert finished.stdout == ""


def test_a_damaged_saved_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelUnavailable, match="broken: TensorFlow cannot load it"):
        resolve_model(str(tmp_path / "broken")).load()


def test_a_saved_model_of_another_image_size_is_an_error(tmp_path: Path) -> None:
    from vitrine.indexer.models.runtime import import_tensorflow

    tf = import_tensorflow()

    class OtherSize(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec([None, 99, 99, 3], tf.float32)])
        def __call__(self, images):  # type: ignore[no-untyped-def]
            return tf.reduce_mean(images, [1, 2])

    tf.saved_model.save(OtherSize(), str(tmp_path / "other"))
    with pytest.raises(ModelUnavailable, match=r"does not map 224 x 224 pictures to vectors.*--image-size"):
        resolve_model(str(tmp_path / "other")).load()
    model = resolve_model(str(tmp_path / "other"), image_size=99).load()
    assert model.embed(np.full((1, 99, 99, 3), 255, np.uint8)).shape == (1, 3)


def test_a_saved_model_with_signatures_only_is_loaded(tmp_path: Path) -> None:
    from vitrine.indexer.models.runtime import import_tensorflow

    tf = import_tensorflow()
    module = tf.Module()
    module.weights = tf.Variable(np.ones((3, 5), np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")])
    def serve(images):  # type: ignore[no-untyped-def]
        return {"default": tf.reduce_mean(images, [1, 2], keepdims=True) @ module.weights}

    tf.saved_model.save(module, str(tmp_path / "served"), signatures=serve)
    model = resolve_model(str(tmp_path / "served"), image_size=32).load()
    np.testing.assert_allclose(model.embed(np.full((2, 32, 32, 3), 9, np.uint8)), 5**-0.5, rtol=1e-5)


def test_an_origin_of_a_file_finds_the_file(tmp_path: Path) -> None:
    origin = Origin("here", "http://127.0.0.1/x", tmp_path / "x.npz", is_archive=False)
    assert origin.find() is None
    (tmp_path / "x.npz").write_bytes(b"")
    assert origin.find() == tmp_path / "x.npz"
