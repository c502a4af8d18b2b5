"""The public contract as plain data without wording: what the HTTP service and the commands take and give.

`python -m tests.recorded.contract` from the root of the repository writes it beside this file. Do so only to
add to the contract: what is recorded already stays as it is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tests.http_client import make_client
from vitrine.indexer.cli.main import main as indexer_cli
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.cli import main as service_cli

Json = dict[str, Any]

RECORDED = Path(__file__).parent
OPENAPI, CLI = RECORDED / "openapi.json", RECORDED / "cli.json"
COMMANDS: Mapping[str, click.Command] = {"vitrine-indexer": indexer_cli, "vitrine-service": service_cli}


def served_openapi(index: Path) -> Json:
    """Return the OpenAPI document that a service over an index folder, which may be empty, serves."""
    index.mkdir(exist_ok=True)
    with Catalogue.open(index) as catalogue:
        document: Json = make_client(create_app(catalogue, ServiceConfig())).get("/openapi.json").json
    return document


def openapi_skeleton(document: Mapping[str, Any]) -> Json:
    """Return every operation with its id, parameters, body and answers, as names and types of fields."""
    schemas = document["components"]["schemas"]
    return {
        f"{method.upper()} {path}": _operation(operation, schemas)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def _operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Json:
    return {
        "operationId": operation["operationId"],
        "parameters": {
            f"{each['in']} {each['name']}": {"required": each.get("required", False)}
            for each in operation.get("parameters", ())
        },
        "body": _content(operation.get("requestBody", {}), schemas),
        "responses": {status: _content(each, schemas) for status, each in operation["responses"].items()},
    }


def _content(described: Mapping[str, Any], schemas: Mapping[str, Any]) -> Json:
    return {
        media: _schema(each.get("schema", {}), schemas)
        for media, each in described.get("content", {}).items()
    }


def _schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return a schema as {field: …} for an object, {"items": …} for a list, and else the name of its type."""
    if "$ref" in schema:
        return _schema(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas)
    if "anyOf" in schema:
        return _union([_schema(each, schemas) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return {"one of": {str(value): True for value in schema.get("enum", [schema.get("const")])}}
    if "properties" in schema:
        return {"fields": {name: _schema(each, schemas) for name, each in schema["properties"].items()}}
    if "items" in schema:
        return {"items": _schema(schema["items"], schemas)}
    if isinstance(schema.get("additionalProperties"), dict):
        return {"values": _schema(schema["additionalProperties"], schemas)}
    return schema.get("type", "any")


def _union(parts: list[Any]) -> Json:
    """Return alternatives by name, so that another one may be added anywhere among them."""
    names = [part if isinstance(part, str) else next(iter(part)) for part in parts]
    numbered = [f"{name} {names[:place].count(name) + 1}" for place, name in enumerate(names)]
    return {"any of": dict(zip(numbered, parts, strict=True))}


def cli_skeleton(commands: Mapping[str, click.Command] = COMMANDS) -> Json:
    """Return the tree of commands: arguments, and options by flag with what tells them apart."""
    return {name: _command(command) for name, command in commands.items()}


def _command(command: click.Command) -> Json:
    options: Json = {}
    arguments: list[Json] = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            options |= {flag: _option(parameter) for flag in (*parameter.opts, *parameter.secondary_opts)}
        else:
            about = {"name": parameter.name, "required": parameter.required, "nargs": parameter.nargs}
            arguments.append(about)
    found: Json = {"arguments": arguments, "options": options}
    if isinstance(command, click.Group):
        found["commands"] = {name: _command(each) for name, each in command.commands.items()}
    return found


def _option(option: click.Option) -> Json:
    found: Json = {
        "is_flag": option.is_flag,
        "multiple": option.multiple,
        "required": option.required,
        "default": _plain(option.to_info_dict()["default"]),
    }
    if isinstance(option.type, click.Choice):
        found["choices"] = {str(choice): True for choice in option.type.choices}
    if isinstance(option.envvar, str):
        found["envvar"] = option.envvar
    return found


def _plain(default: Any) -> Any:
    """Return a default as JSON has it; null where there is none."""
    return default if isinstance(default, (str, int, float, bool)) else None


def main() -> None:
    """Write both files."""
    with tempfile.TemporaryDirectory() as folder:
        skeletons = {OPENAPI: openapi_skeleton(served_openapi(Path(folder))), CLI: cli_skeleton()}
    for path, skeleton in skeletons.items():
        lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in skeleton.items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
