"""The offline half of Vitrine: from a source to a published snapshot. Never imports `service`."""
