"""The offline half of Vitrine: from a product source to a published snapshot. Never imports `service`."""
