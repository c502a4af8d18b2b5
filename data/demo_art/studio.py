"""Photo studio: background papers, and shadows under standing products."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, area, blur
from .curves import ellipse
from .palette import mix, rgb

PAPERS = ("#f4f0ea", "#eef0f1", "#f1ece6", "#e9edf0", "#f3eee9", "#efeeea", "#f2ebe6", "#ebefed")


def hang_paper(canvas: Canvas, number: int, floor: float | None = None) -> None:
    """Fill the canvas with background paper. floor: y of the table edge in units, None without a table."""
    paper = rgb(PAPERS[number % len(PAPERS)])
    glow = np.hypot(canvas.x - 38, canvas.y - 36) / 75
    light = 1.025 - 0.075 * glow**2
    if floor is not None:
        below = 1 / (1 + np.exp(-(canvas.y - floor) / 2.5))
        light = light - 0.03 * below + 0.012 * below * (canvas.y - floor) / 20
    base = np.asarray(mix(paper, (1, 1, 1), 0.12), np.float32)
    canvas.pixels[:] = np.clip(base * light[..., None], 0, 1)


def ground(canvas: Canvas, left: float, right: float, y: float, depth: float = 2.4) -> None:
    """Draw the shadow of a product that stands on the table, from x = left to right at height y."""
    middle, half = (left + right) / 2, (right - left) / 2
    wide = area(ellipse(middle + 3.5, y + 0.6, half * 1.08, depth * 1.5))
    canvas.darken(blur(wide, 2.6), 0.30)
    near = area(ellipse(middle + 1.0, y, half * 0.97, depth * 0.62))
    canvas.darken(blur(near, 0.9), 0.55)
    canvas.darken(blur(area(ellipse(middle, y - 0.2, half * 0.92, depth * 0.3)), 0.4), 0.5)
