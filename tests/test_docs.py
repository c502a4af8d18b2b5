"""The README files: every command, endpoint and setting is described, examples run, links lead somewhere."""

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
from tests.test_architecture import LAYERS
from vitrine.indexer.cli.main import main as indexer_cli
from vitrine.service.api import OPERATIONS
from vitrine.service.api.openapi import openapi_document
from vitrine.service.catalogue.serialisation import API
from vitrine.service.cli import main as service_cli

PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "indexer/README.md",
        "service/README.md",
        "tests/README.md",
        "vitrine/README.md",
        "data/README.md",
    )
}
README, INDEXER, SERVICE = PAGES["README.md"], PAGES["indexer/README.md"], PAGES["service/README.md"]


def code_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_every_command_of_the_indexer_is_described() -> None:
    assert isinstance(indexer_cli, click.Group)
    for name in indexer_cli.commands:
        assert re.search(rf"`{name}[ `]", INDEXER), name


def test_every_setting_of_the_service_is_described() -> None:
    help_text = CliRunner().invoke(service_cli, ["--help"]).stdout
    variables = set(re.findall(r"VITRINE_[A-Z_]+", help_text))
    assert len(variables) > 15
    for variable in variables:
        assert f"`{variable}`" in SERVICE, variable


def test_every_endpoint_is_described() -> None:
    for operation in OPERATIONS:
        address = f"{operation.method} {API}{operation.path.replace('<id>', 'ID')}"
        assert f"`{address}`" in SERVICE, address


def test_every_search_option_is_described() -> None:
    section = SERVICE.partition("## Search options")[2].partition("\n## ")[0]
    parameters = openapi_document("", has_keys=False)["paths"][f"{API}/products/{{id}}/similar"]["get"][
        "parameters"
    ]
    for name in {each["name"] for each in parameters if each["in"] == "query"}:
        assert f"`{name}`" in section, name


def test_every_room_is_on_the_map() -> None:
    for name in LAYERS:
        package, room = name.split(".")
        assert (
            f"`{package}/{room}`" in PAGES["vitrine/README.md"] or f"`{room}`" in PAGES["vitrine/README.md"]
        )


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_that_a_page_names_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)\b", "".join(code_blocks(PAGES[name], "bash")))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", PAGES[name]):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_names_exist(name: str) -> None:
    """A name in code style with a folder and an ending is a file of the repository."""
    for path in re.findall(
        r"`((?:indexer|service|tests|data|vitrine|benchmarks|browser)/[\w./-]+\.\w+)`", PAGES[name]
    ):
        assert (ROOT / path).exists() or ((ROOT / name).parent / path).exists(), path


def test_the_lock_file_names_no_host_and_no_path() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|file://|--index-url|--find-links|(^|\s)/", lock)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index whose products are called as in README's examples."""
    root = tmp_path_factory.mktemp("docs")
    photos = write_folder(root / "photos", categories=1, per_category=3)
    for number, photo in enumerate(sorted((photos / "c0").iterdir()), start=1):
        photo.rename(photos / f"tenis_{number:02}.jpg")
    (photos / "c0").rmdir()
    build_folder(photos, root / "data" / "index")
    return root / "data" / "index"


def test_the_python_examples_run(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index.parent.parent)
    app = Flask("shop")
    scope: dict[str, Any] = {"app": app}
    for page in (README, SERVICE):
        for example in code_blocks(page, "python"):
            exec(example, scope)
        scope["app"] = Flask("another shop")
    scope["app"] = app
    answer = scope["answer"]
    assert isinstance(answer, dict)
    assert answer["returned"] == 2
    assert app.test_client().get("/visual/api/v1/products/tenis_01").status_code == 200


def test_the_indexer_examples_run(index: Path) -> None:
    lines = [
        line
        for page in (README, INDEXER)
        for block in code_blocks(page, "bash")
        for line in block.splitlines()
    ]
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
