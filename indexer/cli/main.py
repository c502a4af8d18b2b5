"""The command `vitrine-indexer`: a group of the commands that the other modules of this package define.

Commands parse options, call the library and print the result. They import the library when they run, so that
`--help` and quick commands load no heavy package.
"""

from __future__ import annotations

import click

from vitrine.indexer.cli import build, catalogue, models, snapshots, transfer
from vitrine.indexer.cli.options import CommandGroup


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="vitrine", prog_name="vitrine-indexer")
def main() -> None:
    """Turn a catalogue of product photos into a snapshot for visual recommendations."""


for module in (build, snapshots, catalogue, transfer, models):
    for command in module.COMMANDS:
        main.add_command(command)


if __name__ == "__main__":
    main()
