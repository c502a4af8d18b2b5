"""Perfumes: square, round, tall, faceted and apothecary bottles in coloured glass."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import CLOTH, METAL, PLASTIC, Canvas, Colour, Field, Finish, area, blur, relief, stroke
from .curves import Points, curve, ellipse, line, mirror, rectangle, scale, symmetric
from .fills import ramp
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, darker, lighter, mix, rgb
from .studio import ground

GLASS = Finish(0.45, 0.5, 40)

# outline (left half), level of the liquid, foot, half-width at the foot
BOTTLES: dict[str, tuple[str, float, float, float]] = {
    "quadrado": (
        "50,35! 45,35! 45,38! 32,38! 29.4,39.1 28.4,41.6! 28.4,78.4! 29.4,80.9 32,82! 50,82!",
        45,
        82,
        21,
    ),
    "redondo": (
        "50,34! 45.4,34! 45.4,36! 36,39.9 28.8,47.6 25.5,60 28.8,72.4 36,80.1 40.4,82! 50,82!",
        49,
        82,
        10,
    ),
    "alto": (
        "50,27! 46,27! 45.6,29.6! 40,29.8! 37.5,31 36.6,33.4! 36.6,79! 37.5,81.7 40,82.6! 50,82.6!",
        37,
        82.6,
        13,
    ),
    "lapidado": ("50,36! 45,36! 45,39! 36,40! 26.4,50! 31.4,81! 34,82! 50,82!", 48, 82, 16.6),
    "botica": (
        "50,33! 45.6,33! 45.6,38.4! 44.4,42.4 35,43.8 29.8,46.2 28,51! 30,78.6! 31,81 33.4,82! 50,82!",
        52,
        82,
        18,
    ),
}
CAPS: dict[str, tuple[float, float, float, float]] = {
    # left, top, width, height; the neck ring lies under it
    "quadrado": (41.4, 18, 17.2, 15), "redondo": (43.6, 20.6, 12.8, 11.6), "alto": (43, 10.6, 14, 14.6),
    "lapidado": (42, 19, 16, 15), "botica": (43.6, 19, 12.8, 12),
}  # fmt: skip


def _inner(points: Points, wall: float, floor: float) -> Points:
    """Return the hollow of a bottle: its outline drawn in by `wall`, with a thick glass floor."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    span = (high - low) / 2
    shrunk = scale(
        points, (span[0] - wall) / span[0], (span[1] - floor / 2) / span[1], (middle[0], middle[1])
    )
    return shrunk + [0, -floor / 2 + 0.6]


def _draw_glass(canvas: Canvas, key: str, juice: Colour) -> Field:
    """Paint thick clear walls and the liquid in them; return the mask of the bottle."""
    text, level, foot, _ = BOTTLES[key]
    points = symmetric(text)
    body = area(points)
    canvas.paint(body, mix((0.87, 0.89, 0.9), juice, 0.18), relief(body, 2.2, 0.8), GLASS, 0.82)
    hollow = area(_inner(points, 2.3, 5.6))
    canvas.darken(np.clip(blur(hollow, 0.5) - hollow, 0, 1) * body, 0.5)
    canvas.paint(hollow, mix((0.95, 0.96, 0.96), juice, 0.14), opacity=0.75)
    liquid = hollow * np.clip((canvas.y - level) * 4 + 0.5, 0, 1)
    left, right = points[:, 0].min(), points[:, 0].max()
    deep, lit = darker(juice, 0.28), lighter(juice, 0.28)
    canvas.paint(
        liquid,
        ramp([(0, deep), (0.18, juice), (0.34, lit), (0.6, juice), (1, deep)], (left, 50), (right, 54)),
        opacity=0.9,
    )
    glow = np.exp(-(((canvas.x - 55) / 13) ** 2) - (((canvas.y - foot + 9) / 9) ** 2))
    canvas.lighten(liquid * glow.astype(np.float32), 0.45, lighter(juice, 0.5))
    surface = area(ellipse(50, level, (right - left) / 2 - 2.6, 0.9)) * hollow
    canvas.paint(surface, lighter(juice, 0.45), opacity=0.85)
    tube = stroke(0.8, line(f"50,{level - 10} 50.2,60 51.4,{foot - 8}")) * hollow
    canvas.lighten(tube, 0.35)
    return body


def _draw_shine(canvas: Canvas, key: str, body: Field) -> None:
    """Lay window reflections and the bright and dark edges of glass."""
    points = symmetric(BOTTLES[key][0])
    edge = np.clip(body - np.clip(blur(body, 0.7) * 2 - 1, 0, 1), 0, 1)
    canvas.darken(edge * np.clip((canvas.x - 50) / 12, 0, 1), 0.4)
    canvas.lighten(edge * np.clip((50 - canvas.x) / 12, 0, 1), 0.25)
    rim = np.clip(body - np.clip(blur(body, 0.3) * 2 - 1, 0, 1), 0, 1)
    canvas.darken(rim, 0.5)
    if key == "lapidado":
        facets = [
            "45,39! 36,40! 38.4,52!",
            "36,40! 26.4,50! 38.4,52!",
            "26.4,50! 31.4,81! 38.4,52!",
            "38.4,52! 31.4,81! 40,81!",
        ]
        for n, text in enumerate(facets):
            canvas.lighten(area(curve(text)) * body, (0.2, 0.42, 0.28, 0.1)[n])
            canvas.darken(area(mirror(curve(text))) * body, (0.05, 0.2, 0.26, 0.1)[n])
        ridges = [
            line("38.4,52 61.6,52"),
            line("38.4,52 40,81"),
            line("61.6,52 60,81"),
            line("45,39 38.4,52"),
            line("55,39 61.6,52"),
        ]
        canvas.lighten(stroke(0.4, *ridges) * body, 0.5)
        return
    inner = area(_inner(points, 3.4, 5))
    left = points[:, 0].min()
    window = area(curve(f"{left},34! {left + 8},34! {left + 7},84! {left},84!")) * inner
    fade = np.clip(1.2 - (canvas.y - 36) / 50, 0.15, 1)
    canvas.lighten(blur(window, 0.35) * fade, 0.34)
    strip = area(rectangle(100 - left - 5.4, 44, 1.3, 30, 0.6)) * body
    canvas.lighten(strip, 0.4)


def _draw_neck(canvas: Canvas, y: float, width: float, cap: Colour, is_metal: bool) -> None:
    """Draw the metal ring between bottle and cap."""
    neck = area(rectangle(50 - width / 2, y - 1, width, 4.6, 0.6))
    ring = rgb("dourado") if not is_metal or brightness(cap) < 0.5 else rgb("prata")
    stops = [
        (0, darker(ring, 0.4)),
        (0.25, lighter(ring, 0.5)),
        (0.45, ring),
        (0.8, darker(ring, 0.3)),
        (1, ring),
    ]
    canvas.paint(neck, ramp(stops, (50 - width / 2, 0), (50 + width / 2, 0)))
    canvas.seam(line(f"{50 - width / 2},{y + 1.6} {50 + width / 2},{y + 1.6}"), 0.3, 0.4)


def _draw_cap(canvas: Canvas, key: str, colour: Colour, is_metal: bool) -> None:
    x, y, width, height = CAPS[key]
    _draw_neck(canvas, y + height, 9.4 if key == "quadrado" else 10.4, colour, is_metal)
    if key == "redondo":
        cap = area(ellipse(50, y + height / 2, width / 2 + 0.6, height / 2 + 0.6))
        canvas.paint(cap, colour, relief(cap, 5.0, 1.0), METAL if is_metal else PLASTIC)
        canvas.lighten(blur(area(ellipse(47.6, y + 3.6, 1.8, 1.3)), 0.5), 0.6)
        return
    cap = area(rectangle(x, y, width, height, 1.0 if key != "botica" else 3))
    lit, dim = lighter(colour, 0.5), darker(colour, 0.4)
    stops = [
        (0, dim),
        (0.08, colour),
        (0.22, lit),
        (0.34, colour),
        (0.7, darker(colour, 0.12)),
        (0.9, dim),
        (0.96, colour),
        (1, dim),
    ]
    canvas.paint(
        cap, ramp(stops, (x, 0), (x + width, 0)), relief(cap, 0.9, 0.5), METAL if is_metal else PLASTIC
    )
    if key == "botica":
        grooves = [
            np.array([[gx, y + 2.0], [gx, y + height - 0.6]]) for gx in np.arange(x + 1, x + width, 1.25)
        ]
        canvas.darken(stroke(0.4, *grooves), 0.3)
    else:
        canvas.lighten(area(rectangle(x + 0.5, y + 0.3, width - 1, 0.6, 0.3)), 0.45)


def _draw_label(canvas: Canvas, key: str, ink: Colour, paper: Colour, body: Field) -> None:
    """Draw a small paper label with an emblem and lines where words would be."""
    y = {"quadrado": 56, "redondo": 54, "alto": 52, "lapidado": 57, "botica": 56}[key]
    half = {"quadrado": 11, "redondo": 9.5, "alto": 8.6, "lapidado": 8, "botica": 12}[key]
    height = 16 if key != "alto" else 18
    if key in ("quadrado", "botica", "alto"):
        label = area(rectangle(50 - half, y, half * 2, height, 0.8))
        canvas.cast(label, 0.6, 0.25, (0.3, 0.4))
        canvas.paint(label, paper, relief(label, 0.4, 0.3), CLOTH)
        frame = np.clip(
            area(rectangle(50 - half + 1, y + 1, half * 2 - 2, height - 2, 0.4))
            - area(rectangle(50 - half + 1.3, y + 1.3, half * 2 - 2.6, height - 2.6, 0.3)),
            0,
            1,
        )
        canvas.paint(frame, ink, opacity=0.7)
    motif(
        canvas,
        "leaf" if key == "botica" else "rings" if key == "alto" else "mark",
        (50, y + 5.4),
        6,
        (ink, ink if key != "alto" else paper),
        body,
    )
    for n, width in enumerate((half * 0.62, half * 0.4)):
        canvas.paint(
            stroke(
                0.55 if n == 0 else 0.35,
                line(f"{50 - width},{y + 10.4 + n * 2.1} {50 + width},{y + 10.4 + n * 2.1}"),
            ),
            ink,
            opacity=0.85,
        )


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a bottle standing on the table, its colour thrown into the shadow."""
    key, juice = style.key, rgb(variant.colour)
    _, _, foot, half = BOTTLES[key]
    ground(canvas, 50 - half, 50 + half, foot, 2.0)
    caustic = blur(area(ellipse(57, foot + 2.6, half * 0.75, 1.5)), 1.6)
    canvas.lighten(caustic, 0.5, juice)
    body = _draw_glass(canvas, key, juice)
    paper = rgb("off-white") if brightness(juice) < 0.75 else rgb("preto")
    ink = rgb("grafite") if paper == rgb("off-white") else rgb("dourado")
    if key in ("redondo", "lapidado"):
        ink = lighter(juice, 0.85) if brightness(juice) < 0.6 else darker(juice, 0.65)
    _draw_label(canvas, key, ink, paper, body)
    _draw_shine(canvas, key, body)
    _draw_cap(canvas, key, rgb(variant.second), variant.second in ("dourado", "prata", "rosé", "cobre"))


STYLES = (
    Style("quadrado", "Perfume Brisa Quadrada", "Essência do Sal", 189.90, (
        Variant("azul-claro", "prata"), Variant("âmbar", "preto"), Variant("verde", "preto"), Variant("rosa", "dourado"), Variant("grafite", "prata"),
    )),
    Style("redondo", "Perfume Lua Cheia", "Jardim de Dentro", 219.90, (
        Variant("rosa", "dourado"), Variant("lilás", "prata"), Variant("âmbar", "dourado"), Variant("turquesa", "prata"),
    )),
    Style("alto", "Perfume Colônia Alta", "Essência do Sal", 129.90, (
        Variant("menta", "prata"), Variant("amarelo", "branco"), Variant("azul", "prata"), Variant("salmão", "branco"),
    )),
    Style("lapidado", "Perfume Cristal Lapidado", "Jardim de Dentro", 329.90, (
        Variant("roxo", "dourado"), Variant("vermelho", "dourado"), Variant("champanhe", "dourado"), Variant("azul-marinho", "prata"), Variant("verde-escuro", "dourado"),
    )),
    Style("botica", "Perfume Botica", "Barro Claro", 99.90, (
        Variant("âmbar", "café"), Variant("verde-escuro", "preto"), Variant("azul", "preto"), Variant("marrom", "dourado"),
    )),
)  # fmt: skip
FAMILY = Family("perfume", "Perfume", False, STYLES, draw)
