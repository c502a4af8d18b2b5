"""The public contract keeps what was recorded of it; paths, fields, commands and options may be added."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tests.recorded.comparison import differences
from tests.recorded.contract import CLI, OPENAPI, cli_skeleton, openapi_skeleton, served_openapi


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def commands_of(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every command of a recorded tree with its full name."""
    for name, command in tree.items():
        yield f"{prefix}{name}", command
        yield from commands_of(command.get("commands", {}), f"{prefix}{name} ")


def test_the_http_contract_has_everything_recorded(tmp_path: Path) -> None:
    skeleton = openapi_skeleton(served_openapi(tmp_path / "index"))
    assert list(differences(read(OPENAPI), skeleton)) == []


def test_the_commands_have_everything_recorded() -> None:
    assert list(differences(read(CLI), cli_skeleton())) == []


def test_no_parameter_or_option_became_necessary(tmp_path: Path) -> None:
    recorded, now = read(OPENAPI), openapi_skeleton(served_openapi(tmp_path / "index"))
    for name, operation in recorded.items():
        parameters = now[name]["parameters"].items()
        needed = {parameter for parameter, about in parameters if about["required"]}
        assert needed <= set(operation["parameters"]), name
    for name, command in commands_of(read(CLI)):
        options = dict(commands_of(cli_skeleton()))[name]["options"].items()
        needed = {flag for flag, about in options if about["required"]}
        assert needed <= set(command["options"]), name


def test_a_field_that_is_missing_or_changed_is_noticed() -> None:
    recorded = read(OPENAPI)
    answer = copy.deepcopy(recorded)
    fields = answer["GET /api/v1/products/{id}"]["responses"]["200"]["application/json"]["fields"]
    del fields["name"]
    fields["width"] = "string"
    fields["new"] = "string"
    found = list(differences(recorded, answer))
    assert len(found) == 2
    assert any(line.endswith(".fields.name is missing") for line in found)


def test_an_option_that_is_missing_or_changed_is_noticed() -> None:
    @click.command()
    @click.option("--keep", default=3)
    @click.option("--json", "as_json", is_flag=True)
    def before(keep: int, as_json: bool) -> None: ...

    @click.command()
    @click.option("--keep", default=4)
    @click.option("--all", is_flag=True)
    def after(keep: int, all: bool) -> None: ...

    found = list(differences(cli_skeleton({"it": before}), cli_skeleton({"it": after})))
    assert found == [".it.options.--keep.default is 4, recorded was 3", ".it.options.--json is missing"]
