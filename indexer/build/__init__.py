"""The nightly build: from products and vectors to a published snapshot, past the publish gate."""
