"""What a frozen network does on devices that this machine may not have."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vitrine.indexer.models import runtime
from vitrine.indexer.models.runtime import FrozenNet, find_device, freeze, import_tensorflow


@pytest.fixture
def net() -> Any:
    """The mean colour of a picture as a unit vector."""
    tf = import_tensorflow()
    net = freeze(lambda images, _: tf.reduce_mean(images, [1, 2]), (4, 4), (0.0, 1.0))
    yield net
    net.close()


def pictures(count: int) -> Any:
    return np.random.default_rng(0).integers(1, 255, (count, 4, 4, 3), np.uint8)


def test_a_batch_too_large_for_the_device_is_computed_in_halves(
    net: FrozenNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = import_tensorflow()
    expected, sizes, call = net.embed(pictures(11)), [], net._call

    def small_device(pixels: Any) -> Any:
        if len(pixels) > 3:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        sizes.append(len(pixels))
        return call(pixels)

    monkeypatch.setattr(net, "_call", small_device)
    np.testing.assert_allclose(net.embed(pictures(11)), expected, rtol=1e-6)
    assert sum(sizes) == 11


def test_one_picture_too_large_for_the_device_is_an_error(
    net: FrozenNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = import_tensorflow()

    def no_device(pixels: Any) -> Any:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(net, "_call", no_device)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        net.embed(pictures(2))


def test_the_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = import_tensorflow()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert find_device() == "CPU"
    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [gpu])
    details = {"device_name": "NVIDIA H100"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert find_device() == "GPU NVIDIA H100"


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5})
    assert runtime.available_cores() == 3


def test_networks_do_not_share_threads_or_settings_with_the_process(net: FrozenNet) -> None:
    tf = import_tensorflow()
    assert tf.config.threading.get_intra_op_parallelism_threads() == 0
    assert tf.config.threading.get_inter_op_parallelism_threads() == 0
    assert tf.executing_eagerly()
    assert net.shape == (4, 4, 3)
