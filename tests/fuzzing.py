"""Hypothesis settings and strategies of the fuzz tests.

VITRINE_FUZZ_EXAMPLES: number of inputs per test, 60 by default.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_EXAMPLES = os.environ.get("VITRINE_FUZZ_EXAMPLES")
# `make fuzz` sets the variable and tries new inputs; other runs repeat the same inputs.
FUZZED = settings(
    max_examples=int(_EXAMPLES or "60"),
    derandomize=_EXAMPLES is None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def damaged(draw: st.DrawFn, files: Sequence[bytes]) -> bytes:
    """Draw a file with bytes changed, deleted, repeated or inserted, or with the end of another file."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        offset, length = draw(st.integers(0, len(data))), draw(st.integers(0, 64))
        match draw(st.sampled_from(["change", "delete", "repeat", "insert", "join"])):
            case "change":
                data[offset : offset + length] = draw(st.binary(min_size=length, max_size=length))
            case "delete":
                del data[offset : offset + 8 * length]
            case "repeat":
                data[offset:offset] = data[offset : offset + length]
            case "insert":
                data[offset:offset] = draw(st.binary(max_size=length))
            case _:
                other = draw(st.sampled_from(files))
                data[offset:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)
