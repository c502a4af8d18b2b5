"""README tells the truth: every command, route and setting stands in it, and its examples run."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from flask import Flask

from tests.catalogues import build_folder, write_folder
from tests.paths import ROOT
from vitrine.indexer.cli.main import main as indexer_cli
from vitrine.service.cli import main as service_cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_of_the_indexer_is_described() -> None:
    assert isinstance(indexer_cli, click.Group)
    for name in indexer_cli.commands:
        assert re.search(rf"`{name}[ `]", README), name


def test_every_setting_of_the_service_is_described() -> None:
    told = CliRunner().invoke(service_cli, ["--help"]).stdout
    variables = set(re.findall(r"VITRINE_[A-Z_]+", told))
    assert len(variables) > 15
    for variable in variables:
        assert f"`{variable}`" in README, variable


def test_every_make_target_that_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_files_that_readme_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_headings_that_readme_links_to_exist() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in headings, anchor


def test_the_lock_file_names_no_host_and_no_path() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|file://|--index-url|--find-links|(^|\s)/", lock)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index whose products are called as in README's examples."""
    root = tmp_path_factory.mktemp("docs")
    photos = write_folder(root / "photos", categories=1, each=3)
    for number, photo in enumerate(sorted((photos / "c0").iterdir()), start=1):
        photo.rename(photos / f"tenis_{number:02}.jpg")
    (photos / "c0").rmdir()
    build_folder(photos, root / "data" / "index")
    return root / "data" / "index"


def test_the_python_example_runs(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index.parent.parent)
    app = Flask("shop")
    scope: dict[str, Any] = {"app": app}
    for example in code_blocks("python"):
        exec(example, scope)
    answer = scope["answer"]
    assert isinstance(answer, dict)
    assert answer["returned"] == 2
    assert app.test_client().get("/visual/api/v1/products/tenis_01").status_code == 200


def test_the_indexer_examples_run(index: Path) -> None:
    lines = [line for block in code_blocks("bash") for line in block.splitlines()]
    examples = [line.split("#")[0].split() for line in lines if line.startswith("vitrine-indexer")]
    assert examples
    environment = {**os.environ, "VITRINE_OFFLINE": "1"}
    for example in examples:
        words = [
            str(index.parent.parent / "photos") if "fotos" in w or w == "photos" else w for w in example[1:]
        ]
        words = [str(index) if w in ("data/index", "indice") else w for w in words]
        command = [sys.executable, "-m", "indexer", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, (example, done.stderr)
