"""Fixtures of the quality tests."""

import pytest

from tests.indexer.quality.catalogues import Pictures, faultless_pictures


@pytest.fixture
def pictures() -> Pictures:
    """Return twelve products without mistakes, to add mistakes to."""
    return faultless_pictures()
