"""Bonés: curved, trucker, flat-brim and military caps in three-quarter view, brim to the right."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import CLOTH, Canvas, Colour, Field, Fill, area, blur, creases, relief, stroke
from .curves import curve, dashes, ellipse, line
from .items import Family, Style, Variant
from .motifs import motif
from .palette import brightness, darker, lighter, mix, rgb
from .studio import ground

CROWNS = {
    "curvo": "12,60! 11.4,48 15.6,36 25,27.4 38,23.4 51,25.6 61,33.4 66.4,45 68,58.4! 56,55.4 40,56 24,58.6!",
    "reto": "12,61! 11.4,46 14.6,33 23.6,24.8 38,21.4 53,22.6 62.6,29.4 67,42 68.4,57.6! 56,55 40,56 24,59!",
    "militar": "13,60! 14,44 16.4,34.6! 24,30.4 40,28.4 56,30.4 64.6,35! 66.6,46 68,58! 56,55.4 40,56 24,58.4!",
}
BRIMS = {
    "curvo": "34.4,65.6! 40,58.6 48,54.4 59,53.8 70,57 82,62.4 91,69.4 92.6,73! 88,73.8 78,70.6 66,68.2 52,67.8 42,67.2",
    "reto": "34.4,66! 40,59 48,54.6 59,53.6 72,55.4 86,58.6 94.6,62! 94.4,64.6! 84,66.4 66,68.2 50,68.6 42,67.8",
    "militar": "34.8,65.4! 41,58.6 49,54.6 60,54 70,56.8 82,61.4 89.6,67.4 90.6,70.6! 84,70.4 74,68.2 62,67.2 50,67.2 42,66.8",
}
FRONT_PANEL = {
    "curvo": "39,23.4! 51,25.6 61,33.4 66.4,45 68,58.4! 56,55.4 43,55.8! 44.6,40",
    "reto": "39,21.4! 53,22.6 62.6,29.4 67,42 68.4,57.6! 56,55 43,55.8! 44.6,38",
}


def _shape(key: str) -> str:
    return {"trucker": "curvo", "dad": "curvo", "reto": "reto", "militar": "militar"}[key]


def _draw_crown(canvas: Canvas, key: str, variant: Variant) -> Field:
    """Paint the dome, its mesh or contrast panels, and return its mask."""
    shape = _shape(key)
    crown = area(curve(CROWNS[shape]))
    main, second = rgb(variant.colour), rgb(variant.second)
    dents = creases(
        [line("22,40 26,48 25,57"), line("55,34 58,44 57,54"), line("33,52 42,50 50,52")],
        5,
        0.7 if key == "dad" else 0.3,
    )
    back: Fill | Colour = second if key == "trucker" else variant.fill()
    canvas.paint(crown, back, relief(crown, 9.0, 0.62, dents), CLOTH)
    if key == "trucker":
        u, v = (canvas.x + canvas.y * 0.25) * 3.1, (canvas.y - canvas.x * 0.2) * 3.1
        holes = np.clip((np.sin(u) * np.sin(v) - 0.1) * 3, 0, 1)
        canvas.darken(crown * holes.astype(np.float32), 0.5)
        front = area(curve(FRONT_PANEL[shape])) * crown
        canvas.cast(front, 0.5, 0.3, (-0.4, 0.2))
        canvas.paint(front * crown, main, relief(crown, 9.0, 0.62, dents), CLOTH)
    return crown


def _draw_seams(canvas: Canvas, key: str, main: Colour, crown: Field) -> None:
    if key == "militar":
        top = line("16,36 28,40 44,40.4 58,38.4 65,36")
        canvas.seam(top, 0.45, 0.5)
        for offset in (1.2, 2.0):
            canvas.stitch(top + [0, offset], _thread(main), 0.24, 0.7)
        canvas.seam(line("40,41 41,48 40.4,56"), 0.4, 0.4)
        return
    y = 23.4 if _shape(key) == "curvo" else 21.4
    seams = [line(f"39,{y} 44.6,{y + 16} 43,56"), line(f"38,{y} 27,34 22.6,58.4")]
    if key != "trucker":
        seams.append(line(f"40,{y} 54,32 58.6,55.6"))
    for seam in seams:
        canvas.darken(stroke(0.4, seam) * crown, 0.45)
        for side in (-0.9, 0.9):
            threads = dashes(seam + [side, 0], 0.7, 0.5)
            canvas.paint(stroke(0.22, *threads) * crown, _thread(main), opacity=0.7)
    for x, ey in ((31.6, 38), (51, 34.6)) if key != "trucker" else ():
        hole = area(ellipse(x, ey, 1.0, 1.1))
        canvas.paint(area(ellipse(x, ey, 1.5, 1.6)), _thread(main), opacity=0.8)
        canvas.paint(hole, darker(main, 0.6))
    button = area(ellipse(38.6, y - 0.1, 2.6, 1.5))
    canvas.cast(button, 0.5, 0.35, (0.3, 0.5))
    canvas.paint(button, main, relief(button, 1.1, 1.0), CLOTH)


def _thread(main: Colour) -> Colour:
    return lighter(main, 0.35) if brightness(main) < 0.5 else darker(main, 0.22)


def _draw_brim(canvas: Canvas, key: str, colour: Fill | Colour, tone: Colour) -> None:
    """Draw the brim with its rows of stitching and the dark underside."""
    shape = _shape(key)
    outline = curve(BRIMS[shape])
    under = area(outline + [-0.5, 1.9])
    canvas.paint(under, darker(tone, 0.45), relief(under, 1.2, 0.5), CLOTH)
    brim = area(outline)
    arch = (
        creases([line("44,60 60,58.6 78,62.4 90,70")], 9, 1.7)
        if shape != "reto"
        else creases([line("44,60 66,58 90,61")], 7, 0.7)
    )
    canvas.paint(brim, colour, relief(brim, 1.5, 0.5, arch), CLOTH)
    ends = {
        "curvo": ("91,71", "66,64.6", "36,66"),
        "reto": ("93,63.4", "66,66.2", "36,67"),
        "militar": ("89,69.4", "64,64.6", "36,66"),
    }[shape]
    rim = line(f"{ends[0]} {ends[1]} {ends[2]}")
    inner = line("70,57.4 58,54.6 40,60")
    for t in (0.16, 0.36, 0.56, 0.76):
        rows = [
            rim[n * (len(rim) - 1) // 20] * (1 - t) + inner[n * (len(inner) - 1) // 20] * t for n in range(21)
        ]
        threads = dashes(np.array(rows), 0.8, 0.5)
        canvas.paint(stroke(0.24, *threads) * brim, _thread(tone), opacity=0.65)
    hem = area(curve(CROWNS[shape]) + [0.5, 1.6]) * brim
    canvas.darken(blur(hem, 0.9) * brim, 0.4)


def _draw_front(canvas: Canvas, key: str, variant: Variant, crown: Field) -> None:
    """Draw the emblem, on a patch for trucker caps."""
    if not variant.motif:
        return
    main, second = rgb(variant.colour), rgb(variant.second)
    centre = (55.6, 43)
    ink = second if key != "trucker" else main
    if key == "trucker":
        patch = area(ellipse(*centre, 8.6, 7.4)) * crown
        canvas.cast(patch, 0.5, 0.35, (0.2, 0.4))
        canvas.paint(patch, rgb("off-white"), relief(patch, 0.8, 0.5), CLOTH)
        canvas.stitch(ellipse(*centre, 7.8, 6.6), ink if brightness(ink) < 0.7 else rgb("grafite"), 0.28, 0.7)
        ink = ink if brightness(ink) < 0.7 else second
    motif(canvas, variant.motif, centre, 10.5 if key == "trucker" else 12, (ink, mix(ink, main, 0.5)), crown)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a cap resting on the table."""
    key, main, second = style.key, rgb(variant.colour), rgb(variant.second)
    ground(canvas, 12, 90 if _shape(key) != "reto" else 88, 68.6, 2.6)
    shape = _shape(key)
    rear = area(curve("12,59! 24,58 40,55.6 40,62! 36,67.4 24,68.4 14,66.6!"))
    canvas.paint(rear, darker(main if key != "trucker" else second, 0.55), relief(rear, 2.0, 0.5), CLOTH)
    is_two_tone = key in ("reto", "trucker") and variant.note == "Bicolor"
    brim_tone = second if is_two_tone and key == "reto" else main
    crown = _draw_crown(canvas, key, variant)
    band = area(curve("12,60! 24,58.6 40,56 52,54.6! 50,62 40,67! 24,68 13,66.4!"))
    canvas.paint(band, second if key == "trucker" else variant.fill(), relief(band, 2.4, 0.5), CLOTH)
    canvas.darken(band, 0.12)
    canvas.stitch(line("13,64.4 24,66 36,65 41,62.6"), _thread(main), 0.24, 0.7)
    _draw_seams(canvas, key, main, crown)
    _draw_front(canvas, key, variant, crown)
    fill: Fill | Colour = brim_tone if variant.pattern == "plain" or shape == "reto" else variant.fill()
    _draw_brim(canvas, key, fill, brim_tone)


STYLES = (
    Style("dad", "Boné Aba Curva", "Maré Alta", 69.90, (
        Variant("preto", "branco", motif="mark"), Variant("azul-marinho", "branco", motif="mark"), Variant("bege", "marrom", motif="mark"),
        Variant("rosa", "branco", motif="heart"), Variant("branco", "azul", motif="wave"),
        Variant("delavê", "branco", "denim", motif="star", note="Jeans"),
    )),
    Style("trucker", "Boné Trucker Telado", "Trilha Norte", 79.90, (
        Variant("preto", "branco", motif="mountain"), Variant("azul", "branco", motif="mountain"), Variant("verde-militar", "bege", motif="leaf"),
        Variant("vermelho", "preto", motif="bolt"), Variant("caramelo", "café", motif="mountain"),
    )),
    Style("reto", "Boné Aba Reta", "Calçada", 89.90, (
        Variant("preto", "vermelho", motif="bolt", note="Bicolor"), Variant("cinza", "preto", motif="star", note="Bicolor"),
        Variant("azul-marinho", "mostarda", motif="star", note="Bicolor"), Variant("vinho", "bege", motif="bolt", note="Bicolor"),
        Variant("roxo", "amarelo", motif="bolt", note="Bicolor"),
    )),
    Style("militar", "Boné Militar", "Trilha Norte", 74.90, (
        Variant("verde-militar", "preto"), Variant("areia", "marrom", "camouflage", note="Camuflado"), Variant("verde-militar", "café", "camouflage", note="Camuflado"),
        Variant("preto", "branco"), Variant("vermelho", "preto", "tartan", note="Xadrez"),
    )),
)  # fmt: skip
FAMILY = Family("bone", "Boné", False, STYLES, draw)
