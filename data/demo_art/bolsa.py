"""Bolsas: tote, crossbody, structured, bucket and clutch bags, standing, seen from the front."""

# an outline reads best on one line
# ruff: noqa: E501

from __future__ import annotations

import numpy as np

from .canvas import (
    CLOTH,
    METAL,
    Canvas,
    Colour,
    Field,
    Fill,
    Finish,
    area,
    blur,
    creases,
    relief,
    stroke,
)
from .curves import Points, curve, dashes, ellipse, line, mirror, rectangle, ribbon, symmetric
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, darker, lighter, rgb
from .studio import ground

BODIES = {
    "tote": "50,40.4! 24,40! 22.4,60 20.6,82! 22,84.4 28,85! 50,85.2!",
    "tiracolo": "50,46! 24,46! 20,49.4 19.4,62 20.4,78! 23,82.4 30,83.4! 50,83.6!",
    "estruturada": "50,41! 29,41! 26,42.6 22.4,62 19.4,80! 20.4,83.4 25,84.4! 50,84.6!",
    "balde": "50,39! 31,39.6! 28.4,54 24.6,72 24.4,79! 27,83.4 36,85 50,85.4!",
    "clutch": "50,45! 16,45! 13.4,47.4 13.4,62 14,74! 16,76.8 22,77.4! 50,77.6!",
}
FEET = {
    "tote": (85, 29),
    "tiracolo": (83.4, 29),
    "estruturada": (84.4, 30),
    "balde": (85, 24),
    "clutch": (77.4, 35),
}
GRAIN = Finish(0.8, 0.18, 16)


def _finish(key: str, variant: Variant) -> Finish:
    return CLOTH if key == "tote" or variant.pattern in ("woven", "denim") else GRAIN


def _thread(colour: Colour) -> Colour:
    return lighter(colour, 0.45) if brightness(colour) < 0.55 else darker(colour, 0.28)


def _strap(canvas: Canvas, middle: Points, width: float, colour: Colour, finish: Finish = GRAIN) -> None:
    """Draw a strap or handle of constant width with a stitched edge."""
    mask = area(ribbon(middle, width, width))
    canvas.cast(mask, 1.1, 0.25, (0.8, 1.0))
    canvas.paint(mask, colour, relief(mask, width * 0.45, 0.9), finish)
    if width > 2.2:
        half = len(middle)
        edges = ribbon(middle, width * 0.66, width * 0.66)
        for edge in (edges[:half], edges[half:]):
            canvas.stitch(edge, _thread(colour), 0.22, 0.7)


def _chain(canvas: Canvas, middle: Points, metal: Colour) -> None:
    """Draw a chain: links seen flat and edge-on by turns."""
    links = dashes(middle, 1.5, 0.4)
    for n, link in enumerate(links):
        mask = stroke(1.5 if n % 2 else 0.9, link)
        if n % 2:
            mask = np.clip(mask - stroke(0.6, link[1:-1] if len(link) > 3 else link), 0, 1)
        canvas.cast(mask, 0.5, 0.22, (0.4, 0.6))
        canvas.paint(mask, metal, relief(mask, 0.5, 1.0), METAL)


def _ring(canvas: Canvas, x: float, y: float, radius: float, metal: Colour) -> None:
    hoop = np.clip(
        area(ellipse(x, y, radius, radius)) - area(ellipse(x, y, radius - 0.75, radius - 0.75)), 0, 1
    )
    canvas.cast(hoop, 0.5, 0.35, (0.3, 0.4))
    canvas.paint(hoop, metal, relief(hoop, 0.5, 1.0), METAL)


def _draw_back(canvas: Canvas, key: str, trim: Colour, metal: Colour) -> None:
    """Draw what stands behind the body: the far handle, the inside, the long strap."""
    if key == "tote":
        _strap(canvas, line("36,42 36.4,24 42,13.4 50,11 58,13.4 63.6,24 64,42"), 2.6, darker(trim, 0.3))
        inside = area(ellipse(50, 40.4, 26, 2.0))
        canvas.paint(inside, darker(trim, 0.55))
    elif key == "estruturada":
        _strap(canvas, line("37,43 38,28 43,20.4 50,18.4 57,20.4 62,28 63,43"), 2.4, darker(trim, 0.35))
    elif key == "balde":
        _strap(canvas, line("31.4,44 31,26 39,12.4 50,8.6 61,12.4 69,26 68.6,44"), 3.0, trim)
        inside = area(ellipse(50, 39.4, 19, 3.0))
        canvas.paint(inside, darker(trim, 0.6), relief(inside, 1, -0.4))
    elif key == "tiracolo":
        _chain(canvas, line("24.6,49 24,34 33,16.6 50,10.4 67,16.6 76,34 75.4,49"), metal)
    elif key == "clutch":
        _chain(canvas, line("84,50 90,60 88,74 78,83 64,84.6"), metal)


def _folds(key: str) -> Field:
    if key == "balde":
        lines = [
            line(f"{50 + (x - 50) * 0.74},41 {x},58 {50 + (x - 50) * 1.06},70")
            for x in (30, 37, 44, 51, 58, 65, 71)
        ]
        return creases(lines, 3.4, 1.1)
    if key == "tote":
        return creases(
            [
                line("29,44 31,60 27,80"),
                line("70,44 68,58 72,78"),
                line("42,62 40,72 43,84"),
                line("60,66 58,76 60,84"),
            ],
            4.4,
            0.8,
        )
    return creases([line("24,70 36,76 52,77"), line("76,60 70,68 66,76")], 6, 0.4)


def _stitch_inside(canvas: Canvas, points: Points, thread: Colour, inset: float = 0.955) -> None:
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    canvas.stitch(centre + (points - centre) * [inset, inset - 0.012], thread, 0.26, 0.9)


def _flap(canvas: Canvas, text: str, fill: Fill | Colour, finish: Finish, thread: Colour) -> None:
    points = symmetric(text)
    mask = area(points)
    canvas.cast(mask, 1.1, 0.42, (0.3, 1.2))
    canvas.paint(mask, fill, relief(mask, 1.6, 0.6), finish)
    _stitch_inside(canvas, points, thread)


def _turn_lock(canvas: Canvas, x: float, y: float, metal: Colour) -> None:
    plate = area(rectangle(x - 3, y - 2, 6, 4, 1.2))
    canvas.cast(plate, 0.6, 0.45, (0.3, 0.5))
    canvas.paint(plate, metal, relief(plate, 0.9, 0.9), METAL)
    knob = area(rectangle(x - 0.7, y - 1.5, 1.4, 3, 0.6))
    canvas.cast(knob, 0.4, 0.4, (0.2, 0.3))
    canvas.paint(knob, lighter(metal, 0.25), relief(knob, 0.5, 1.0), METAL)


def _draw_front(canvas: Canvas, key: str, variant: Variant, body: Field, metal: Colour) -> None:
    """Draw flaps, pockets, handles and metal in front of the body."""
    main, trim = rgb(variant.colour), _trim(key, variant)
    finish, fill, thread = _finish(key, variant), variant.fill(), _thread(main)
    if key == "tote":
        _strap(canvas, line("34,52 34.6,40 36,26 42,17 50,14.8 58,17 64,26 65.4,40 66,52"), 3.0, trim)
        for x in (34, 66):
            patch = area(rectangle(x - 2.6, 44, 5.2, 9.4, 0.6))
            canvas.cast(patch, 0.5, 0.3, (0.2, 0.4))
            canvas.paint(patch, trim, relief(patch, 0.8, 0.6), GRAIN)
            canvas.stitch(rectangle(x - 1.9, 44.8, 3.8, 7.8, 0.4), _thread(trim), 0.22, 0.6)
        base = (
            area(curve("21.6,73! 50,74 78.4,73! 79.4,82! 78,84.4 72,85! 50,85.2! 28,85! 22,84.4 20.6,82!"))
            * body
        )
        if variant.note == "Bicolor":
            canvas.paint(base, trim, relief(base, 1.4, 0.6), GRAIN)
            canvas.stitch(line("21.8,74.6 50,75.6 78.2,74.6"), _thread(trim), 0.26, 0.8)
        if variant.motif:
            motif(canvas, variant.motif, (50, 64), 24, (rgb(variant.second), main), body)
    elif key == "tiracolo":
        _flap(canvas, "50,45! 24,45! 20.4,47.6 20,58 24,65.6 36,69 50,69.6!", fill, finish, thread)
        _turn_lock(canvas, 50, 66.6, metal)
        for side in (24.6, 75.4):
            _ring(canvas, side, 48, 1.9, metal)
    elif key == "estruturada":
        _flap(canvas, "50,40.4! 28.4,40.4! 25.6,43 24.6,52! 34,55.6 50,56.4!", fill, finish, thread)
        _strap(canvas, line("35,50 36,34 42,26 50,24 58,26 64,34 65,50"), 2.8, trim)
        for x in (35, 65):
            _ring(canvas, x, 49.6, 2.0, metal)
        _turn_lock(canvas, 50, 55, metal)
        canvas.seam(line("27.4,46 24,64 22.4,83"), 0.4, 0.35)
        canvas.seam(mirror(line("27.4,46 24,64 22.4,83")), 0.4, 0.35)
    elif key == "balde":
        _draw_bucket(canvas, trim, metal, body)
    else:
        _flap(canvas, "50,44.4! 16.4,44.4! 13.4,46.6 13.6,51! 32,61 50,68.4!", fill, finish, thread)
        _turn_lock(canvas, 50, 63.4, metal)


def _draw_bucket(canvas: Canvas, trim: Colour, metal: Colour, body: Field) -> None:
    """Draw the base, the eyelets and the drawstring with its tassels."""
    base = (
        area(
            curve(
                "24.6,73! 36,76.4 50,77.4 64,76.4 75.4,73! 76,80! 73,83.4 64,85 50,85.4 36,85 27,83.4 24,80!"
            )
        )
        * body
    )
    canvas.cast(base, 0.5, 0.3, (0, -0.3))
    canvas.paint(base, trim, relief(base, 1.6, 0.6), GRAIN)
    canvas.stitch(line("25.4,74.6 36,78 50,79 64,78 74.6,74.6"), _thread(trim), 0.26, 0.9)
    cord = line("31,47 40,49.4 50,50 60,49.4 69,47")
    for x, y in ((35, 48.2), (41, 49.4), (46.6, 50), (53.4, 50), (59, 49.4), (65, 48.2)):
        _ring(canvas, x, y, 1.25, metal)
    mask = stroke(0.9, cord)
    canvas.cast(mask, 0.5, 0.35, (0.2, 0.5))
    canvas.paint(mask, trim, relief(mask, 0.5, 0.9), GRAIN)
    for text, x, y in (("50,50 47,56 46.6,64", 46.6, 64), ("50,50 53,57 53.6,66.4", 53.6, 66.4)):
        string = stroke(0.8, line(text))
        canvas.cast(string, 0.5, 0.35, (0.3, 0.4))
        canvas.paint(string, trim, relief(string, 0.4, 0.9), GRAIN)
        tassel = area(curve(f"{x - 0.8},{y}! {x + 0.8},{y}! {x + 1.7},{y + 6}! {x - 1.7},{y + 6}!"))
        canvas.cast(tassel, 0.5, 0.35, (0.3, 0.4))
        canvas.paint(tassel, trim, relief(tassel, 0.8, 0.8), GRAIN)
        canvas.darken(
            stroke(0.2, *[np.array([[x + d * 0.5, y + 1.4], [x + d, y + 6]]) for d in (-1, -0.3, 0.4, 1.1)]),
            0.3,
        )
    for x in (31.4, 68.6):
        _ring(canvas, x, 43.4, 1.9, metal)


def _trim(key: str, variant: Variant) -> Colour:
    if key in ("tote", "balde") and not variant.motif:
        return rgb(variant.second) if variant.pattern in ("plain", "woven", "denim") else rgb("caramelo")
    if variant.motif:
        return darker(rgb(variant.colour), 0.12)
    return darker(rgb(variant.colour), 0.1)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a bag standing on the table."""
    key, main = style.key, rgb(variant.colour)
    foot, half = FEET[key]
    metal = rgb("prata") if variant.second == "prata" else rgb("dourado")
    trim = _trim(key, variant)
    ground(canvas, 50 - half, 50 + half, foot, 2.2)
    _draw_back(canvas, key, trim, metal)
    outline = symmetric(BODIES[key])
    body = area(outline)
    finish = _finish(key, variant)
    canvas.paint(body, variant.fill(), relief(body, 3.2, 0.75, _folds(key)), finish)
    canvas.darken(body * np.clip((canvas.y - foot + 14) / 16, 0, 1) ** 2, 0.22)
    canvas.darken(body * np.clip((canvas.x - 58) / 30, 0, 1), 0.2)
    if key in ("tiracolo", "clutch", "estruturada"):
        _stitch_inside(canvas, outline, _thread(main), 0.94)
    elif key == "tote":
        canvas.stitch(line("24.4,43 50,43.4 75.6,43"), _thread(main), 0.26, 0.9)
    else:
        rim = area(ribbon(line("31,40 40,42 50,42.4 60,42 69,40"), 2.0, 2.0))
        canvas.cast(rim, 0.4, 0.3, (0, 0.4))
        canvas.paint(rim, trim, relief(rim, 0.8, 0.8), GRAIN)
    _draw_front(canvas, key, variant, body, metal)
    canvas.darken(blur(area(ellipse(50, foot + 0.6, half, 0.7)), 0.5) * body, 0.3)


STYLES = (
    Style("tote", "Bolsa Tote", "Algodoeiro", 119.90, (
        Variant("off-white", "caramelo", note="Bicolor"), Variant("azul-marinho", "caramelo", note="Bicolor"),
        Variant("branco", "azul-marinho", "stripes", note="Listrada"), Variant("off-white", "verde-escuro", motif="leaf", note="Folhagem"),
        Variant("areia", "terracota", motif="sunset", note="Pôr do Sol"),
    )),
    Style("tiracolo", "Bolsa Tiracolo Corrente", "Lume", 189.90, (
        Variant("preto", "dourado"), Variant("vermelho", "dourado"), Variant("rosa", "dourado"),
        Variant("branco", "prata"),
    )),
    Style("estruturada", "Bolsa Estruturada", "Porto Sereno", 279.90, (
        Variant("caramelo", "dourado"), Variant("preto", "prata"), Variant("vinho", "dourado"), Variant("verde-escuro", "dourado"),
        Variant("bege", "dourado"),
    )),
    Style("balde", "Bolsa Saco", "Casa Ninho", 169.90, (
        Variant("terracota", "café"), Variant("mostarda", "marrom"), Variant("areia", "caramelo", "woven", note="de Palha"),
        Variant("azul-denim", "caramelo", "denim", note="Jeans"),
    )),
    Style("clutch", "Bolsa Clutch", "Lume", 139.90, (
        Variant("dourado", "champanhe"), Variant("preto", "prata"), Variant("azul", "prata"), Variant("bege", "preto", "animal", note="Onça"),
    )),
)  # fmt: skip
FAMILY = Family("bolsa", "Bolsa", True, STYLES, draw)
