"""Entry point of `python -m indexer`, the same command as `vitrine-indexer`."""

from vitrine.indexer.cli.main import main

main(prog_name="vitrine-indexer")
