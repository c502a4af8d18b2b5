"""How much is fed to what reads foreign bytes: VITRINE_FUZZ_EXAMPLES inputs a test, else a few."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_ASKED = os.environ.get("VITRINE_FUZZ_EXAMPLES")
# `make fuzz` looks where nobody has looked yet; other runs feed the same each time.
FUZZED = settings(
    max_examples=int(_ASKED or "60"),
    deadline=dt.timedelta(seconds=10),
    derandomize=_ASKED is None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def damaged(draw: st.DrawFn, wholes: Sequence[bytes]) -> bytes:
    """Draw one of some files with a few bytes changed, cut out, doubled or put in, or with another's end."""
    data = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 64))
        match draw(st.sampled_from(["change", "cut", "double", "put", "join"])):
            case "change":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "cut":
                del data[at : at + 8 * length]
            case "double":
                data[at:at] = data[at : at + length]
            case "put":
                data[at:at] = draw(st.binary(max_size=length))
            case _:
                other = draw(st.sampled_from(wholes))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)
