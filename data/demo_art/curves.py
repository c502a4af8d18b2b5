"""Outlines in drawing units: the picture is 100 x 100, with y downwards."""

# `+ [x, y]` moves points
# ruff: noqa: RUF005

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2)
STEPS_PER_SEGMENT = 14


def curve(text: str, *, closed: bool = True) -> Points:
    """Return a smooth line through points written "x,y x,y! …".

    A point that ends in "!" is a corner; the others are passed smoothly (cubic Bézier pieces with
    Catmull-Rom handles). Two corners in a row are joined by a straight line.
    """
    words = text.split()
    knots = np.array([[float(v) for v in word.rstrip("!").split(",")] for word in words])
    corners = [word.endswith("!") for word in words]
    count = len(knots)
    pieces = []
    for i in range(count if closed else count - 1):
        j = (i + 1) % count
        is_start = not closed and i == 0
        is_end = not closed and j == count - 1
        leave = _handle(knots, i, corners[i] or is_start, knots[j] - knots[i])
        arrive = _handle(knots, j, corners[j] or is_end, knots[j] - knots[i])
        pieces.append(_bezier(knots[i], knots[i] + leave, knots[j] - arrive, knots[j]))
    if not closed:
        pieces.append(knots[-1:])
    return np.concatenate(pieces)


def _handle(knots: Points, i: int, is_corner: bool, chord: Points) -> Points:
    """Return the Bézier handle at knot i for a segment that spans `chord`."""
    if is_corner:
        return chord / 3
    tangent = knots[(i + 1) % len(knots)] - knots[i - 1]
    length = float(np.hypot(*tangent)) or 1.0
    handle: Points = tangent / length * float(np.hypot(*chord)) / 3
    return handle


def _bezier(p0: Points, p1: Points, p2: Points, p3: Points) -> Points:
    t = np.linspace(0, 1, STEPS_PER_SEGMENT, endpoint=False)[:, None]
    piece: Points = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    return piece


def line(text: str) -> Points:
    """Return an open smooth line; see `curve`."""
    return curve(text, closed=False)


def symmetric(text: str, axis: float = 50.0) -> Points:
    """Return the closed outline whose left half is the open line `text`, mirrored at x = axis."""
    half = line(text)
    return np.concatenate([half, mirror(half, axis)[::-1]])


def mirror(points: Points, axis: float = 50.0) -> Points:
    """Return the points reflected at the vertical line x = axis."""
    return points * [-1, 1] + [2 * axis, 0]


def shift(points: Points, dx: float, dy: float = 0.0) -> Points:
    """Return the points moved by (dx, dy)."""
    return points + [dx, dy]


def scale(points: Points, sx: float, sy: float, centre: tuple[float, float] = (50, 50)) -> Points:
    """Return the points scaled about `centre`."""
    scaled: Points = (points - centre) * [sx, sy] + centre
    return scaled


def rotate(points: Points, degrees: float, centre: tuple[float, float] = (50, 50)) -> Points:
    """Return the points turned clockwise (y is down) about `centre`."""
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    turned: Points = (points - centre) @ turn + centre
    return turned


def ellipse(cx: float, cy: float, rx: float, ry: float, span: tuple[float, float] = (0, 360)) -> Points:
    """Return an ellipse, or the arc between two angles (degrees, clockwise from three o'clock)."""
    angles = np.radians(np.linspace(*span, max(16, int(abs(span[1] - span[0]) / 3))))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def rectangle(x: float, y: float, width: float, height: float, radius: float = 0.0) -> Points:
    """Return a rectangle with rounded corners, (x, y) its top left."""
    r = min(radius, width / 2, height / 2)
    right, bottom = x + width, y + height
    centres = [(right - r, bottom - r), (x + r, bottom - r), (x + r, y + r), (right - r, y + r)]
    arcs = [ellipse(cx, cy, r, r, (90 * i, 90 * i + 90)) for i, (cx, cy) in enumerate(centres)]
    return np.concatenate(arcs)


def ribbon(middle: Points, start: float, end: float, bulge: float = 0.0) -> Points:
    """Return the outline of a band along `middle`, its width going from `start` to `end`.

    bulge: extra width half way.
    """
    ahead = np.gradient(middle, axis=0)
    normals = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    normals /= np.maximum(np.hypot(*normals.T), 1e-9)[:, None]
    t = np.linspace(0, 1, len(middle))
    half = (start + (end - start) * t + bulge * np.sin(np.pi * t)) / 2
    return np.concatenate([middle + normals * half[:, None], (middle - normals * half[:, None])[::-1]])


def between(first: Points, second: Points, t: float) -> Points:
    """Return the line a fraction t of the way from `first` to `second` (resampled to match)."""
    return resample(first, 60) * (1 - t) + resample(second, 60) * t


def resample(points: Points, count: int) -> Points:
    """Return `count` points evenly spaced along the line."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    wanted = np.linspace(0, along[-1], count)
    return np.stack([np.interp(wanted, along, points[:, axis]) for axis in (0, 1)], axis=1)


def dashes(points: Points, dash: float, gap: float) -> list[Points]:
    """Cut a line into stitches of length `dash`, `gap` apart."""
    length = float(np.hypot(*np.diff(points, axis=0).T).sum())
    count = max(1, int(length / (dash + gap)))
    fine = resample(points, count * 8 + 1)
    keep = max(2, round(8 * dash / (dash + gap)) + 1)
    return [fine[i * 8 : i * 8 + keep] for i in range(count)]
