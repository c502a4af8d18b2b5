"""Fixtures of the service's tests: a small index folder, its catalogue, its application, a client."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.http_client import Client, client_of
from tests.indexes import GridEmbedder, Made, make_products, publish_made
from vitrine.service import Catalogue, ServiceConfig, create_app


@pytest.fixture(scope="session")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small") / "source"


@pytest.fixture(scope="session")
def made(small_source: Path) -> list[Made]:
    """Twelve products p00 … p11 with their pictures and vectors."""
    return make_products(small_source)


@pytest.fixture(scope="session")
def _published(small_source: Path, made: list[Made]) -> Path:
    index = small_source.parent / "index"
    publish_made(index, made, small_source)
    return index


@pytest.fixture
def small_index(_published: Path, tmp_path: Path) -> Path:
    """An index folder of its own for each test."""
    return Path(shutil.copytree(_published, tmp_path / "index"))


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
    return client_of(app)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
