"""Óculos: sunglasses and reading glasses seen from the front, arms folded behind."""

# an outline reads best on one line
# ruff: noqa: E501

from __future__ import annotations

import numpy as np

from .canvas import METAL, PLASTIC, Canvas, Colour, Fill, area, blur, relief
from .curves import Points, curve, ellipse, line, mirror, ribbon, scale
from .fills import animal, ramp
from .items import Family, Style, Variant
from .palette import darker, lighter, mix, rgb

# the left lens, and how thick the rim is
LENSES: dict[str, tuple[str, float]] = {
    "aviador": (
        "11.6,43.4 16,40.2 28,39.4 40,40.4 45.2,43.8 44.6,51 40.6,59 33.6,65.2 25.6,66.4 18,62.8 13,55",
        0.85,
    ),
    "redondo": ("", 1.0),
    "classico": (
        "10.6,41 20,38.6 34,38.8 44.6,41.4 45.4,47 43,55.6 37,61 26,62.4 16,60.4 11.4,54 10,46",
        2.4,
    ),
    "gatinho": ("8,37.6 18,38 32,40 44,43.4 45,49 41.6,57 33,61 22,60.4 14,55 10.4,47", 2.2),
    "esportivo": ("6,43 20,40.4 36,41 47,44.4! 46.4,50 42,56 34,59.6 22,60 11,54.6", 1.5),
    "quadrado": (
        "9.8,42.4 12.4,39.4 27,38.8 42,39.6 44.6,42.6 44.2,51 42.6,58 39,61 27,61.8 15.6,61 12,58 10.2,51",
        1.9,
    ),
}
MARKS = {"tartaruga": ("#8a5427", "#2b1a12")}


def _lens(key: str) -> Points:
    if key == "redondo":
        return ellipse(28.4, 51, 15.8, 15.4)
    return curve(LENSES[key][0])


def _outer(key: str) -> Points:
    """Return the lens outline grown by the rim."""
    lens, width = _lens(key), LENSES[key][1]
    middle = (lens.min(axis=0) + lens.max(axis=0)) / 2
    span = (lens.max(axis=0) - lens.min(axis=0)) / 2
    grow = (span + width) / span
    return scale(lens, grow[0], grow[1], (middle[0], middle[1]))


def _frame_fill(variant: Variant) -> Fill | Colour:
    if variant.colour in MARKS:
        light, dark = (rgb(v) for v in MARKS[variant.colour])
        return animal(light, dark, 5.5)
    return rgb(variant.colour)


def _draw_arms(canvas: Canvas, fill: Fill | Colour, is_metal: bool) -> None:
    """Draw the folded arms, seen through and beneath the lenses."""
    width = 1.0 if is_metal else 1.9
    for n, points in enumerate(
        (line("9,46 24,49.4 50,51.4 80,52.8"), mirror(line("9,46 24,47.6 50,49 80,50.4")))
    ):
        arm = area(ribbon(points, width * 1.3, width))
        canvas.cast(arm, 1.2, 0.25, (0.6, 3.0))
        canvas.paint(arm, fill, relief(arm, 0.7, 0.8), METAL if is_metal else PLASTIC, 0.95)
        canvas.darken(arm, 0.18 + 0.1 * n)


def _draw_lens(canvas: Canvas, points: Points, tint: Colour, is_clear: bool, is_mirrored: bool) -> None:
    mask = area(points)
    top, bottom = points[:, 1].min(), points[:, 1].max()
    left, right = points[:, 0].min(), points[:, 0].max()
    if is_clear:
        canvas.paint(mask, tint, opacity=0.16)
        canvas.darken((mask - np.clip(blur(mask, 0.9) * 1.6 - 0.6, 0, 1)).clip(0, 1), 0.12)
    else:
        low = lighter(tint, 0.42) if not is_mirrored else mix(lighter(tint, 0.2), (1, 0.7, 0.45), 0.55)
        fill = ramp([(0, darker(tint, 0.25)), (0.45, tint), (1, low)], (left, top), (left + 3, bottom))
        canvas.paint(mask, fill, opacity=0.93 if is_mirrored else 0.88)
        edge = (mask - np.clip(blur(mask, 1.4) * 2 - 1, 0, 1)).clip(0, 1)
        canvas.darken(edge, 0.25)
    slant = (right - left) * 0.3
    for at, width, amount in ((0.22, 0.16, 0.2), (0.46, 0.05, 0.14)):
        x = left + (right - left) * at
        w = (right - left) * width
        streak = area(
            np.array(
                [
                    [x + slant, top - 1],
                    [x + slant + w, top - 1],
                    [x + w - slant * 0.3, bottom + 1],
                    [x - slant * 0.3, bottom + 1],
                ]
            )
        )
        fade = np.clip(1.15 - (canvas.y - top) / (bottom - top), 0, 1)
        canvas.lighten(streak * mask * fade, amount * (1.5 if is_clear else 1.0))


def _bridge(key: str) -> list[Points]:
    return {
        "aviador": [
            ribbon(line("43,43.4 50,41.6 57,43.4"), 1.3, 1.3),
            ribbon(line("44.4,48 50,46.2 55.6,48"), 1.1, 1.1),
        ],
        "redondo": [ribbon(line("43.6,48 47,45.2 50,44.6 53,45.2 56.4,48"), 1.4, 1.4)],
        "classico": [curve("45,42! 50,41.4 55,42! 55.6,47.6! 52.6,45.8 50,45.4 47.4,45.8 44.4,47.6!")],
        "gatinho": [curve("44.4,43.4! 50,43 55.6,43.4! 56,48.4! 53,46.8 50,46.4 47,46.8 44,48.4!")],
        "esportivo": [curve("44.6,42.6! 50,41.8 55.4,42.6! 55.2,52! 52.4,48 50,47.4 47.6,48 44.8,52!")],
        "quadrado": [curve("45.4,43.4! 50,42.8 54.6,43.4! 55,48! 52.6,46.4 50,46 47.4,46.4 45,48!")],
    }[key]


def _draw_frame(canvas: Canvas, key: str, fill: Fill | Colour, is_metal: bool) -> None:
    lens, outer = _lens(key), _outer(key)
    holes = area(lens, mirror(lens))
    solids = [outer, mirror(outer), *_bridge(key)]
    tab = {
        "gatinho": "10.4,36! 4,33.4 3.4,36 8,44.6! 12,42!",
        "classico": "11,40! 6.4,39.6 6,44 9.4,47.4! 12,44!",
        "esportivo": "9,39.6! 4,40 3,43.6 7.4,50! 11,44!",
        "quadrado": "10.6,38.6! 6,38.4 5.8,43 9,46.4! 12,44!",
    }.get(key)
    if tab:
        solids += [curve(tab), mirror(curve(tab))]
    else:
        hinge = ribbon(line("12.8,44 9.4,43.6 8,46"), 1.3, 1.5)
        solids += [hinge, mirror(hinge)]
    frame = np.clip(area(*solids) - holes, 0, 1)
    canvas.cast(frame, 0.8, 0.3, (0.5, 1.0))
    canvas.paint(frame, fill, relief(frame, 0.55 if is_metal else 1.1, 1.0), METAL if is_metal else PLASTIC)
    if is_metal:
        for side in (ellipse(45.6, 52.6, 1.1, 2.2), ellipse(54.4, 52.6, 1.1, 2.2)):
            pad = area(side)
            canvas.paint(pad, (0.92, 0.91, 0.88), relief(pad, 0.7, 0.8), PLASTIC, 0.8)
    elif tab:
        pins = area(ellipse(9, 41.6, 0.5, 0.8), ellipse(91, 41.6, 0.5, 0.8))
        canvas.paint(pins, rgb("prata"))


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw glasses standing on their folded arms."""
    key = "quadrado" if style.key == "grau" else style.key
    is_metal = key in ("aviador", "redondo")
    is_clear = variant.pattern == "clear"
    fill = _frame_fill(variant)
    canvas.darken(blur(area(ellipse(51, 66.5, 42, 2.6)), 2.4), 0.28)
    canvas.darken(blur(area(ellipse(50, 65, 36, 1.2)), 0.9), 0.25)
    _draw_arms(canvas, fill, is_metal)
    lens = _lens(key)
    tint = rgb("azul-claro") if is_clear else rgb(variant.second)
    for points in (lens, mirror(lens)):
        _draw_lens(canvas, points, tint, is_clear, variant.pattern == "mirror")
    _draw_frame(canvas, key, fill, is_metal)


STYLES = (
    Style("aviador", "Óculos de Sol Aviador", "Farol", 199.90, (
        Variant("dourado", "verde-escuro"), Variant("prata", "grafite"), Variant("dourado", "marrom"), Variant("preto", "azul", "mirror", note="Espelhado"),
    )),
    Style("redondo", "Óculos de Sol Redondo", "Farol", 179.90, (
        Variant("dourado", "vinho"), Variant("prata", "azul-marinho"), Variant("preto", "preto"), Variant("cobre", "âmbar"),
    )),
    Style("classico", "Óculos de Sol Clássico", "Farol", 159.90, (
        Variant("preto", "preto"), Variant("tartaruga", "marrom"), Variant("azul-marinho", "azul-marinho"), Variant("vermelho", "grafite"),
    )),
    Style("gatinho", "Óculos de Sol Gatinho", "Lume", 169.90, (
        Variant("preto", "grafite"), Variant("vinho", "vinho"), Variant("tartaruga", "café"), Variant("rosa", "roxo"),
    )),
    Style("esportivo", "Óculos de Sol Esportivo", "Veloz", 229.90, (
        Variant("preto", "laranja", "mirror"), Variant("branco", "azul", "mirror"), Variant("grafite", "verde", "mirror"),
    )),
    Style("grau", "Óculos de Grau Quadrado", "Lume", 149.90, (
        Variant("preto", pattern="clear"), Variant("tartaruga", pattern="clear"), Variant("azul", pattern="clear"),
    )),
)  # fmt: skip
FAMILY = Family("oculos", "Óculos", False, STYLES, draw)
