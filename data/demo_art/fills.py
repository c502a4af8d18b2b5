"""Fills: patterns and gradients as functions of the position in drawing units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .canvas import Colour, Field, Fill, Pixels
from .palette import lighter, mix

EDGE = 0.16  # softness of a pattern's edges, units


def _blend(first: Colour | Pixels, second: Colour | Pixels, cover: Field) -> Pixels:
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    mixed: Pixels = a + (b - a) * cover[..., None].astype(np.float32)
    return mixed


def _paper(colour: Colour, like: Field) -> Pixels:
    """Return one colour in the shape of `like`."""
    return np.broadcast_to(np.asarray(colour, np.float32), (*like.shape, 3))


def _above(value: float | Field, edge: float | Field, soft: float = EDGE) -> Field:
    return np.clip((np.asarray(value) - edge) / soft + 0.5, 0, 1)


def _noise(i: Field, j: Field, salt: float = 0.0) -> Field:
    """Return a pseudo-random number in [0, 1) for each lattice cell (i, j)."""
    return np.mod(np.sin(i * 127.1 + j * 311.7 + salt * 74.7) * 43758.5453, 1.0)


def _value_noise(x: Field, y: Field, salt: float = 0.0) -> Field:
    i, j = np.floor(x), np.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    top = _noise(i, j, salt) * (1 - u) + _noise(i + 1, j, salt) * u
    low = _noise(i, j + 1, salt) * (1 - u) + _noise(i + 1, j + 1, salt) * u
    return top * (1 - v) + low * v


def clouds(x: Field, y: Field, size: float, salt: float = 0.0) -> Field:
    """Return smooth noise in about [0, 1], features of `size` units."""
    first = _value_noise(x / size, y / size, salt)
    return first * 0.65 + _value_noise(x / size * 2.1, y / size * 2.1, salt + 3) * 0.35


def ramp(stops: Sequence[tuple[float, Colour]], start: tuple[float, float], end: tuple[float, float]) -> Fill:
    """Return a linear gradient from `start` to `end`, stops at fractions of the way."""
    (x0, y0), (x1, y1) = start, end
    norm = (x1 - x0) ** 2 + (y1 - y0) ** 2
    places, colours = [s[0] for s in stops], np.array([s[1] for s in stops])

    def fill(x: Field, y: Field) -> Pixels:
        t = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / norm
        bands = [np.interp(t, places, colours[:, c]) for c in range(3)]
        return np.stack(bands, axis=-1).astype(np.float32)

    return fill


def sweep(stops: Sequence[tuple[float, Colour]], cx: float, cy: float) -> Fill:
    """Return a conical gradient about (cx, cy), stops at fractions of a turn: brushed metal."""
    places, colours = [s[0] for s in stops], np.array([s[1] for s in stops])

    def fill(x: Field, y: Field) -> Pixels:
        t = np.mod(np.arctan2(y - cy, x - cx) / (2 * np.pi), 1.0)
        bands = [np.interp(t, places, colours[:, c]) for c in range(3)]
        return np.stack(bands, axis=-1).astype(np.float32)

    return fill


def plain(main: Colour, *_: object) -> Fill:
    """Return one flat colour."""
    return lambda x, _y: _paper(main, x)


def stripes(main: Colour, second: Colour, period: float = 6.0, share: float = 0.5, turn: float = 0.0) -> Fill:
    """Return stripes; turn 0 is horizontal, in degrees."""
    sin, cos = np.sin(np.radians(turn)), np.cos(np.radians(turn))

    def fill(x: Field, y: Field) -> Pixels:
        along = np.mod(y * cos + x * sin, period)
        inside = _above(along, period * (1 - share)) * _above(period - along, 0.0)
        return _blend(main, second, inside)

    return fill


def gingham(main: Colour, second: Colour, period: float = 5.0) -> Fill:
    """Return a two-colour vichy check: overlapping bands of `second` over `main`."""

    def fill(x: Field, y: Field) -> Pixels:
        bands = [_above(np.abs(np.mod(v, period) - period / 2), period / 4) for v in (x, y)]
        return _blend(main, second, (bands[0] + bands[1]) / 2)

    return fill


def tartan(main: Colour, second: Colour, period: float = 13.0) -> Fill:
    """Return a tartan: wide bands, thin lines and where they cross."""
    third = mix(lighter(second, 0.6), main, 0.1)

    def fill(x: Field, y: Field) -> Pixels:
        image = _paper(main, x)
        for v in (x, y):
            along = np.abs(np.mod(v, period) - period / 2)
            image = _blend(image, second, _above(along, period * 0.3) * 0.55)
            image = _blend(image, third, _above(0.4, np.abs(along - period * 0.15)) * 0.7)
        return image

    return fill


def dots(main: Colour, second: Colour, period: float = 5.0, share: float = 0.25) -> Fill:
    """Return polka dots on a staggered grid."""

    def fill(x: Field, y: Field) -> Pixels:
        row = np.floor(y / period)
        u = np.mod(x + np.mod(row, 2) * period / 2, period) - period / 2
        v = np.mod(y, period) - period / 2
        return _blend(main, second, _above(period * share, np.hypot(u, v)))

    return fill


def flowers(main: Colour, second: Colour, period: float = 9.0) -> Fill:
    """Return scattered five-petal flowers with leaves."""
    leaf = mix(main, (0.22, 0.45, 0.3), 0.75)
    heart = mix(second, (0.98, 0.78, 0.25), 0.8)

    def fill(x: Field, y: Field) -> Pixels:
        image = _paper(main, x)
        for salt, size, petal in ((0.0, 0.40, second), (9.0, 0.22, lighter(second, 0.45))):
            sx, sy = x + salt * period / 17, y + salt * period / 19
            j = np.floor(sy / period)
            sx = sx + np.mod(j, 2) * period / 2
            i = np.floor(sx / period)
            u = np.mod(sx, period) - period * (0.42 + 0.16 * _noise(i, j, salt))
            v = np.mod(sy, period) - period * (0.42 + 0.16 * _noise(j, i, salt + 1))
            angle = np.arctan2(v, u) + _noise(i, j, salt + 2) * 6
            radius = np.hypot(u, v)
            reach = period * size
            blade = reach * (0.25 + 0.95 * np.abs(np.sin(angle * 1.5 + 0.6)) ** 6)
            image = _blend(image, leaf, _above(blade, radius) * 0.9)
            edge = reach * (0.55 + 0.4 * np.abs(np.cos(angle * 2.5)))
            image = _blend(image, petal, _above(edge, radius))
            image = _blend(image, mix(petal, heart, 0.5), _above(reach * 0.34, radius, 0.5) * 0.6)
            image = _blend(image, heart, _above(reach * 0.24, radius))
        return image

    return fill


def camouflage(main: Colour, second: Colour, period: float = 11.0) -> Fill:
    """Return camouflage in four tones of the two colours."""
    tones = (mix(main, second, 0.5), second, mix(second, (0.1, 0.1, 0.1), 0.55))

    def fill(x: Field, y: Field) -> Pixels:
        image = _paper(main, x)
        for n, tone in enumerate(tones):
            field = clouds(x, y * 1.5, period, salt=11 + 7 * n)
            image = _blend(image, tone, _above(field, 0.55 + 0.05 * n, 0.02))
        return image

    return fill


def tie_dye(main: Colour, second: Colour, period: float = 12.0) -> Fill:
    """Return a spiral of dye around the middle of the picture."""

    def fill(x: Field, y: Field) -> Pixels:
        u, v = x - 50, y - 50
        radius = np.hypot(u, v) + (clouds(x, y, 7) - 0.5) * 9
        wave = np.sin(np.arctan2(v, u) * 3 + radius / period * 4)
        wave = wave + (clouds(x, y, 3, 5) - 0.5) * 1.1
        image = _blend(main, second, np.clip(wave * 0.6 + 0.5, 0, 1))
        return _blend(image, (1, 1, 1), np.clip(-wave - 0.55, 0, 0.6))

    return fill


def animal(main: Colour, second: Colour, period: float = 6.0) -> Fill:
    """Return leopard spots: broken dark rings with a warmer heart."""
    heart = mix(main, second, 0.4)

    def fill(x: Field, y: Field) -> Pixels:
        u, v = x + (clouds(x, y, 4) - 0.5) * 3.4, y + (clouds(x, y, 4, 8) - 0.5) * 3.4
        j = np.floor(v / period)
        u = u + np.mod(j, 2) * period / 2
        i = np.floor(u / period)
        du, dv = np.mod(u, period) - period / 2, np.mod(v, period) - period / 2
        radius = np.hypot(du, dv) / period
        size = 0.27 + 0.1 * _noise(i, j)
        gap = np.cos(np.arctan2(dv, du) * 2 + _noise(i, j, 4) * 6) > 0.72
        image = _blend(main, heart, _above(size, radius, 0.04))
        ring = _above(0.085, np.abs(radius - size), 0.03)
        return _blend(image, second, np.where(gap, ring * 0.15, ring))

    return fill


def zigzag(main: Colour, second: Colour, period: float = 7.0) -> Fill:
    """Return chevrons."""

    def fill(x: Field, y: Field) -> Pixels:
        tooth = np.abs(np.mod(x, period) - period / 2) * 0.9
        along = np.abs(np.mod(y + tooth, period) - period / 2)
        return _blend(main, second, _above(period * 0.22, along))

    return fill


def speckle(main: Colour, second: Colour, period: float = 2.6) -> Fill:
    """Return the fine uneven specks of enamel or stoneware."""

    def fill(x: Field, y: Field) -> Pixels:
        i, j = np.floor(x / period), np.floor(y / period)
        u = np.mod(x, period) - period * (0.3 + 0.4 * _noise(i, j))
        v = np.mod(y, period) - period * (0.3 + 0.4 * _noise(i, j, 1))
        size = period * 0.26 * _noise(i, j, 2) ** 2
        return _blend(main, second, _above(size, np.hypot(u, v)) * (size > 0.1))

    return fill


def fade(main: Colour, second: Colour) -> Fill:
    """Return a vertical gradient over the middle of the picture."""
    return ramp([(0, main), (0.2, main), (0.85, second), (1, second)], (50, 15), (50, 88))


def waves(main: Colour, second: Colour, period: float = 7.0) -> Fill:
    """Return rolling wave lines."""

    def fill(x: Field, y: Field) -> Pixels:
        along = np.mod(y + np.sin(x / period * 3.0) * period * 0.22, period)
        return _blend(main, second, _above(period * 0.17, np.abs(along - period / 2)))

    return fill


def denim(main: Colour, second: Colour) -> Fill:
    """Return washed denim: a fine twill over cloudy fading."""

    def fill(x: Field, y: Field) -> Pixels:
        twill = np.sin((x * 1.0 + y * 1.7) * 5.2) * 0.5 + 0.5
        image = _blend(main, lighter(main, 0.35), twill * 0.22)
        worn = np.clip(clouds(x, y * 0.6, 12, 2) * 1.6 - 0.65, 0, 1)
        return _blend(image, second, worn * 0.3)

    return fill


def woven(main: Colour, second: Colour, period: float = 3.0) -> Fill:
    """Return a basket weave."""

    def fill(x: Field, y: Field) -> Pixels:
        i, j = np.floor(x / period), np.floor(y / period)
        over = np.mod(i + j, 2)
        u = np.mod(np.where(over > 0, x, y), period) / period
        ridge = np.sin(u * np.pi) ** 0.7
        strands = np.abs(np.sin(np.where(over > 0, y, x) / period * np.pi * 3))
        return _blend(second, main, np.clip(ridge * 0.75 + strands * 0.25, 0, 1))

    return fill


def wavy(fill: Fill, amount: float = 0.7, length: float = 9.0) -> Fill:
    """Return the fill bent gently, as cloth hangs."""
    return lambda x, y: fill(
        x + amount * np.sin(y / length + 1.3), y + amount * np.sin(x / length * 1.3 + y / 40)
    )


def around(fill: Fill, cx: float, radius: float, sag: float) -> Fill:
    """Return the fill wrapped around an upright cylinder, seen from `sag` units above at its edge."""

    def wrapped(x: Field, y: Field) -> Pixels:
        across = np.clip((x - cx) / radius, -0.97, 0.97)
        return fill(cx + np.arcsin(across) * radius, y - sag * np.sqrt(1 - across**2))

    return wrapped


PATTERNS: dict[str, Callable[..., Fill]] = {
    "plain": plain, "stripes": stripes, "gingham": gingham, "tartan": tartan, "dots": dots,
    "flowers": flowers, "camouflage": camouflage, "tie-dye": tie_dye, "animal": animal,
    "zigzag": zigzag, "speckle": speckle, "fade": fade, "waves": waves, "denim": denim,
    "woven": woven,
}  # fmt: skip
