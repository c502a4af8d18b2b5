"""Camisetas: flat-lay shirts with crew neck, V neck, polo collar, raglan and long sleeves."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import CLOTH, Canvas, Colour, Field, Fill, area, creases, relief, stroke
from .curves import Points, curve, ellipse, line, mirror, ribbon, symmetric
from .fills import wavy
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, darker, lighter, mix, rgb

TORSO = "41,13.4! 30,17.2! 26.4,25 26.6,37! 27.6,52 27.2,70 26.6,88.4! 38,89.4 50,89.6!"
SLEEVES = {
    "short": "30.4,16.8! 21.6,21 15.6,29.6 8.8,42.6! 13,46 20.4,48.6! 24.4,42 27.6,37.6! 29.4,28 30.4,16.8!",
    "long": "30.4,16.8! 22,21 17.4,31 12.6,52 8.6,78.2! 12,79.6 16.6,79.8! 21,62 24.6,48 27.8,38! 29.4,28 30.4,16.8!",
}
CUFFS = {"short": "8.8,42.6 13,46 20.4,48.6", "long": "8.6,78.2 12,79.6 16.6,79.8"}
NECKS = {
    "crew": "41.2,14 42.8,19.4 50,22.6 57.2,19.4 58.8,14",
    "v": "40.4,13.2 43,20 50,30! 57,20 59.6,13.2",
    "polo": "41,13.2 44,18.4 50,23.6! 56,18.4 59,13.2",
}
BACK_NECK = "41,13.6 45,15.6 50,16.2 55,15.6 59,13.6"


def _torso_folds() -> Field:
    """Return the drape of a shirt laid flat: pulls from the armpits, waves down the sides."""
    pulls = [line("27.4,38 33,42 39,44"), line("72.6,38 68,43 63,44.6"), line("27.6,44 33,51 36,60")]
    falls = [
        line("34,60 36,72 35,88"),
        line("63,54 61,70 64,88"),
        line("72,46 68,58 69,72"),
        line("46,66 47,78 45,89"),
    ]
    return creases(pulls, 3.2, 0.7) + creases(falls, 4.6, 0.8) + creases([line("31,20 36,28 38,34")], 4, 0.4)


def _sleeve_folds(length: str) -> Field:
    if length == "long":
        return creases(
            [
                line("27,38 21,40 17,38"),
                line("25,44 20,49 15.4,48"),
                line("20,60 16,62 12,61"),
                line("23,30 17,50 14,74"),
            ],
            2.4,
            0.6,
        )
    return creases(
        [line("27,36 21,34 16,36"), line("28,30 22,38 18,46"), line("27,40 20,40 14,42")], 2.4, 0.55
    )


def _rib(canvas: Canvas, middle: Points, width: float, colour: Colour) -> None:
    """Draw a knitted collar or cuff band with its fine ribs."""
    mask = area(ribbon(middle, width, width))
    canvas.cast(mask, 0.5, 0.22, (0.2, 0.4))
    canvas.paint(mask, colour, relief(mask, width * 0.45, 0.6), CLOTH)
    outline = ribbon(middle, width, width)
    count = len(outline) // 2
    inner, outer = outline[:count], outline[count:][::-1]
    step = max(1, count // 34)
    ribs = [np.stack([inner[i], outer[i]]) for i in range(0, count, step)]
    canvas.darken(stroke(0.22, *ribs) * mask, 0.16)


def _draw_sleeve(canvas: Canvas, length: str, fill: Fill | Colour, trim: Colour, is_right: bool) -> None:
    turn = mirror if is_right else (lambda points: points)
    mask = area(turn(curve(SLEEVES[length])))
    folds = _sleeve_folds(length)
    canvas.paint(mask, fill, relief(mask, 2.4, 0.5, folds[:, ::-1] if is_right else folds), CLOTH)
    cuff = turn(line(CUFFS[length]))
    if length == "long":
        _rib(canvas, cuff + [0.4, -1.2], 3.2, trim)
    else:
        towards = [0.5, -1.5] if not is_right else [-0.5, -1.5]
        canvas.seam(cuff + towards, 0.25, 0.25)


def _draw_neck(canvas: Canvas, neck: str, main: Colour, trim: Colour) -> None:
    """Draw the inside of the back, then the collar band over it."""
    front, back = line(NECKS[neck]), line(BACK_NECK)
    hole = area(np.concatenate([front, back[::-1]]), ellipse(50, 15, 8.6, 2.4))
    hole *= area(np.concatenate([front, [[62, 8], [38, 8]]]))
    canvas.paint(hole, darker(main, 0.28))
    canvas.darken(area(ellipse(50, 12.6, 10, 4)) * hole, 0.25)
    label = area(curve("48.2,16.6! 51.8,16.6! 51.8,19! 48.2,19!")) * hole
    canvas.paint(label, lighter(main, 0.75))
    _rib(canvas, line("40.9,12.9 45,14.6 50,15.1 55,14.6 59.1,12.9"), 1.8, darker(trim, 0.1))
    if neck != "polo":
        _rib(canvas, front, 2.6, trim)


def _draw_polo(canvas: Canvas, trim: Colour, main: Colour) -> None:
    """Draw the placket with buttons and the two collar leaves."""
    placket = area(curve("47.8,22.6! 52.2,22.6! 52.2,40! 47.8,40!"))
    canvas.cast(placket, 0.4, 0.2, (0.2, 0.3))
    canvas.paint(placket, main, relief(placket, 0.8, 0.4))
    for y in (27, 32.2, 37.4):
        button = area(ellipse(50, y, 0.85, 0.85))
        canvas.cast(button, 0.3, 0.4, (0.15, 0.25))
        canvas.paint(button, lighter(trim, 0.6), relief(button, 0.5, 0.8))
    leaf = curve("41,12.6! 44.6,18 50,23.4! 45.4,28.6! 40.6,22 38.4,14.6!")
    for points in (leaf, mirror(leaf)):
        mask = area(points)
        canvas.cast(mask, 0.8, 0.35, (0.3, 0.7))
        canvas.paint(mask, trim, relief(mask, 0.9, 0.6))
        canvas.stitch(points[30:44], darker(trim, 0.2), 0.2, 0.5)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a shirt laid flat."""
    main, second = rgb(variant.colour), rgb(variant.second)
    key = style.key
    length = "long" if key == "longa" else "short"
    torso = area(symmetric(TORSO))
    sleeves = area(curve(SLEEVES[length]), mirror(curve(SLEEVES[length])))
    canvas.cast(np.maximum(torso, sleeves), 1.6, 0.42, (0.9, 1.5))
    trim = second if key in ("raglan", "polo") else darker(main, 0.07)
    fill = wavy(variant.fill())
    for is_right in (False, True):
        _draw_sleeve(canvas, length, second if key == "raglan" else fill, trim, is_right)
    canvas.cast(torso, 0.6, 0.3, (0, 0))
    canvas.paint(torso, fill, relief(torso, 2.6, 0.42, _torso_folds()), CLOTH)
    for points in _armholes(key):
        canvas.seam(points, 0.3, 0.32)
    if key == "raglan":
        _draw_yokes(canvas, second)
    if variant.motif:
        tone = rgb("branco") if brightness(main) < 0.4 else rgb("preto")
        motif(canvas, variant.motif, (50, 45), 26, (second, tone), torso)
    hem = line("26.7,85.8 38,86.8 50,87 62,86.8 73.3,85.8")
    canvas.stitch(hem, mix(main, (0, 0, 0) if brightness(main) > 0.3 else (1, 1, 1), 0.28), 0.2, 0.6)
    _draw_neck(canvas, {"polo": "polo", "v": "v"}.get(key, "crew"), main, trim)
    if key == "polo":
        _draw_polo(canvas, trim, main)


def _armholes(key: str) -> list[Points]:
    if key == "raglan":
        return []
    left = line("30.2,17 28.6,26 27,37.4")
    return [left, mirror(left)]


def _draw_yokes(canvas: Canvas, colour: Colour) -> None:
    """Draw the raglan shoulders, from the neck to the armpit."""
    yoke = curve("41,13.2! 30,16.9! 26.2,25 26.4,37.4! 26.8,38! 34,29 42.4,19.4!")
    for points in (yoke, mirror(yoke)):
        mask = area(points)
        canvas.paint(mask, colour, relief(mask, 1.2, 0.15, _torso_folds()), CLOTH)
    seam = line("26.8,37.6 34,29 42.4,19.4")
    canvas.seam(seam)
    canvas.seam(mirror(seam))


STYLES = (
    Style("basica", "Camiseta Básica", "Algodoeiro", 49.90, (
        Variant("branco"), Variant("preto"), Variant("cinza"), Variant("azul-marinho"), Variant("vermelho"),
        Variant("mostarda"),
    )),
    Style("listrada", "Camiseta Listrada", "Algodoeiro", 59.90, (
        Variant("branco", "azul-marinho", "stripes"), Variant("branco", "vermelho", "stripes"),
        Variant("areia", "verde-militar", "stripes"),
    )),
    Style("estampada", "Camiseta Estampada", "Maré Alta", 69.90, (
        Variant("branco", "coral", motif="sunset", note="Pôr do Sol"), Variant("preto", "amarelo", motif="bolt", note="Raio"),
        Variant("azul-claro", "azul-marinho", motif="wave", note="Onda"),
        Variant("grafite", "turquesa", motif="mountain", note="Montanha"),
    )),
    Style("raglan", "Camiseta Raglan", "Algodoeiro", 64.90, (
        Variant("branco", "vermelho"), Variant("branco", "azul"), Variant("cinza", "preto"),
    )),
    Style("polo", "Camiseta Polo", "Porto Sereno", 99.90, (
        Variant("azul-marinho", "branco"), Variant("verde", "off-white"), Variant("branco", "azul-marinho"),
    )),
    Style("longa", "Camiseta Manga Longa", "Porto Sereno", 79.90, (
        Variant("terracota"), Variant("verde-militar"), Variant("lilás", "branco", "tie-dye", note="Tie-Dye"),
    )),
)  # fmt: skip
FAMILY = Family("camiseta", "Camiseta", True, STYLES, draw)
