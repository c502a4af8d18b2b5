"""`python -m indexer` is `vitrine-indexer`."""

from indexer.cli import main

main(prog_name="vitrine-indexer")
