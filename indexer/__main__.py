"""`python -m indexer` is `vitrine-indexer`."""

from vitrine.indexer.cli.main import main

main(prog_name="vitrine-indexer")
