"""Canvas for illustrations: anti-aliased masks, lighting of reliefs, soft shadows.

Pictures are drawn at twice their final size, masks at six times. Coordinates are in drawing units: the
picture is 100 x 100. Colours are float sRGB in [0, 1]. The light comes from the upper left.
"""

# `+ [x, y]` moves points
# ruff: noqa: RUF005

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .curves import Points, dashes, ribbon

Field = NDArray[np.floating[Any]]  # (H, W) over the whole canvas
Pixels = NDArray[np.floating[Any]]  # (h, w, 3)
Colour = tuple[float, float, float]
Fill = Callable[[Field, Field], Pixels]  # x, y in units

SIZE_PX = 384
CANVAS_PX = 2 * SIZE_PX
UNIT_PX = CANVAS_PX / 100
MASK_ZOOM = 3
RELIEF_PX = CANVAS_PX // 2
DARKEST, BRIGHTEST = 0.42, 1.2  # limits of the factor by which shading multiplies a colour
LIGHT = np.array([-0.46, -0.62, 0.64]) / np.linalg.norm([-0.46, -0.62, 0.64])
HALFWAY = (LIGHT + [0, 0, 1]) / np.linalg.norm(LIGHT + [0, 0, 1])


@dataclass(frozen=True)
class Finish:
    """Reflection of a material: contrast of the shading, strength and sharpness of the highlights."""

    diffuse: float = 0.8
    specular: float = 0.05
    gloss: float = 12.0


CLOTH = Finish(0.85, 0.05, 8)
LEATHER = Finish(0.8, 0.22, 22)
RUBBER = Finish(0.7, 0.08, 14)
GLAZE = Finish(0.7, 0.45, 50)
METAL = Finish(0.9, 0.6, 26)
PLASTIC = Finish(0.75, 0.35, 36)


@dataclass(frozen=True)
class Light:
    """Lighting of a relief, fields (H, W): shade is 1 on flat ground; glance, in [0, 1], is the highlight."""

    shade: Field
    glance: Field


def area(*outlines: Points) -> Field:
    """Return the coverage in [0, 1] of the union of closed outlines."""

    def draw(pen: ImageDraw.ImageDraw, origin: Points) -> None:
        for outline in outlines:
            pen.polygon(_dots(outline, origin), fill=255)

    return _cover(np.concatenate(outlines), 0.0, draw)


def stroke(width: float, *lines: Points) -> Field:
    """Return the coverage of open lines drawn with a round pen, `width` in units."""
    width_px = max(1, round(width * UNIT_PX * MASK_ZOOM))
    radius = width_px / 2

    def draw(pen: ImageDraw.ImageDraw, origin: Points) -> None:
        for points in lines:
            dots = _dots(points, origin)
            pen.line(dots, fill=255, width=width_px, joint="curve")
            for x, y in (dots[0], dots[-1]):
                pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)

    return _cover(np.concatenate(lines), width, draw)


def _dots(points: Points, origin: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in ((points * UNIT_PX - origin) * MASK_ZOOM).tolist()]


def _cover(points: Points, margin: float, draw: Callable[[ImageDraw.ImageDraw, Points], None]) -> Field:
    """Draw at MASK_ZOOM inside the bounding box of `points` only; return the whole field."""
    low = np.floor((points.min(axis=0) - margin) * UNIT_PX - 2).clip(0, CANVAS_PX - 1).astype(int)
    high = np.ceil((points.max(axis=0) + margin) * UNIT_PX + 2).clip(1, CANVAS_PX).astype(int)
    width, height = np.maximum(high - low, 1).tolist()
    image = Image.new("L", (width * MASK_ZOOM, height * MASK_ZOOM))
    draw(ImageDraw.Draw(image), low.astype(float))
    field = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
    part = np.asarray(image.reduce(MASK_ZOOM), np.float32) / np.float32(255)
    field[low[1] : low[1] + height, low[0] : low[0] + width] = part
    return field


def blur(field: Field, radius: float) -> Field:
    """Return the field under a near-Gaussian blur (three box passes), radius in units.

    Only the surroundings of nonzero values are computed.
    """
    half = max(1, round(radius * len(field) / 100 / 1.8))
    box = _bounds(field, margin=3 * half + 1)
    result = np.zeros_like(field)
    if box is not None:
        part = field[box]
        for axis in (0, 1):
            for _ in range(3):
                part = _box(part, half, axis)
        result[box] = part
    return result


def _box(field: Field, half: int, axis: int) -> Field:
    pad = [(0, 0), (0, 0)]
    pad[axis] = (half + 1, half)
    total = np.cumsum(np.pad(field, pad, mode="edge"), axis=axis, dtype=np.float64)
    size = field.shape[axis]
    window = 2 * half + 1
    if axis == 0:
        sums = total[window : window + size] - total[:size]
    else:
        sums = total[:, window : window + size] - total[:, :size]
    return (sums / window).astype(np.float32)


def _shrink(field: Field) -> Field:
    small: Field = field.reshape(RELIEF_PX, 2, RELIEF_PX, 2).mean(axis=(1, 3))
    return small


def _grow(field: Field) -> Field:
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(image.resize((CANVAS_PX,) * 2, Image.Resampling.BILINEAR), np.float32)


def relief(mask: Field, radius: float, depth: float = 1.0, folds: Field | None = None) -> Light:
    """Return the lighting of `mask` inflated like a cushion.

    radius: width of the rounded rim, units. depth: height of the cushion. folds: extra height.
    """
    small = _shrink(mask)
    wide = np.clip(blur(small, radius) * 2 - 1, 0, 1)
    rim = np.clip(blur(small, radius * 0.3) * 2 - 1, 0, 1)
    height = np.sqrt(1 - (1 - wide) ** 2) * 0.75 + rim * 0.25
    height = blur(height, 0.35) * (depth * radius)
    if folds is not None:
        height = height + _shrink(folds)
    return light_on(height)


def light_on(height: Field) -> Light:
    """Return the light on a height field (units of height, at relief resolution)."""
    per_unit = RELIEF_PX / 100
    slope_y, slope_x = np.gradient(height * per_unit)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    lambert = (-slope_x * LIGHT[0] - slope_y * LIGHT[1] + LIGHT[2]) / length
    glance = (-slope_x * HALFWAY[0] - slope_y * HALFWAY[1] + HALFWAY[2]) / length
    shade = np.clip(lambert, 0, None) / LIGHT[2]
    return Light(_grow(shade), _grow(np.clip(glance, 0, 1)))


def creases(lines: Sequence[Points], width: float, depth: float) -> Field:
    """Return a height field of soft folds along lines, tapering out at both ends (depth < 0 digs)."""
    tapered = [ribbon(points, width * 0.1, width * 0.1, width * 0.9) for points in lines]
    return blur(area(*tapered), width * 0.5) * np.float32(depth)


class Canvas:
    """A picture being drawn."""

    def __init__(self) -> None:
        axis = (np.arange(CANVAS_PX, dtype=np.float32) + 0.5) / np.float32(UNIT_PX)
        self.x, self.y = np.meshgrid(axis, axis)
        self.pixels = np.ones((CANVAS_PX, CANVAS_PX, 3), np.float32)

    def paint(
        self,
        mask: Field,
        fill: Fill | Colour,
        light: Light | None = None,
        finish: Finish = CLOTH,
        opacity: float = 1.0,
    ) -> None:
        """Paint `mask` with a colour or pattern, lit by `light`."""
        box = _bounds(mask)
        if box is None:
            return
        cover = (mask[box] * np.float32(opacity))[..., None]
        colour = fill(self.x[box], self.y[box]) if callable(fill) else np.asarray(fill, np.float32)
        if light is not None:
            shade = 1 + finish.diffuse * (light.shade[box] - 1)
            colour = colour * np.clip(shade, DARKEST, BRIGHTEST)[..., None]
            shine = finish.specular * light.glance[box] ** np.float32(finish.gloss)
            flat = finish.specular * np.float32(HALFWAY[2]) ** np.float32(finish.gloss)
            colour = colour + np.maximum(shine - flat, 0)[..., None]
        self.pixels[box] += (np.clip(colour, 0, 1) - self.pixels[box]) * cover

    def darken(self, mask: Field, amount: float, tint: Colour = (0.19, 0.17, 0.17)) -> None:
        """Multiply by a shadow: amount 1 under full mask gives `tint`."""
        box = _bounds(mask)
        if box is not None:
            cover = (mask[box] * np.float32(amount))[..., None]
            self.pixels[box] *= 1 - cover * (1 - np.asarray(tint, np.float32))

    def lighten(self, mask: Field, amount: float, tint: Colour = (1, 1, 1)) -> None:
        """Screen with light."""
        box = _bounds(mask)
        if box is not None:
            cover = (mask[box] * np.float32(amount))[..., None]
            self.pixels[box] = 1 - (1 - self.pixels[box]) * (1 - cover * np.asarray(tint, np.float32))

    def cast(self, mask: Field, blur_radius: float, amount: float, offset: tuple[float, float]) -> None:
        """Drop a soft shadow of `mask`, moved by `offset` units."""
        dx, dy = (round(v * UNIT_PX) for v in offset)
        self.darken(blur(np.roll(mask, (dy, dx), (0, 1)), blur_radius), amount)

    def seam(self, points: Points, width: float = 0.35, amount: float = 0.4) -> None:
        """Draw a seam: a dark groove with a lit lower edge."""
        self.lighten(stroke(width, points + [0.25, 0.3]), amount * 0.3)
        self.darken(stroke(width, points), amount)

    def stitch(self, points: Points, colour: Colour, width: float = 0.32, dash: float = 0.9) -> None:
        """Draw a line of stitches."""
        threads = dashes(points, dash, dash * 0.6)
        self.darken(stroke(width, *[t + [0.15, 0.2] for t in threads]), 0.3)
        self.paint(stroke(width, *threads), colour)

    def picture(self) -> Image.Image:
        """Return the finished picture, SIZE_PX square."""
        image = Image.fromarray((np.clip(self.pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
        return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.HAMMING)


def _bounds(mask: Field, margin: int = 0) -> tuple[slice, slice] | None:
    """Return the slices that enclose all nonzero values, or None if there are none."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left = max(rows[0] - margin, 0), max(cols[0] - margin, 0)
    return slice(top, rows[-1] + 1 + margin), slice(left, cols[-1] + 1 + margin)
