"""Tests of vitrine.indexer.models.runtime, with simulated devices."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vitrine.indexer.models import runtime
from vitrine.indexer.models.runtime import FrozenNetwork, find_device, freeze, import_tensorflow


@pytest.fixture
def network() -> Any:
    """A network whose vector is the mean colour of the picture, scaled to unit length."""
    tf = import_tensorflow()
    network = freeze(lambda images, _: tf.reduce_mean(images, [1, 2]), (4, 4), (0.0, 1.0))
    yield network
    network.close()


def pictures(count: int) -> Any:
    return np.random.default_rng(0).integers(1, 255, (count, 4, 4, 3), np.uint8)


def test_a_batch_too_large_for_the_device_is_split(
    network: FrozenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = import_tensorflow()
    expected, sizes, run = network.embed(pictures(11)), [], network._run

    def small_device(pixels: Any) -> Any:
        if len(pixels) > 3:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        sizes.append(len(pixels))
        return run(pixels)

    monkeypatch.setattr(network, "_run", small_device)
    np.testing.assert_allclose(network.embed(pictures(11)), expected, rtol=1e-6)
    assert sum(sizes) == 11


def test_one_picture_too_large_for_the_device_is_an_error(
    network: FrozenNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = import_tensorflow()

    def no_device(pixels: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(network, "_run", no_device)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        network.embed(pictures(2))


def test_the_device_has_the_name_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = import_tensorflow()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda device_type: [])
    assert find_device() == "CPU"
    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda device_type: [gpu])
    details = {"device_name": "NVIDIA H100"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert find_device() == "GPU NVIDIA H100"


def test_available_cores_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5})
    assert runtime.available_cores() == 3


def test_networks_do_not_change_the_settings_of_the_process(network: FrozenNetwork) -> None:
    tf = import_tensorflow()
    assert tf.config.threading.get_intra_op_parallelism_threads() == 0
    assert tf.config.threading.get_inter_op_parallelism_threads() == 0
    assert tf.executing_eagerly()
    assert network.shape == (4, 4, 3)
