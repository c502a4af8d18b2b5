"""Prints without a brand: small emblems for shirts, caps and mugs."""

# `+ [x, y]` moves points
# ruff: noqa: RUF005

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .canvas import Canvas, Colour, Field, area, stroke
from .curves import Points, curve, ellipse, line, rotate
from .palette import darker, lighter, mix

Place = Callable[[Points], Points]


def motif(
    canvas: Canvas,
    name: str,
    centre: tuple[float, float],
    size: float,
    colours: tuple[Colour, Colour],
    clip: Field,
) -> None:
    """Print the emblem `name`, `size` units across, about `centre`, inside the mask `clip`."""

    def place(points: Points) -> Points:
        placed: Points = points * (size / 100) + np.array(centre) - size / 2
        return placed

    for mask, colour in DRAWINGS[name](place, *colours):
        canvas.paint(mask * clip, colour, opacity=0.94)


Layers = list[tuple[Field, Colour]]


def _star(place: Place, main: Colour, _second: Colour) -> Layers:
    turns = [rotate(np.array([[50.0, 6.0 if n % 2 == 0 else 31.0]]), n * 36) for n in range(10)]
    return [(area(place(np.concatenate(turns))), main)]


def _heart(place: Place, main: Colour, _second: Colour) -> Layers:
    shape = curve("50,30! 38,13 18,16 10,34 22,60 50,88! 78,60 90,34 82,16 62,13")
    shine = line("22,36 25,27 33,24")
    return [(area(place(shape)), main), (_pen(place, 5, shine), lighter(main, 0.55))]


def _pen(place: Place, width: float, *lines: Points) -> Field:
    """Return strokes of a width in emblem units (100 across)."""
    span = place(np.array([[0.0, 0.0], [100.0, 0.0]]))
    return stroke(width * (span[1, 0] - span[0, 0]) / 100, *[place(points) for points in lines])


def _sunset(place: Place, main: Colour, second: Colour) -> Layers:
    layers = [(area(place(ellipse(50, 46, 38, 38))), mix(main, second, 0.15))]
    for n, y in enumerate((44, 54, 64, 74)):
        band = np.array([[5, y], [95, y], [95, y + 2.5 + n], [5, y + 2.5 + n]], float)
        layers.append((area(place(band)) * area(place(ellipse(50, 46, 40, 40))), second))
    palm = line("60,92 62,70 70,50")
    leaves = [
        line(f"70,50 {x},{y} {u},{v}")
        for x, y, u, v in (
            (80, 44, 90, 52),
            (60, 44, 50, 52),
            (78, 38, 88, 36),
            (64, 38, 54, 34),
            (72, 58, 76, 66),
        )
    ]
    layers.append((np.maximum(_pen(place, 4, palm), _pen(place, 5, *leaves)), darker(main, 0.75)))
    return layers


def _mountain(place: Place, main: Colour, second: Colour) -> Layers:
    ring = area(place(ellipse(50, 50, 46, 46)))
    far = curve("4,80! 30,42! 50,66! 64,34! 98,84! 98,100! 4,100!")
    near = curve("0,100! 24,62! 40,78! 58,58! 100,100!")
    snow = curve("64,34! 56,47! 61,45! 65,51! 69,45! 75,50!")
    sun = ellipse(34, 30, 9, 9)
    return [
        (ring, lighter(second, 0.35)), (area(place(sun)) * ring, mix(main, (1, 0.75, 0.2), 0.7)),
        (area(place(far)) * ring, main), (area(place(snow)) * ring, (0.97, 0.97, 0.97)),
        (area(place(near)) * ring, darker(main, 0.4)),
    ]  # fmt: skip


def _wave(place: Place, main: Colour, second: Colour) -> Layers:
    big = curve("2,72! 14,44 38,20 64,22 84,36 86,52! 76,42 62,42 56,54 60,66 78,74 98,72! 98,84! 2,84!")
    foam = line("10,76 26,70 44,78 62,82 80,78 94,80")
    curl = line("24,60 36,42 54,32 70,34")
    return [(area(place(big)), main), (_pen(place, 4, foam, curl), second)]


def _bolt(place: Place, main: Colour, second: Colour) -> Layers:
    shape = curve("60,4! 22,56! 46,56! 36,96! 80,38! 54,38! 68,4!")
    return [(area(place(shape + [5, 4])), second), (area(place(shape)), main)]


def _leaf(place: Place, main: Colour, second: Colour) -> Layers:
    layers: Layers = [(_pen(place, 3.5, line("50,96 50,60 50,20")), darker(main, 0.25))]
    for n, (y, reach) in enumerate(((76, 34), (60, 36), (44, 30), (30, 22))):
        for side in (-1, 1):
            tip = np.array([50 + side * reach, y - reach * 0.62])
            bend = np.array([50 + side * reach * 0.42, y - reach * 0.62])
            dip = np.array([50 + side * reach * 0.72, y - reach * 0.05])
            text = f"50,{y}! {bend[0]},{bend[1]} {tip[0]},{tip[1]}! {dip[0]},{dip[1]}"
            layers.append((area(place(curve(text))), main if n % 2 == 0 else mix(main, second, 0.4)))
    layers.append((area(place(curve("50,34! 43,20 50,4! 57,20"))), main))
    return layers


def _cat(place: Place, main: Colour, second: Colour) -> Layers:
    head = curve("16,20! 34,32 50,30 66,32 84,20! 88,56 74,80 50,86 26,80 12,56")
    eyes = [ellipse(x, 52, 5, 7) for x in (34, 66)]
    nose = curve("45,62! 55,62! 50,68!")
    lines = [
        line("50,68 44,74 38,72"),
        line("50,68 56,74 62,72"),
        line("6,62 22,62"),
        line("8,72 23,68"),
        line("94,62 78,62"),
        line("92,72 77,68"),
    ]
    return [
        (area(place(head)), main),
        (area(*[place(e) for e in eyes], place(nose)), second),
        (_pen(place, 2.6, *lines), second),
    ]


def _rings(place: Place, main: Colour, second: Colour) -> Layers:
    layers = []
    for n, radius in enumerate((46, 36, 26, 15)):
        layers.append((area(place(ellipse(50, 50, radius, radius))), second if n % 2 else main))
    return layers


def _mark(place: Place, main: Colour, second: Colour) -> Layers:
    arcs = [curve("10,84! 34,16! 50,16! 26,84!"), curve("40,84! 64,16! 80,16! 56,84!")]
    return [(area(*[place(a) for a in arcs]), main), (area(place(ellipse(84, 76, 9, 9))), second)]


DRAWINGS: dict[str, Callable[[Place, Colour, Colour], Layers]] = {
    "star": _star, "heart": _heart, "sunset": _sunset, "mountain": _mountain, "wave": _wave,
    "bolt": _bolt, "leaf": _leaf, "cat": _cat, "rings": _rings, "mark": _mark,
}  # fmt: skip
