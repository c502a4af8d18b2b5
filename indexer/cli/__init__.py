"""The command line `vitrine-indexer`."""
