"""Comparison of an answer with a recorded one: everything recorded must be there, additions are allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Other processors add up the same numbers in another order.
TOLERANCE = 1e-5
# By field. Coordinates and ratios pass through an eigendecomposition. A confidence is read off a curve that
# rises by whole products in a small catalogue, so that rounding of a score may move it by a step.
TOLERANCES: Mapping[str, float] = {
    "x": 1e-4,
    "y": 1e-4,
    "z": 1e-4,
    "explained_variance_ratio": 1e-4,
    "strength": 1e-3,
    "confidence": 0.1,
}


def differences(
    recorded: Any, answer: Any, *, tolerance: float = TOLERANCE, path: str = "", field: str = ""
) -> Iterator[str]:
    """Yield one line for every recorded value that the answer lacks or gives differently.

    Objects may have more fields than were recorded. Lists must be as long as recorded and in the same order,
    except that hits whose scores are equal within the tolerance may have changed places.
    """
    if isinstance(recorded, dict) and isinstance(answer, dict):
        for name, value in recorded.items():
            here = f"{path}.{name}"
            if name not in answer:
                yield f"{here} is missing"
            else:
                yield from differences(value, answer[name], tolerance=tolerance, path=here, field=name)
    elif isinstance(recorded, list) and isinstance(answer, list):
        yield from _of_lists(recorded, answer, tolerance, path, field)
    elif _is_number(recorded) and _is_number(answer):
        if abs(recorded - answer) > max(tolerance, TOLERANCES.get(field, 0.0)):
            yield f"{path} is {answer!r}, recorded was {recorded!r}"
    elif type(recorded) is not type(answer) or recorded != answer:
        yield f"{path} is {answer!r}, recorded was {recorded!r}"


def _of_lists(
    recorded: Sequence[Any], answer: Sequence[Any], tolerance: float, path: str, field: str
) -> Iterator[str]:
    if len(recorded) != len(answer):
        yield f"{path} has {len(answer)} items, recorded were {len(recorded)}"
        return
    if field == "hits":
        answer = _in_recorded_order(recorded, answer, tolerance)
    for number, (before, now) in enumerate(zip(recorded, answer, strict=True)):
        yield from differences(before, now, tolerance=tolerance, path=f"{path}[{number}]", field=field)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _in_recorded_order(recorded: Sequence[Any], answer: Sequence[Any], tolerance: float) -> list[Any]:
    """Return the hits of an answer, those with nearly equal scores in the recorded order."""
    ordered = list(answer)
    for place, before in enumerate(recorded):
        for other in range(place + 1, len(ordered)):
            if ordered[place]["id"] == before["id"]:
                break
            is_near = abs(ordered[other]["score"] - ordered[place]["score"]) <= 2 * tolerance
            if ordered[other]["id"] == before["id"] and is_near:
                ordered[place], ordered[other] = ordered[other], ordered[place]
    return ordered
