"""The command `vitrine-indexer`: what it prints, its exit codes, and errors that fit one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.catalogues import MODEL, build_folder, write_folder
from vitrine.indexer.cli.console import ConsoleProgress, show
from vitrine.indexer.cli.main import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="vitrine-indexer")


def answer(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def error(exit_code: int, *arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli") / "photos", categories=2, each=2)


@pytest.fixture(scope="module")
def index(photos: Path) -> Path:
    folder = photos.parent / "index"
    build_folder(photos, folder)
    build_folder(photos, folder)
    return folder


def test_build_prints_what_the_contract_names(photos: Path, tmp_path: Path) -> None:
    report = answer("build", photos, "--index", tmp_path, "--model", MODEL)
    promised = {
        "snapshot",
        "products",
        "embedded",
        "from_cache",
        "failed",
        "categories",
        "model",
        "dimension",
    }
    assert set(report) >= promised | {"recipe", "recall_at_10", "seconds"}
    assert (report["products"], report["model"], report["dimension"]) == (4, MODEL, 1280)


def test_build_tells_people_which_model_and_how_many_failed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad_01.jpg").write_text("no")
    (tmp_path / "photos" / "good_01.jpg").write_bytes((photos / "c0" / "p0.jpg").read_bytes())
    result = run("build", tmp_path / "photos", "--index", tmp_path / "index", "--model", MODEL)
    assert result.exit_code == 0
    assert f"model {MODEL}: " in result.stderr
    assert "1 pictures cannot be used: see " in result.stderr
    assert "products" in result.stdout


def test_build_says_why_it_did_not_adapt_as_asked(photos: Path, tmp_path: Path) -> None:
    asked: list[str | Path] = ["build", photos, "--index", tmp_path, "--model", MODEL, "--transform", "adapt"]
    report = answer(*asked)
    assert report["transform"] == "none"
    assert report["transform_why"] == "not adapted: fewer than two categories have 4 products or more"
    assert f"transform none: {report['transform_why']}" in run(*asked).stderr


def test_status_verify_history_and_rollback(index: Path) -> None:
    status = answer("status", "--index", index)
    assert (status["products"], status["recipe"], status["live"]) == (4, "flat", True)
    assert answer("verify", "--index", index)["ok"] is True
    snapshots = answer("history", "--index", index)["snapshots"]
    assert [row["live"] for row in snapshots] == [True, False]
    assert answer("rollback", "--index", index)["snapshot"] == snapshots[1]["snapshot"]
    assert (
        answer("rollback", snapshots[0]["snapshot"], "--index", index)["before"] == snapshots[1]["snapshot"]
    )
    for verb in ("status", "verify", "history"):
        told = run(verb, "--index", index).stdout
        assert told.strip()
        assert "True" not in told
        assert "None" not in told


def test_purge_removes_nothing_before_somebody_agrees(index: Path) -> None:
    def purge(*options: str, said: str | None = None) -> Result:
        arguments = ["purge", "c0:p0", "--index", str(index), *options]
        return CliRunner().invoke(main, arguments, input=said)

    before = answer("history", "--index", index)
    for options, said in (([], "n\n"), ([], "\n"), ([], ""), (["--json"], "y\n")):
        result = purge(*options, said=said)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.splitlines()[-1].startswith("error: nothing was purged: ")
        assert "--yes" in result.stderr
        assert answer("history", "--index", index) == before


def test_purge_removes_what_somebody_agreed_to(index: Path, tmp_path: Path) -> None:
    for number, (options, said) in enumerate((([], "y\n"), (["--json", "--yes"], ""))):
        own = shutil.copytree(index, tmp_path / str(number))
        arguments = ["purge", "c0:p0", "--index", str(own), *options]
        assert CliRunner().invoke(main, arguments, input=said).exit_code == 0
        assert answer("status", "--index", own)["products"] == 3


def test_compact_says_that_nothing_was_new(index: Path) -> None:
    assert answer("compact", "--index", index)["changes"] == 0


def test_models_lists_names_and_whether_they_are_at_hand() -> None:
    listed = {row["name"]: row for row in answer("models")["models"]}
    assert listed[MODEL]["at_hand"] is True
    assert listed["bit-m-r50x1"]["dimension"] == 2048
    assert MODEL in run("models").stdout
    assert answer("models", "fetch", MODEL)["digest"].startswith("sha256:")


def test_the_index_folder_comes_from_the_environment(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_INDEX", str(index))
    assert answer("status")["products"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build", "/nowhere"], "/nowhere: no such file or folder"),
        (["build", ".", "--memory", "much"], "--memory"),
        (["build", ".", "--column", "category"], "FIELD=NAME"),
        (["build", ".", "--max-failures", "101%"], "--max-failures"),
        (["build", ".", "--max-failures", "-1"], "--max-failures"),
        (["build", ".", "--target-recall", "2"], "--target-recall"),
        (["build"], "SOURCE"),
        (["bild"], "bild"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    index = ["--index", str(tmp_path / "i")] if arguments[0] == "build" else []
    assert said in error(2, *arguments, *index)
    assert not (tmp_path / "i").exists()


def test_a_column_for_no_field_ends_with_2_and_names_the_fields(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("image,label\na.jpg,b\n")
    arguments: list[str | Path] = [
        "build",
        tmp_path / "shop.csv",
        "--index",
        tmp_path / "i",
        "--column",
        "categry=label",
    ]
    assert "the fields are id, name, category, group, image" in error(2, *arguments)
    assert not (tmp_path / "i").exists()


def test_a_recipe_that_cannot_be_is_refused_before_embedding(photos: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        "build",
        photos,
        "--model",
        MODEL,
        "--index",
        tmp_path / "i",
        "--recipe",
        "FOO,99",
    ]
    assert "recipe 'FOO,99' is not auto, flat, hnsw, ivf or a FAISS factory string" in error(2, *arguments)
    assert not (tmp_path / "i").exists()


def test_no_snapshot_ends_with_3_and_says_what_to_do(tmp_path: Path) -> None:
    for verb in ("status", "verify", "rollback", "compact"):
        assert "vitrine-indexer build" in error(3, verb, "--index", tmp_path / "none")


def test_an_unknown_model_ends_with_4(photos: Path, tmp_path: Path) -> None:
    message = error(4, "build", photos, "--index", tmp_path / "i", "--model", "no-such-model")
    assert "no-such-model" in message


def test_debug_shows_the_traceback_and_otherwise_there_is_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "indexer", "status", "--index", str(tmp_path / "none")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, "Traceback" in plain.stderr) == (3, False)
    assert "Traceback" in debug.stderr
    for value, is_shown in (("1", True), ("0", False)):
        environment = {**os.environ, "VITRINE_DEBUG": value}
        asked = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert ("Traceback" in asked.stderr) == is_shown


def test_help_stands_on_every_command() -> None:
    for verb in ("build", "status", "verify", "history", "rollback", "compact", "models"):
        result = run(verb, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.stdout


def test_commands_that_need_no_network_do_not_import_tensorflow(index: Path) -> None:
    code = (
        "import sys; from vitrine.indexer.cli.main import main\n"
        f"try: main(['status', '--index', {str(index)!r}])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_progress_without_a_terminal_is_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress()
    progress.start(10, "pictures")
    progress.advance(10)
    progress.done()
    progress.note("done")
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["pictures: 10", "done"]


def test_people_read_yes_no_and_a_dash_and_programs_json(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"live": True, "ok": False, "since": None, "size": {"first": None, "rows": [True, 1234]}}
    show(answer, as_json=False)
    told = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["yes", "no", "\u2013", "first \u2013, rows yes, 1,234"]
    show(answer, as_json=True)
    assert json.loads(capsys.readouterr().out) == answer


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(quiet=True)
    progress.start(None, "pictures")
    progress.advance(1)
    progress.done()
    progress.note("done")
    assert capsys.readouterr().err == ""
