"""Fixtures shared by all tests: a small index folder, its catalogue, its application, a client."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings

from tests.http_client import Client, make_client
from tests.indexes import GridEmbedder, SampleProduct, make_samples, publish_samples
from vitrine.service import Catalogue, ServiceConfig, create_app

# On a busy machine, an example takes as long as it takes.
settings.register_profile("vitrine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vitrine")


@pytest.fixture(scope="session")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small") / "source"


@pytest.fixture(scope="session")
def samples(small_source: Path) -> list[SampleProduct]:
    """Return twelve products, p00 to p11, with their pictures and vectors."""
    return make_samples(small_source)


@pytest.fixture(scope="session")
def _published_index(small_source: Path, samples: list[SampleProduct]) -> Path:
    index = small_source.parent / "index"
    publish_samples(index, samples, small_source)
    return index


@pytest.fixture
def small_index(_published_index: Path, tmp_path: Path) -> Path:
    """Return a copy of the index folder of the sample products."""
    return Path(shutil.copytree(_published_index, tmp_path / "index"))


@pytest.fixture
def embedder() -> GridEmbedder:
    return GridEmbedder()


@pytest.fixture
def catalogue(small_index: Path, embedder: GridEmbedder) -> Iterator[Catalogue]:
    with Catalogue.open(small_index, embedder=embedder) as opened:
        yield opened


@pytest.fixture
def app(catalogue: Catalogue) -> Flask:
    return create_app(catalogue, ServiceConfig())


@pytest.fixture
def client(app: Flask) -> Client:
    return make_client(app)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 2 MB; skip the test where that is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
