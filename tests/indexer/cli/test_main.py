"""Tests of the command `vitrine-indexer`: output, exit codes, and errors of one line.

They cover vitrine.indexer.cli.main, build, snapshots, transfer, catalogue, models, options and errors.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.catalogues import MODEL, build_folder, write_folder
from vitrine.indexer.cli.main import main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="vitrine-indexer")


def run_json(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def error_line(exit_code: int, *arguments: str | Path) -> str:
    """Run a command that fails; return its error line."""
    result = run(*arguments)
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert lines[-1].startswith("error: ")
    return lines[-1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("cli") / "photos", categories=2, per_category=2)


@pytest.fixture(scope="module")
def index(photos: Path) -> Path:
    folder = photos.parent / "index"
    build_folder(photos, folder)
    build_folder(photos, folder)
    return folder


def test_build_prints_the_fields_of_the_contract(photos: Path, tmp_path: Path) -> None:
    report = run_json("build", photos, "--index", tmp_path, "--model", MODEL)
    fields = {
        "snapshot",
        "products",
        "embedded",
        "from_cache",
        "failed",
        "categories",
        "model",
        "dimension",
    }
    assert set(report) >= fields | {"recipe", "recall_at_10", "seconds"}
    assert (report["products"], report["model"], report["dimension"]) == (4, MODEL, 1280)


def test_build_prints_the_model_and_the_number_of_failures(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad_01.jpg").write_text("no")
    (tmp_path / "photos" / "good_01.jpg").write_bytes((photos / "c0" / "p0.jpg").read_bytes())
    result = run("build", tmp_path / "photos", "--index", tmp_path / "index", "--model", MODEL)
    assert result.exit_code == 0
    assert f"model {MODEL}: " in result.stderr
    assert "1 pictures cannot be used: see " in result.stderr
    assert "products" in result.stdout


def test_build_prints_why_a_requested_adaptation_was_not_made(photos: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        "build",
        photos,
        "--index",
        tmp_path,
        "--model",
        MODEL,
        "--transform",
        "adapt",
    ]
    report = run_json(*arguments)
    assert report["transform"] == "none"
    assert report["transform_why"] == "not adapted: fewer than two categories have 4 products or more"
    assert f"transform none: {report['transform_why']}" in run(*arguments).stderr


def test_status_verify_history_and_rollback(index: Path) -> None:
    status = run_json("status", "--index", index)
    assert (status["products"], status["recipe"], status["live"]) == (4, "flat", True)
    assert run_json("verify", "--index", index)["ok"] is True
    snapshots = run_json("history", "--index", index)["snapshots"]
    assert [row["live"] for row in snapshots] == [True, False]
    assert run_json("rollback", "--index", index)["snapshot"] == snapshots[1]["snapshot"]
    assert (
        run_json("rollback", snapshots[0]["snapshot"], "--index", index)["before"] == snapshots[1]["snapshot"]
    )
    for verb in ("status", "verify", "history"):
        output = run(verb, "--index", index).stdout
        assert output.strip()
        assert "True" not in output
        assert "None" not in output


def test_purge_removes_nothing_without_confirmation(index: Path) -> None:
    def purge(*options: str, reply: str | None = None) -> Result:
        arguments = ["purge", "c0:p0", "--index", str(index), *options]
        return CliRunner().invoke(main, arguments, input=reply)

    before = run_json("history", "--index", index)
    for options, reply in (([], "n\n"), ([], "\n"), ([], ""), (["--json"], "y\n")):
        result = purge(*options, reply=reply)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.splitlines()[-1].startswith("error: nothing was purged: ")
        assert "--yes" in result.stderr
        assert run_json("history", "--index", index) == before


def test_purge_removes_products_after_confirmation(index: Path, tmp_path: Path) -> None:
    for number, (options, reply) in enumerate((([], "y\n"), (["--json", "--yes"], ""))):
        copy = shutil.copytree(index, tmp_path / str(number))
        arguments = ["purge", "c0:p0", "--index", str(copy), *options]
        assert CliRunner().invoke(main, arguments, input=reply).exit_code == 0
        assert run_json("status", "--index", copy)["products"] == 3


def test_compact_without_new_changes_reports_zero(index: Path) -> None:
    assert run_json("compact", "--index", index)["changes"] == 0


def test_models_lists_names_and_whether_weights_are_available() -> None:
    listed = {row["name"]: row for row in run_json("models")["models"]}
    assert listed[MODEL]["at_hand"] is True
    assert listed["bit-m-r50x1"]["dimension"] == 2048
    assert MODEL in run("models").stdout
    assert run_json("models", "fetch", MODEL)["digest"].startswith("sha256:")


def test_the_index_folder_comes_from_the_environment(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_INDEX", str(index))
    assert run_json("status")["products"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_wrong_input_exits_with_2_and_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    index = ["--index", str(tmp_path / "i")] if arguments[0] == "build" else []
    assert message in error_line(2, *arguments, *index)
    assert not (tmp_path / "i").exists()


def test_a_column_for_an_unknown_field_exits_with_2_and_lists_the_fields(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("image,label\na.jpg,b\n")
    arguments: list[str | Path] = [
        "build",
        tmp_path / "shop.csv",
        "--index",
        tmp_path / "i",
        "--column",
        "categry=label",
    ]
    assert "the fields are id, name, category, group, image" in error_line(2, *arguments)
    assert not (tmp_path / "i").exists()


def test_an_invalid_recipe_is_refused_before_embedding(photos: Path, tmp_path: Path) -> None:
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
    assert "recipe 'FOO,99' is not auto, flat, hnsw, ivf or a FAISS factory string" in error_line(
        2, *arguments
    )
    assert not (tmp_path / "i").exists()


def test_a_missing_snapshot_exits_with_3_and_suggests_a_build(tmp_path: Path) -> None:
    for verb in ("status", "verify", "rollback", "compact"):
        assert "vitrine-indexer build" in error_line(3, verb, "--index", tmp_path / "none")


def test_an_unknown_model_exits_with_4(photos: Path, tmp_path: Path) -> None:
    message = error_line(4, "build", photos, "--index", tmp_path / "i", "--model", "no-such-model")
    assert "no-such-model" in message


def test_only_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "indexer", "status", "--index", str(tmp_path / "none")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert (plain.returncode, "Traceback" in plain.stderr) == (3, False)
    assert "Traceback" in debug.stderr
    for value, is_shown in (("1", True), ("0", False)):
        environment = {**os.environ, "VITRINE_DEBUG": value}
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert ("Traceback" in process.stderr) == is_shown


def test_every_command_has_help() -> None:
    assert isinstance(main, click.Group)
    for verb in main.commands:
        result = run(verb, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.stdout


def test_commands_that_need_no_network_do_not_import_tensorflow(index: Path) -> None:
    code = (
        "import sys; from vitrine.indexer.cli.main import main\n"
        f"try: main(['status', '--index', {str(index)!r}])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
