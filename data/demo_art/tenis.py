"""Tênis: running shoes, low and high canvas shoes, court shoes and slip-ons, toe to the right."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import (
    CLOTH,
    LEATHER,
    RUBBER,
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
from .curves import curve, ellipse, line, resample, ribbon
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, darker, lighter, rgb
from .studio import ground

UPPERS = {
    "corrida": "12,66! 10.6,56 10.4,48 12,41 14.4,37.4 17.6,37.2 20.4,40.4 25,44.4 31,44.6 35.6,41 39,35.6 43.4,33.4 46.4,35.6 51,41 58,46.4 68,51 79,54 88,57.6 92,62.4 92.4,67!",
    "lona": "13,67! 12,58 12.2,50 13.6,44.6 17,43.6 22,47 28,49.4 33.4,48 38,43.6 42.6,40.6 46,42.4 51,46.6 59,50.4 70,53.4 82,56 89,60 91,67!",
    "alto": "13,68! 12,58 12.4,44 13.4,30 15,20.4! 24,19 34,18.6 41,20! 43,27 45.6,35 51,43 60,49 72,53 83,56 89.6,60.4 91,68!",
    "couro": "12,67! 10.8,58 11,49 12.8,42.6 16,40.4 20,43 25.4,46.4 31,46.6 35.6,42.6 39.6,38.4 43.6,37.4 47,40.4 52,44.6 60,48.4 71,51.6 82,54.6 89.6,59 92,67!",
    "slip": "13,67! 12,58 12.4,50 15,46.6 20,48.6 26,51.4 32,50.6 37,46 42,43.8 49,45.6 58,49 70,52.6 82,56 89,60 91,67!",
}
SOLES = {
    "corrida": "8.8,60.4! 7.2,66 7.8,71 10.6,74.4 16,75.2! 40,75.4 64,75.4 80,74.2 90,71.4 95.6,66.6! 93.8,62! 84,66 70,67.2 56,66.6 40,63.4 24,61.2!",
    "couro": "9.8,63! 9.2,71 10.6,74.6 15,75.2! 50,75.2 78,75 90,73 95.2,69 94.2,64! 84,66.6 60,67 24,64.6!",
    "default": "11.4,65! 10.8,72 12.2,74.8 16,75.2! 50,75.2 78,75 89,73.6 93.6,70.4 93.2,65.4! 84,67.2 60,67.4 24,66!",
}
LACES = {
    "corrida": ("45.6,37.4 52,43 60,47.8 67,50.8", 5), "lona": ("45.4,43.4 52,47.4 60,51 66,52.8", 4),
    "alto": ("42,23 44.6,32 49,40.4 56,46.6 64,50.6", 7), "couro": ("46,40.8 52,45 60,48.8 66,50.8", 5),
}  # fmt: skip
OPENINGS = {
    "corrida": "14.6,38.6 18,38.6 22,43 28,46 34,44.4 38.6,38.4 42.6,34.8",
    "lona": "14.6,44.6 19,46 26,49.6 32,49.4 37,45.4 42,41.4",
    "couro": "13.8,42 18,43 25,47.4 31,47.6 36,43.4 42,38.4",
    "slip": "14,48 20,49.6 26,52 32,51.4 37.4,47 42,44.8",
    "alto": "15,21.6 24,20.2 34,19.8 41,21.2",
}


def _draw_sole(canvas: Canvas, key: str, colour: Colour, accent: Colour) -> None:
    shape = SOLES.get(key, SOLES["default"])
    sole = area(curve(shape))
    canvas.paint(sole, colour, relief(sole, 1.8, 0.9), RUBBER)
    canvas.darken(sole * np.clip((canvas.y - 70) / 6, 0, 1), 0.22)
    if key == "corrida":
        tread = area(
            curve(
                "9.4,73! 16,74 40,74.4 64,74.2 80,73 90,70 95.4,65.8! 94.8,68.4 90,72.8 80,75.6 64,76.8 40,76.8 16,76.4 11,75!"
            )
        )
        canvas.paint(tread, darker(accent, 0.15), relief(tread, 0.8, 0.7), RUBBER)
        groove = [line("9,66.6 24,65.4 40,68.2 58,70.6 78,70 94,65.4")]
        canvas.seam(groove[0], 0.4, 0.3)
        pods = area(*[ellipse(x, 69.8 - abs(x - 22) * 0.02, 2.2, 1.4) for x in (14.6, 20.4, 26.2, 32)])
        canvas.darken(pods, 0.2)
        return
    foxing = line("11,68 30,68.8 60,69.8 84,69.4 93,68")
    if key in ("lona", "alto"):
        canvas.paint(stroke(0.75, foxing) * sole, accent)
        canvas.seam(line("11,72.6 30,73 60,73.2 78,73 91,71"), 0.3, 0.3)
    elif key == "couro":
        canvas.stitch(foxing, darker(colour, 0.25), 0.28, 0.8)
    notches = [np.array([[x, 74.2], [x + 0.4, 75.6]]) for x in np.arange(15, 78, 2.2)]
    canvas.darken(stroke(0.35, *notches) * sole, 0.35)


def _draw_laces(canvas: Canvas, key: str, colour: Colour) -> None:
    """Draw eyelets along the eyestay and laces crossing over the tongue."""
    text, count = LACES[key]
    path = resample(line(text), count)
    for x, y in path:
        far = np.array([x + 0.4, y - 2.4]) if key != "alto" else np.array([x + 2.4, y - 1.2])
        near = np.array([x - 3.4, y + 2.8]) if key != "alto" else np.array([x - 4.2, y + 1.2])
        eyelet = area(ellipse(near[0], near[1], 0.8, 0.8))
        canvas.paint(eyelet, darker(colour, 0.55))
        lace = np.stack([far, (far + near) / 2 + [0.4, 0.5], near])
        mask = stroke(1.25, lace)
        canvas.cast(mask, 0.4, 0.4, (0.3, 0.5))
        canvas.paint(mask, colour, relief(mask, 0.6, 0.8))
    x, y = path[0] + [-1.4, 0.2]
    for text in (
        f"{x},{y} {x - 5},{y - 2.4} {x - 6.4},{y + 1} {x - 1},{y + 1}",
        f"{x},{y} {x - 3.6},{y + 5} {x - 3},{y + 8}",
    ):
        if key != "alto":
            mask = stroke(0.95, line(text))
            canvas.cast(mask, 0.4, 0.35, (0.3, 0.5))
            canvas.paint(mask, colour, relief(mask, 0.5, 0.7))


def _panel(canvas: Canvas, text: str, fill: Fill | Colour, clip: Field, finish: Finish) -> None:
    """Sew an overlay on the upper: a raised edge with stitches along it."""
    points = curve(text)
    mask = area(points) * clip
    canvas.cast(mask, 0.5, 0.28, (0.2, 0.4))
    canvas.paint(mask, fill, relief(mask, 1.0, 0.5), finish)
    inset = np.clip(blur(mask, 1.1) - 0.72, 0, 1)
    canvas.darken(np.clip(1 - np.abs(inset * 40 - 1), 0, 1) * mask, 0.14)


def _draw_tongue(canvas: Canvas, key: str, main: Colour) -> None:
    """Draw the tongue standing behind the laces."""
    tongues = {
        "corrida": "37.6,40! 39.4,33 41.6,28.6 45,27.6 48.4,30.4 50.6,36 54,43! 46,44!",
        "lona": "37,46! 39,39.4 41.6,35.6 45.6,35.2 48.6,38.4 52,45! 46,47!",
        "couro": "36.4,43! 38.6,36 41,32.4 45,31.6 48.6,34.6 53,42! 46,45!",
        "alto": "34,22! 35,15.6 39,13.4 43.6,15.4 46.4,24 52,38! 44,30!",
    }  # fmt: skip
    if key in tongues:
        tongue = area(curve(tongues[key]))
        colour = lighter(main, 0.1)
        canvas.paint(tongue, colour, relief(tongue, 1.6, 0.7), CLOTH)
        canvas.stitch(
            curve(tongues[key])[14:44] * 0.94 + np.array([45, 34]) * 0.06, darker(colour, 0.3), 0.22, 0.6
        )


def _draw_collar(canvas: Canvas, key: str, lining: Colour) -> None:
    rim = line(OPENINGS[key])
    band = area(ribbon(rim, 2.2, 2.0))
    canvas.paint(band, lining, relief(band, 1.1, 0.9), CLOTH)


def _overlays(canvas: Canvas, key: str, variant: Variant, upper: Field) -> None:
    """Draw the pieces sewn on each model."""
    {
        "corrida": _sew_runner,
        "lona": _sew_canvas,
        "alto": _sew_canvas,
        "couro": _sew_court,
        "slip": _sew_slip,
    }[key](canvas, variant, upper, key == "alto")


def _sew_runner(canvas: Canvas, variant: Variant, upper: Field, _is_high: bool) -> None:
    main, second = rgb(variant.colour), rgb(variant.second)
    deep = darker(main, 0.22) if brightness(main) > 0.25 else lighter(main, 0.14)
    _panel(canvas, "9,68! 9,52 16,48 24,52 30,60 33,70!", deep, upper, RUBBER)
    _panel(canvas, "96,70! 95,56 84,53.6 76,57 71,63 69,70!", deep, upper, RUBBER)
    _panel(canvas, "42,33! 47,33! 53,40 62,46 72,50.6! 67,55 58,51.6 49,46 43,40!", deep, upper, CLOTH)
    wave = curve("24,63! 34,61 44,55 52,47! 57,49.6! 55,58 48,65 38,69 30,69!")
    wing = area(wave) * upper
    canvas.cast(wing, 0.4, 0.3, (0.2, 0.4))
    canvas.paint(wing, second, relief(wing, 0.9, 0.5), RUBBER)
    _panel(canvas, "12,38! 17,37! 18,46 16,54! 10.6,54!", second, upper, CLOTH)


def _sew_canvas(canvas: Canvas, variant: Variant, upper: Field, is_high: bool) -> None:
    main, second = rgb(variant.colour), rgb(variant.second)
    deep = darker(main, 0.22) if brightness(main) > 0.25 else lighter(main, 0.14)
    toe = curve("96,70! 94,58 86,55 79,56.6 75,61 74,70!")
    cap = area(toe) * upper
    canvas.cast(cap, 0.5, 0.35, (-0.2, 0.3))
    canvas.paint(cap, rgb("off-white"), relief(cap, 2.0, 0.9), RUBBER)
    top = 20 if is_high else 44
    canvas.stitch(line(f"20,{top + 1} 21,56 24,67"), _thread(main), 0.26, 0.8)
    canvas.stitch(line("36,66 42,58 44,50 42,44"), _thread(main), 0.26, 0.8)
    canvas.stitch(line("37.4,66.4 43.4,58 45.4,50.6 43.4,44.4"), _thread(main), 0.26, 0.8)
    stripe = area(curve(f"11,{top}! 15.4,{top}! 15.6,56 16.4,68! 11,68!")) * upper
    canvas.paint(stripe, second, relief(stripe, 0.8, 0.4), CLOTH)
    if is_high:
        disc = area(ellipse(28, 36, 7.2, 7.2))
        canvas.cast(disc, 0.4, 0.3, (0.2, 0.3))
        canvas.paint(disc, rgb("off-white"), relief(disc, 0.8, 0.4), RUBBER)
        motif(
            canvas,
            "leaf",
            (28, 36),
            10.5,
            (deep if brightness(main) < 0.8 else rgb("azul-marinho"), main),
            disc,
        )


def _sew_court(canvas: Canvas, variant: Variant, upper: Field, _is_high: bool) -> None:
    main, second = rgb(variant.colour), rgb(variant.second)
    _panel(canvas, "9,70! 9,40! 17,40! 22,48 25,58 24,70!", main, upper, LEATHER)
    _panel(canvas, "40,36! 46,38! 54,44 63,48 72,51! 66,56.4 56,54 48,50 42,46!", main, upper, LEATHER)
    _panel(canvas, "96,70! 95,57 85,54.6 76,57.6 71,64 69,70!", main, upper, LEATHER)
    _panel(canvas, "11,41! 17,40! 18.6,48 17,52! 10.6,52!", second, upper, LEATHER)
    arrow = line("35,66 45,60.5 52,53")
    for reach in (0, 6):
        band = area(ribbon(arrow + [reach, 0], 2.6, 2.2)) * upper
        canvas.paint(band, second, relief(band, 0.6, 0.4), LEATHER)


def _sew_slip(canvas: Canvas, variant: Variant, upper: Field, _is_high: bool) -> None:
    main = rgb(variant.colour)
    _panel(canvas, "27,50! 34,47 38,44.6! 45,57 44,68! 30,68!", darker(main, 0.35), upper, CLOTH)
    ribs = [line(f"{x},50 {x + 4},58 {x + 3.4},67") for x in np.arange(28.6, 40, 1.5)]
    canvas.darken(stroke(0.3, *ribs) * upper, 0.35)
    _panel(canvas, "10,70! 10,44! 15.6,45.6! 17,56 17,70!", darker(main, 0.12), upper, CLOTH)


def _thread(main: Colour) -> Colour:
    return lighter(main, 0.55) if brightness(main) < 0.65 else darker(main, 0.3)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a shoe in profile, standing on its sole."""
    key, main, second = style.key, rgb(variant.colour), rgb(variant.second)
    ground(canvas, 10, 94, 74.8, 2.4)
    _draw_tongue(canvas, key, main)
    upper = area(curve(UPPERS[key]))
    bends = creases([line("62,50 66,56 70,63"), line("57,48 61,56 64,64")], 2.6, 0.5)
    bends = bends + creases([line("24,46 27,54 25,63"), line("33,46 35,54 34,62")], 3.4, 0.35)
    finish = LEATHER if key == "couro" else CLOTH
    canvas.paint(upper, variant.fill(), relief(upper, 5.0, 0.62, bends), finish)
    if key == "corrida":
        mesh = np.sin(canvas.x * 5.0) * np.sin(canvas.y * 5.0)
        canvas.darken(upper * np.clip(mesh, 0, 1), 0.16)
    _overlays(canvas, key, variant, upper)
    canvas.darken(upper * blur(area(curve(SOLES.get(key, SOLES["default"]))), 1.2), 0.28)
    _draw_collar(canvas, key, darker(main, 0.3) if key != "couro" else second)
    if key in LACES:
        _draw_laces(canvas, key, rgb("off-white") if brightness(second) < 0.5 or key != "corrida" else second)
    sole = rgb("branco") if variant.note != "Sola Caramelo" else rgb("caramelo")
    _draw_sole(canvas, key, sole, second if key != "couro" else main)


STYLES = (
    Style("corrida", "Tênis Corrida", "Veloz", 329.90, (
        Variant("azul-marinho", "laranja"), Variant("preto", "menta"), Variant("cinza", "coral"), Variant("branco", "azul"),
        Variant("turquesa", "amarelo"), Variant("pink", "lilás"),
    )),
    Style("lona", "Tênis Lona Cano Baixo", "Calçada", 149.90, (
        Variant("preto", "preto"), Variant("vermelho", "vermelho"), Variant("azul-marinho", "vermelho"),
        Variant("off-white", "azul-marinho"),
        Variant("preto", "branco", "gingham", note="Xadrez"),
    )),
    Style("alto", "Tênis Cano Alto", "Calçada", 179.90, (
        Variant("preto", "preto"), Variant("vermelho", "preto"), Variant("branco", "azul-marinho"), Variant("verde-militar", "laranja"),
    )),
    Style("couro", "Tênis Couro", "Veloz", 279.90, (
        Variant("branco", "verde"), Variant("branco", "azul-marinho"), Variant("areia", "terracota"),
        Variant("preto", "branco", note="Sola Caramelo"),
    )),
    Style("slip", "Tênis Slip-On", "Calçada", 129.90, (
        Variant("cinza", "grafite"), Variant("azul-denim", "delavê", "denim"), Variant("bege", "preto", "animal", note="Onça"),
        Variant("branco", "pink", "flowers", note="Floral"),
    )),
)  # fmt: skip
FAMILY = Family("tenis", "Tênis", False, STYLES, draw)
