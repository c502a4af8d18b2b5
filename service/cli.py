"""The command `vitrine-service`: settings from flags and variables, errors as one line and an exit code.

Imports nothing heavy; the worker processes import what they need.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from vitrine.indexer.cli.errors import OneLineErrorCommand
from vitrine.service.config import ServiceConfig, parsed_setting, variable

Command = Callable[..., Any]


def _settings(command: Command) -> Command:
    """Add one option for each setting, with its variable. An option that is not given is None."""
    for setting in reversed(dataclasses.fields(ServiceConfig)):
        if not setting.metadata["flag"]:
            continue
        flag = "--" + setting.name.replace("_", "-")
        default = _shown_default(setting.default)
        help_text = f"{setting.metadata['help']}  [env: {variable(setting.name)}; default: {default}]"
        if isinstance(setting.default, bool):
            option = click.option(f"{flag}/--no-{flag[2:]}", setting.name, default=None, help=help_text)
        else:
            option = click.option(flag, setting.name, metavar=_metavar(setting), help=help_text)
        command = option(command)
    return command


def _shown_default(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default in ((), "") else str(default)


def _metavar(setting: dataclasses.Field[Any]) -> str:
    if choices := setting.metadata["choices"]:
        return "|".join(choices)
    if isinstance(setting.default, int):
        return "N"
    return "A,B,…" if isinstance(setting.default, tuple) else "TEXT"


@click.command(
    "vitrine-service",
    cls=OneLineErrorCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="vitrine", prog_name="vitrine-service")
@_settings
@click.option("--json", "as_json", is_flag=True, envvar="VITRINE_JSON", show_envvar=True,
              help="Print the address as one JSON object.")  # fmt: skip
@click.option("--debug", is_flag=True, envvar="VITRINE_DEBUG", show_envvar=True, expose_value=False,
              help="Show a traceback on errors.")  # fmt: skip
def main(as_json: bool, **flags: Any) -> None:
    """Serve recommendations from an index folder, over HTTP and as a gallery.

    Every flag has an environment variable; the flag wins. API keys, which writes then need, are set in
    VITRINE_API_KEYS (comma separated) or in a file.
    """
    given = {name: parsed_setting(name, value) for name, value in flags.items() if value is not None}
    config = ServiceConfig.from_environment(**given)
    from vitrine.service.server import serve

    serve(config, as_json=as_json)


if __name__ == "__main__":
    main()
