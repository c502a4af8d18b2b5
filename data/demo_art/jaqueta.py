"""Jaquetas: puffer, denim, bomber, biker and windbreaker, laid flat and zipped up."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import (
    CLOTH,
    LEATHER,
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
from .palette import darker, lighter, mix, rgb

NYLON = Finish(0.85, 0.22, 14)
TORSO = "42,15.6! 30,19.8! 26.2,29 25.6,42! 26.6,60 26.2,82.4! 38,83.8 50,84!"
SLEEVE = (
    "30.4,19.4! 22,23 17.6,34 13.4,54 9.6,76.4! 13,78.4 18.6,78.8! 22.4,64 25.4,50 27.4,42! 29,30 30.4,19.4!"
)
CUFF = "9.8,75.6 13.4,77.6 18.8,77.8"
FINISHES = {"puffer": NYLON, "corta": NYLON, "couro": LEATHER, "bomber": NYLON, "jeans": CLOTH}


def _both(points: Points) -> tuple[Points, Points]:
    return points, mirror(points)


def _quilt(canvas: Canvas, period: float, tilt: float) -> Field:
    """Return the height of down tubes, tilted by `tilt` units of height per unit of width."""
    phase = np.mod(canvas.y + tilt * (canvas.x - 50) - 3.0, period) / period
    tube = np.sqrt(np.clip(1 - (phase * 2 - 1) ** 2, 0, 1))
    puckers = np.sin(canvas.x * 2.3 + np.sin(canvas.x * 0.9) * 2) * (1 - tube) * 0.18
    height: Field = (tube * 2.3 + puckers).astype(np.float32)
    return height


def _folds(key: str) -> Field:
    pulls = [
        line("27,43 33,46 38,47"),
        line("73,43 67,46 62,47"),
        line("31,60 33,70 32,82"),
        line("67,58 68,70 66,82"),
        line("43,50 41,62 42,80"),
        line("31,24 36,32 37,40"),
    ]
    return creases(pulls, 4.0, 0.9 if key in ("couro", "corta") else 0.7)


def _sleeve_folds() -> Field:
    lines = [
        line("27,43 21,46 16.6,45"),
        line("26,50 20,54 14.6,53"),
        line("23,60 18,62 13,61"),
        line("19,69 15,71 11.6,70"),
        line("25,28 20,42 17,60"),
    ]
    return creases(lines, 2.6, 0.8)


def _draw_sleeves(canvas: Canvas, key: str, fill: Fill | Colour, cuff_colour: Colour) -> None:
    for is_right in (False, True):
        turn = mirror if is_right else (lambda points: points)
        mask = area(turn(curve(SLEEVE)))
        if key == "puffer":
            folds = _quilt(canvas, 8.4, 0.35 if is_right else -0.35)
        else:
            folds = _sleeve_folds()[:, ::-1] if is_right else _sleeve_folds()
        canvas.paint(mask, fill, relief(mask, 3.0, 0.8, folds), FINISHES[key])
        _rib(
            canvas,
            turn(line(CUFF)),
            3.6 if key in ("bomber", "puffer", "corta") else 2.8,
            cuff_colour,
            key in ("bomber",),
        )
        if key == "jeans":
            canvas.stitch(turn(line("10.4,72.4 14,74.4 19.4,74.8")), rgb("caramelo"), 0.3, 0.7)


def _rib(canvas: Canvas, middle: Points, width: float, colour: Colour, is_knit: bool) -> None:
    """Draw a cuff or hem band; knitted ones show their ribs."""
    outline = ribbon(middle, width, width)
    mask = area(outline)
    canvas.cast(mask, 0.6, 0.3, (0, -0.3))
    canvas.paint(mask, colour, relief(mask, 1.2, 0.7), CLOTH)
    if is_knit:
        count = len(outline) // 2
        step = max(1, count // 40)
        ribs = [np.stack([outline[i], outline[-1 - i]]) for i in range(0, count, step)]
        canvas.darken(stroke(0.28, *ribs) * mask, 0.28)


def _draw_zip(canvas: Canvas, points: Points, metal: Colour) -> None:
    """Draw a zip: tape, teeth and the slider at its top."""
    canvas.darken(blur(stroke(2.2, points), 0.5), 0.35)
    canvas.paint(stroke(1.1, points), darker(metal, 0.35))
    canvas.paint(stroke(0.8, *dashes(points, 0.35, 0.35)), lighter(metal, 0.2))
    x, y = points[0]
    pull = area(rectangle(x - 0.7, y, 1.4, 4.2, 0.6))
    canvas.cast(pull, 0.4, 0.4, (0.3, 0.4))
    canvas.paint(pull, metal, relief(pull, 0.5, 0.9), METAL)


def _draw_collar(canvas: Canvas, key: str, main: Colour, trim: Colour) -> None:
    inside = area(ellipse(50, 15.6, 8.4, 3.4))
    canvas.paint(inside, darker(main, 0.5))
    if key == "corta":
        hood = area(curve("39,18! 38,9.4 43,4.6 50,3.8 57,4.6 62,9.4 61,18! 56,21.4 50,22.4 44,21.4"))
        canvas.cast(hood, 0.8, 0.35, (0.2, 0.7))
        canvas.paint(
            hood,
            main,
            relief(hood, 2.4, 0.8, creases([line("41,10 46,14 49,20"), line("59,10 54,14 51,20")], 2, 0.6)),
            NYLON,
        )
        hollow = area(curve("42,16! 42,10.6 45.6,7.6 50,7.2 54.4,7.6 58,10.6 58,16! 54,19.6 50,20.6 46,19.6"))
        canvas.paint(hollow, darker(trim, 0.45), relief(hollow, 2, -0.5))
        for cord in (line("46.4,20 46,24 46.4,28"), line("53.6,20 54,24 53.6,28")):
            canvas.paint(stroke(0.6, cord), lighter(trim, 0.3))
    elif key == "bomber":
        _rib(canvas, line("41.4,16 44.6,12.8 50,12 55.4,12.8 58.6,16"), 3.0, darker(trim, 0.25), True)
        _rib(canvas, line("41.6,15.6 44.4,19.6 50,21.6 55.6,19.6 58.4,15.6"), 3.0, trim, True)
    elif key == "puffer":
        mask = area(curve("40.6,17.4! 41,10.6 50,9 59,10.6 59.4,17.4! 55,20.4 50,21 45,20.4"))
        canvas.cast(mask, 0.8, 0.4, (0.2, 0.6))
        folds = _quilt(canvas, 6.0, 0.0)
        canvas.paint(mask, main, relief(mask, 2.0, 0.9, folds), NYLON)
    else:
        _draw_lapels(canvas, key, main)


def _draw_lapels(canvas: Canvas, key: str, main: Colour) -> None:
    back = area(curve("41.4,16.4! 42.6,11.4 50,10.2 57.4,11.4 58.6,16.4! 50,18.4"))
    canvas.paint(back, darker(main, 0.15), relief(back, 1.4, 0.6), FINISHES[key])
    if key == "jeans":
        shapes = _both(curve("42,12! 45.6,17 50,21! 44,28.4! 38.6,21 38.4,16.4!"))
    else:
        shapes = _both(curve("42.4,12! 45,20 49,30.6! 41,37! 35.4,28! 39,25.6! 36.6,20.4!"))
    for points in shapes:
        mask = area(points)
        canvas.cast(mask, 0.9, 0.42, (0.3, 0.8))
        canvas.paint(mask, lighter(main, 0.06), relief(mask, 1.0, 0.6), FINISHES[key])
        canvas.stitch(
            points[16:44] * 0.93 + points.mean(axis=0) * 0.07,
            rgb("caramelo") if key == "jeans" else darker(main, 0.4),
            0.26,
            0.7,
        )


def _pocket(canvas: Canvas, points: Points, colour: Fill | Colour, finish: Finish, thread: Colour) -> None:
    mask = area(points)
    canvas.cast(mask, 0.6, 0.35, (0.2, 0.5))
    canvas.paint(mask, colour, relief(mask, 0.8, 0.5), finish)
    centre = points.mean(axis=0)
    canvas.stitch(centre + (points - centre) * 0.88, thread, 0.26, 0.7)


def _denim_details(canvas: Canvas, fill: Fill) -> None:
    """Draw yoke, chest pockets with flaps, V seams, placket and copper buttons."""
    thread = mix(rgb("caramelo"), rgb("amarelo"), 0.25)
    for n in (0, 1):
        yoke, seam_in, seam_out = (
            _both(line(t))[n] for t in ("28.2,31.4 38,32.6 49,32", "38,42 41,60 44.6,79", "32,42 37,60 42,79")
        )
        for seam in (yoke, seam_in, seam_out):
            canvas.seam(seam, 0.35, 0.4)
            canvas.stitch(seam + [0.0, 0.8], thread, 0.28, 0.7)
        flap = _both(curve("32,33.4! 44,33.6! 44,38! 38,41! 32,37.8!"))[n]
        _pocket(canvas, flap, fill, CLOTH, thread)
        canvas.paint(area(ellipse(38 if n == 0 else 62, 38.6, 0.8, 0.8)), rgb("cobre"))
    canvas.seam(line("47.4,22 47.4,50 47.4,80"), 0.35, 0.45)
    canvas.stitch(line("52.4,24 52.4,50 52.4,80"), thread, 0.28, 0.7)
    for y in (30, 40, 50, 60, 70, 80):
        button = area(ellipse(50, y, 1.15, 1.15))
        canvas.cast(button, 0.3, 0.45, (0.2, 0.3))
        canvas.paint(button, rgb("cobre"), relief(button, 0.7, 0.9), METAL)


def _details(canvas: Canvas, key: str, variant: Variant, torso: Field) -> None:
    main, second = rgb(variant.colour), rgb(variant.second)
    metal = rgb("prata") if key != "bomber" else rgb("dourado")
    if key == "jeans":
        _denim_details(canvas, variant.fill())
    elif key == "couro":
        _draw_zip(canvas, line("45.6,34 44,56 42,83"), metal)
        for text in ("30,60 35,64.6 38.4,66", "70,60 66,64.6 62.4,66", "58,42 62,40 66,39.4"):
            _draw_zip(canvas, line(text), metal)
        belt = area(ribbon(line("26.6,79.6 40,81 50,81.2 60,81 73.4,79.6"), 3.6, 3.6))
        canvas.cast(belt, 0.6, 0.35, (0, 0.4))
        canvas.paint(belt, main, relief(belt, 1.2, 0.8), LEATHER)
        buckle = np.clip(
            area(rectangle(38, 78.6, 5, 4.6, 0.8)) - area(rectangle(39, 79.6, 3, 2.6, 0.4)), 0, 1
        )
        canvas.paint(buckle, metal, relief(buckle, 0.5, 0.9), METAL)
    else:
        _draw_zip(canvas, line("50,21.4 50,50 50,83.4"), metal)
        for pocket in _both(line("33,58 35.6,64 37,70")):
            canvas.seam(pocket, 0.7, 0.5)
            canvas.lighten(stroke(0.35, pocket + [-0.9, 0]), 0.25)
    if key == "bomber":
        _rib(canvas, line("26.6,81 38,82.6 50,82.8 62,82.6 73.4,81"), 5.2, second, True)
    if key == "corta":
        for points in _both(line("27.6,44.6 38,46.6 49.4,47")):
            canvas.paint(stroke(0.7, points) * torso, lighter(second, 0.5))


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a jacket laid flat."""
    key, main, second = style.key, rgb(variant.colour), rgb(variant.second)
    torso = area(symmetric(TORSO))
    outline = np.maximum(torso, area(*_both(curve(SLEEVE))))
    canvas.cast(outline, 1.8, 0.42, (1.0, 1.6))
    trim = second if key in ("bomber", "corta") else darker(main, 0.1)
    has_tone_sleeves = key in ("bomber", "corta") and bool(variant.note)
    _draw_sleeves(canvas, key, second if has_tone_sleeves else variant.fill(), trim)
    canvas.cast(torso, 0.7, 0.35, (0, 0))
    folds = _quilt(canvas, 8.4, 0.0) if key == "puffer" else _folds(key)
    canvas.paint(torso, variant.fill(), relief(torso, 3.0, 0.5, folds), FINISHES[key])
    if key == "corta":
        yoke = area(symmetric("42,15.6! 30,19.8! 26.2,29 25.6,42! 25.8,44.4! 38,46.6 50,47!"))
        canvas.paint(yoke, second, relief(yoke, 1.2, 0.3, folds), NYLON)
    for seam in _both(line("30.2,19.6 28.8,29 27.2,42.4")):
        canvas.seam(seam, 0.35, 0.4)
        if key == "jeans":
            canvas.stitch(seam + [1.0 if seam[0, 0] < 50 else -1.0, 0], rgb("caramelo"), 0.28, 0.7)
    _details(canvas, key, variant, torso)
    _draw_collar(canvas, key, main, trim)


STYLES = (
    Style("puffer", "Jaqueta Puffer", "Trilha Norte", 349.90, (
        Variant("preto"), Variant("vermelho"), Variant("azul-marinho"), Variant("mostarda"), Variant("lilás"), Variant("verde-militar"),
    )),
    Style("jeans", "Jaqueta Jeans", "Calçada", 229.90, (
        Variant("azul-denim", "delavê", "denim"), Variant("delavê", "branco", "denim"), Variant("índigo", "azul-denim", "denim"),
        Variant("preto", "grafite", "denim"),
    )),
    Style("bomber", "Jaqueta Bomber", "Porto Sereno", 259.90, (
        Variant("verde-militar", "preto"), Variant("preto", "preto"), Variant("azul-marinho", "branco", note="Universitária"),
        Variant("vinho", "creme", note="Universitária"), Variant("verde-militar", "preto", "camouflage", note="Camuflada"),
    )),
    Style("couro", "Jaqueta de Couro", "Porto Sereno", 499.90, (
        Variant("preto"), Variant("caramelo"), Variant("vinho"), Variant("café"),
    )),
    Style("corta", "Jaqueta Corta-Vento", "Veloz", 199.90, (
        Variant("azul", "amarelo", note="Bicolor"), Variant("cinza", "laranja", note="Bicolor"), Variant("roxo", "turquesa", note="Bicolor"),
    )),
)  # fmt: skip
FAMILY = Family("jaqueta", "Jaqueta", True, STYLES, draw)
