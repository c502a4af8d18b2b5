"""Rate limits."""

from __future__ import annotations

import pytest

from vitrine.indexer.errors import InputError
from vitrine.service.http.rates import Rates


def test_a_wrong_rate_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not a rate"):
        Rates("many/often")
    Rates("").hit("anybody")
