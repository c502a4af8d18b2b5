"""Search options: defaults and immutability."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vitrine.service.queries.options import SearchOptions


def test_defaults() -> None:
    options = SearchOptions()
    assert (options.limit, options.offset, options.diversity, options.min_score) == (5, 0, 0.0, None)
    for switch in (options.same_category, options.one_per_group, options.exact, options.trace):
        assert switch is False
    assert (options.category, options.exclude, options.where) == ((), (), {})


def test_options_are_immutable() -> None:
    with pytest.raises(ValidationError):
        SearchOptions().limit = 3
