"""Canecas: straight, rounded, enamel and tall mugs with the handle on the right."""

# an outline reads best on one line
# ruff: noqa: E501

from __future__ import annotations

import numpy as np

from .canvas import GLAZE, Canvas, Colour, Field, Fill, Finish, area, blur, relief, stroke
from .curves import ellipse, line, mirror, ribbon, shift
from .fills import around, ramp
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, lighter, mix, rgb
from .studio import ground

AXIS = 44.0
MATT = Finish(0.75, 0.12, 18)

# left side from the rim down to the foot, then half-width, height and depth of the mouth
SHAPES: dict[str, tuple[str, float, float, float]] = {
    "reta": ("20,27! 20,60 20.8,75 24.4,79.2 31,81.4 44,82!", 24, 27, 4.8),
    "bojuda": ("22,27! 20.2,33 15.6,46 16.4,60 23,74 30,79! 30.6,81 44,82.4!", 22, 27, 4.4),
    "esmaltada": ("18.8,30! 20.4,31.4! 21,68 22,75 25.6,79 32,80.6 44,81!", 25.4, 30, 5.0),
    "alta": ("25,18! 25.8,50 28,78 31,81.4 37,83 44,83.4!", 19, 18, 3.7),
}
HANDLES = {
    "reta": "66,37 78,36 84.5,46 83,59 76,67 66,69",
    "bojuda": "66,39 79,37 87,46 85,59 77,67 67,69",
    "esmaltada": "66,39 80,37 86,47 83,59 75,66 66,68",
    "alta": "60,33 73,31 79,42 77,56 71,65 58,68",
}


def _draw_handle(canvas: Canvas, key: str, colour: Colour, finish: Finish) -> None:
    middle = line(HANDLES[key])
    width = 4.0 if key == "esmaltada" else 5.4
    mask = area(ribbon(middle, width * 1.25, width * 1.15, -width * 0.25))
    canvas.cast(mask, 1.6, 0.18, (1.2, 1.6))
    canvas.paint(mask, colour, relief(mask, width * 0.5, 1.0), finish)
    canvas.darken(blur(stroke(0.7, shift(middle, 0.4, 1.5)), 0.6) * mask, 0.35)


def _draw_body(canvas: Canvas, key: str, fill: Fill, finish: Finish) -> Field:
    """Paint the body with the shading of a cylinder; return its mask."""
    side = line(SHAPES[key][0])
    body = area(np.concatenate([side, mirror(side, AXIS)[::-1]]))
    canvas.paint(body, fill, relief(body, 2.0, 0.5), finish)
    half = SHAPES[key][1]
    across = (canvas.x - AXIS) / half
    canvas.darken(body * np.clip((across - 0.05) / 0.95, 0, 1) ** 1.7, 0.42)
    canvas.darken(body * np.clip((-across - 0.62) / 0.4, 0, 1) ** 1.5, 0.2)
    top = SHAPES[key][2]
    canvas.darken(body * np.clip((canvas.y - 68) / 16, 0, 1) ** 2, 0.22)
    canvas.lighten(body * np.exp(-(((across + 0.58) / 0.10) ** 2)), 0.34 if finish is GLAZE else 0.14)
    canvas.lighten(body * np.exp(-(((across - 0.80) / 0.05) ** 2)), 0.13)
    canvas.darken(blur(area(ellipse(AXIS, top + 1.8, half, 4.6)), 0.7) * body, 0.14)
    return body


def _draw_mouth(canvas: Canvas, key: str, inside: Colour, rim: Colour) -> None:
    _, half, y, depth = SHAPES[key]
    mouth = area(ellipse(AXIS, y, half, depth))
    canvas.paint(mouth, rim)
    canvas.lighten(mouth * area(ellipse(AXIS - 1, y - 0.4, half, depth)), 0.25)
    hollow = area(ellipse(AXIS, y + 0.25, half - 1.1, depth - 0.75))
    dark, bright = mix(inside, (0.25, 0.22, 0.25), 0.42), lighter(inside, 0.1)
    canvas.paint(
        hollow,
        ramp([(0, dark), (0.55, mix(dark, bright, 0.5)), (1, bright)], (AXIS - half, y), (AXIS + half, y)),
    )
    canvas.darken(blur(area(ellipse(AXIS - 3, y - 2.4, half, depth)), 1.2) * hollow, 0.35)
    canvas.lighten(stroke(0.35, ellipse(AXIS, y, half - 0.4, depth - 0.3, (20, 160))), 0.55)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a mug standing on the table."""
    key = "reta" if style.key == "estampada" else style.key
    base = rgb(variant.colour)
    has_print = bool(variant.motif)
    finish = MATT if variant.pattern == "speckle" else GLAZE
    ground(canvas, 22, 66, 81.6 if key != "alta" else 82.8, 2.6)
    handle = rgb(variant.second) if variant.note == "Bicolor" else base
    _draw_handle(canvas, key, handle, finish)
    body = _draw_body(
        canvas,
        key,
        around(variant.fill(), AXIS, 30 if key == "bojuda" else SHAPES[key][1] * 1.12, 3.6),
        finish,
    )
    if has_print:
        _, _, y, _ = SHAPES[key]
        motif(canvas, variant.motif, (AXIS - 1, (y + 82) / 2 + 1.5), 32, (rgb(variant.second), base), body)
    inside = (
        rgb("branco")
        if key == "esmaltada"
        else rgb(variant.second)
        if variant.note == "Bicolor"
        else lighter(base, 0.15)
    )
    if variant.pattern not in ("plain", "speckle"):
        inside = rgb("off-white")
    rim = rgb("azul-marinho") if key == "esmaltada" and brightness(base) > 0.5 else inside
    if key == "esmaltada":
        canvas.darken(stroke(0.9, ellipse(AXIS, 30.9, 25, 5, (0, 180))) * body, 0.25)
    _draw_mouth(canvas, key, inside, rim if key == "esmaltada" else mix(inside, (1, 1, 1), 0.1))


STYLES = (
    Style("reta", "Caneca de Cerâmica", "Barro Claro", 39.90, (
        Variant("branco"), Variant("preto"), Variant("turquesa", "branco", note="Bicolor"),
        Variant("amarelo", "branco", note="Bicolor"),
        Variant("vermelho", "branco", note="Bicolor"),
    )),
    Style("estampada", "Caneca Estampada", "Barro Claro", 49.90, (
        Variant("branco", "vermelho", motif="heart", note="Coração"),
        Variant("creme", "verde-escuro", motif="leaf", note="Folhagem"),
        Variant("branco", "preto", motif="cat", note="Gatinho"),
        Variant("azul-claro", "azul-marinho", motif="mountain", note="Montanha"),
    )),
    Style("bojuda", "Caneca Bojuda", "Casa Ninho", 44.90, (
        Variant("areia", "marrom", "speckle"), Variant("menta", "verde-escuro", "speckle"),
        Variant("lilás", "roxo", "speckle"), Variant("branco", "azul", "flowers", note="Florida"),
        Variant("branco", "coral", "dots", note="de Bolinhas"),
    )),
    Style("esmaltada", "Caneca Esmaltada", "Trilha Norte", 54.90, (
        Variant("branco"), Variant("azul-marinho", "branco", "speckle"), Variant("vermelho", "branco", "speckle"),
        Variant("verde-escuro", "branco", "speckle"),
    )),
    Style("alta", "Caneca Alta Latte", "Casa Ninho", 46.90, (
        Variant("branco", "azul", "stripes", note="Listrada"), Variant("creme", "terracota", "zigzag", note="Chevron"),
        Variant("menta", "branco", "waves", note="Ondas"), Variant("coral", "amarelo", "fade", note="Degradê"),
    )),
)  # fmt: skip
FAMILY = Family("caneca", "Caneca", True, STYLES, draw)
