"""Tests of vitrine.indexer.transform.transform: unit rows, storage and degenerate catalogues."""

from pathlib import Path

import numpy as np
import pytest

from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.errors import InputError, SnapshotCorrupt
from vitrine.indexer.transform.transform import CENTRE_PRODUCTS_MIN, Transform, fit_mean


def features(n: int = 200, d: int = 16) -> FloatMatrix:
    return unit(np.abs(np.random.default_rng(1).normal(size=(n, d))).astype(np.float32) + 1)


def test_centred_vectors_are_unit_rows_around_the_mean() -> None:
    raw = features()
    transform = fit_mean("auto", [raw[:50], raw[50:]], len(raw))
    assert transform.name == "centre"
    centred = transform.apply(raw)
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(centred, unit(raw - raw.mean(axis=0)), atol=1e-5)


def test_none_changes_nothing() -> None:
    raw = features()
    assert fit_mean("none", [raw], len(raw)).apply(raw) is raw


def test_few_products_are_not_centred_unless_requested() -> None:
    raw = features(CENTRE_PRODUCTS_MIN - 1)
    assert fit_mean("auto", [raw], len(raw)).name == "none"
    assert fit_mean("centre", [raw], len(raw)).name == "centre"


def test_a_vector_that_is_the_mean_keeps_its_direction() -> None:
    raw = features(1)
    centred = fit_mean("centre", [raw], 1).apply(raw)
    np.testing.assert_allclose(centred, raw, atol=1e-6)


def test_transforms_round_trip(tmp_path: Path) -> None:
    raw = features()
    for name in ("none", "centre"):
        transform = fit_mean(name, [raw], len(raw))
        transform.save(tmp_path / "t.npz")
        loaded = Transform.load(tmp_path / "t.npz")
        assert (loaded.name, loaded.reason) == (transform.name, transform.reason)
        np.testing.assert_array_equal(loaded.apply(raw), transform.apply(raw))


def test_one_percent_more_products_keep_a_transform_and_half_more_do_not() -> None:
    raw = features(1000)
    fitted = fit_mean("centre", [raw], 1000)
    assert fitted.is_close_to(fit_mean("centre", [raw, raw[:10]], 1010))
    other = raw.copy()
    other[:, :8] = 0
    assert not fitted.is_close_to(fit_mean("centre", [raw, unit(other)], 2000))
    assert not fitted.is_close_to(fit_mean("none", [raw], 1000))


def test_unknown_names_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pca"):
        fit_mean("pca", [], 0)
    (tmp_path / "t.npz").write_bytes(b"no")
    with pytest.raises(SnapshotCorrupt, match=r"t\.npz"):
        Transform.load(tmp_path / "t.npz")
