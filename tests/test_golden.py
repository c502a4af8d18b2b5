"""Snapshots of the first format open, answer as they did when they were written, and take changes."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.golden_questions import (
    API,
    GOLDEN,
    PHOTO,
    Question,
    ask,
    cli_answers,
    http_questions,
    python_answers,
)
from tests.http_client import Client, make_client
from tests.indexes import GridEmbedder
from tests.recorded.comparison import TOLERANCE, differences
from vitrine.service import Catalogue, ServiceConfig, create_app

FOLDERS = ("flat-none", "hnsw-centre", "ivf-adapt", "packed-none")
# The vectors of this one come from the packaged network, the others' from drawn grids.
REAL_NETWORK = "flat-none"

Json = dict[str, Any]


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def index(name: str, tmp_path: Path) -> Path:
    """Copy an index folder: opening one writes beside its journal."""
    return Path(shutil.copytree(GOLDEN / name, tmp_path / "index"))


@pytest.fixture
def recorded(name: str) -> Json:
    answers: Json = json.loads((GOLDEN / f"{name}.answers.json").read_text(encoding="utf-8"))
    return answers


@contextmanager
def served(name: str, index: Path) -> Iterator[tuple[Client, Catalogue]]:
    embedder = None if name == REAL_NETWORK else GridEmbedder()
    with Catalogue.open(index, embedder=embedder) as catalogue:
        yield make_client(create_app(catalogue, ServiceConfig(access_log=False))), catalogue


def different(recorded: Json, client: Client, questions: list[Question]) -> list[str]:
    """Ask questions again; return what is not as recorded."""
    found: list[str] = []
    for question in questions:
        answer, tolerance = ask(client, question), question.tolerance or TOLERANCE
        before = recorded["http"][question.name]
        found += differences(before, answer, tolerance=tolerance, path=question.name)
    return found


def test_http_answers_are_as_recorded(name: str, index: Path, recorded: Json) -> None:
    questions = list(http_questions(recorded["subjects"]))
    assert {question.name for question in questions} == set(recorded["http"])
    with served(name, index) as (client, _):
        assert different(recorded, client, questions) == []


def test_python_answers_are_as_recorded(name: str, index: Path, recorded: Json) -> None:
    with served(name, index) as (_, catalogue):
        answers = python_answers(catalogue, recorded["subjects"])
    assert list(differences(recorded["python"], answers)) == []


def test_commands_answer_as_recorded(index: Path, recorded: Json, tmp_path: Path) -> None:
    assert list(differences(recorded["cli"], cli_answers(index, tmp_path))) == []


def test_changes_are_taken_and_taken_back(name: str, index: Path, recorded: Json) -> None:
    """Delete and restore a product, then delete another and undo: the answers change and return."""
    subjects = recorded["subjects"]
    product = subjects["product"]
    path = f"/products/{product}"
    about = [each for each in http_questions(subjects) if each.name in ("similar, default", "pairs", "batch")]
    with served(name, index) as (client, _):
        assert client.delete(f"{API}{path}").status_code == 200
        assert different(recorded, client, about)
        assert client.get(f"{API}{path}").status_code == 410
        assert client.post(f"{API}{path}/restore").status_code == 200
        assert different(recorded, client, about) == []

        hits = recorded["http"]["similar, default"]["answer"]["hits"]
        assert client.delete(f"{API}/products/{hits[0]['id']}").status_code == 200
        now = client.get(f"{API}{path}/similar").json["hits"]
        assert len(now) == len(hits)
        assert hits[0]["id"] not in [hit["id"] for hit in now]
        assert client.post(f"{API}/undo").json["undone"]["id"] == hits[0]["id"]
        assert different(recorded, client, about) == []
        assert client.post(f"{API}/undo").status_code == 200
        sequence = recorded["http"]["status"]["answer"]["journal_sequence"]
        assert client.get(f"{API}/status").json["journal_sequence"] == sequence + 5
    with served(name, index) as (client, _):
        assert client.get(f"{API}/status").json["journal_sequence"] == sequence + 5


def test_an_upload_is_found_and_taken_back(name: str, index: Path, recorded: Json) -> None:
    about = [each for each in http_questions(recorded["subjects"]) if each.name == "search by photo"]
    with served(name, index) as (client, _):
        form = {"id": "nova-99", "name": "Nova", "category": "Bolsa"}
        form_with_picture = {**form, "image": (io.BytesIO(PHOTO.read_bytes()), "photo.png")}
        reply = client.post(f"{API}/products", data=form_with_picture, content_type="multipart/form-data")
        assert reply.status_code == 201
        found = ask(client, about[0])["answer"]["hits"]
        assert found[0]["id"] == "nova-99"
        assert found[0]["score"] > 0.999
        assert client.post(f"{API}/undo").json["undone"]["id"] == "nova-99"
        assert different(recorded, client, about) == []


def test_nothing_recorded_names_a_folder_of_the_machine_that_wrote_it() -> None:
    written = [path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix not in (".py", ".md")]
    assert len(written) > len(FOLDERS)
    for path in written:
        data = path.read_bytes()
        assert not [place for place in (b"/work/", b"/tmp/", b"/home/", b"/root/") if place in data], path
