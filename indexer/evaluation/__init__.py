"""How well neighbours are found, measured: by category, by item, against simpler ways. Publishes nothing."""
