"""Vestidos: flared, sheath, long, shirt and midi dresses, seen from the front as if worn."""

# an outline reads best on one line
# ruff: noqa: E501

from __future__ import annotations

import numpy as np

from .canvas import CLOTH, LEATHER, METAL, Canvas, Colour, Field, area, blur, creases, relief
from .curves import Points, curve, ellipse, line, mirror, rectangle, ribbon, symmetric
from .fills import wavy
from .items import Family, Style, Variant
from .palette import brightness, darker, lighter, mix, rgb

# left half: neck to shoulder, armhole, waist, hem
BODIES = {
    "rodado": "50,20! 46,19.4 43.6,16 42.6,11! 37.6,11.8! 38,18 36.6,24 35.4,27.4! 37.4,34 40.2,43! 36,56 26,74 18.6,86! 26,89.6 38,91 50,91.2!",
    "tubinho": "50,17.4! 46,16.6 43,14 41.6,10.6! 35.8,12! 37,18 36.4,24 35.2,27.6! 36.6,36 39,44 37.4,52 35.4,60 36,74 37.2,86! 43,86.8 50,87!",
    "longo": "50,21! 46,18.6 42.4,16.6 39.4,15.4! 37.6,20 36,25! 37.8,32 39.8,38.6! 37,52 31.6,76 28,94! 36,95.6 44,96 50,96!",
    "chemise": "50,14! 45,12.6! 36,15! 34.8,22 34.4,29! 36.4,36 38.4,44.6! 35,58 31,72 29.4,82! 36,83.6 44,84 50,84!",
    "midi": "50,21.6! 42.6,20.8! 41.6,13.6! 37.4,15! 36,21 35.6,28! 37.4,35 39.4,42! 35,56 27.6,72 23.6,83! 32,86.4 42,87.4 50,87.6!",
}
WAISTS = {"rodado": (43.0, 40.2), "longo": (38.6, 39.8), "chemise": (44.6, 38.4), "midi": (42.0, 39.4)}
HEMS = {"rodado": (88.5, 18.6), "longo": (95.0, 28.0), "chemise": (83.0, 29.4), "midi": (86.0, 23.6)}
SLEEVES = {
    "chemise": "36,15! 29.4,20 24,31 19.6,43.4! 22.6,46 27,46.8! 30.6,38 34.6,30! 35,22 36,15!",
    "midi": "38.4,14.4! 31,14.6 25.6,21 24.6,29.6 27.6,33.4! 31.4,34.4 35,32.6! 36,26 36.4,20 38.4,14.4!",
}


def _pleats(key: str) -> Field:
    """Return the fall of the skirt: folds fanning out from the waist."""
    if key == "tubinho":
        lines = [
            line("39,44 43,46 48,46"),
            line("61,44 57,47 52,47"),
            line("42,56 43,70 42,84"),
            line("58,60 57,72 58,86"),
        ]
        return creases(lines, 3.4, 0.5)
    (waist_y, waist_x), (hem_y, hem_x) = WAISTS[key], HEMS[key]
    lines = []
    for n, t in enumerate(np.linspace(0.07, 0.93, 9)):
        top = waist_x + (100 - 2 * waist_x) * t
        low = hem_x + (100 - 2 * hem_x) * t
        sway = 1.2 if n % 2 else -1.0
        start = waist_y + (0.5, 6, 2)[n % 3]
        end = hem_y + 6
        lines.append(line(f"{top},{start} {(top + low) / 2 + sway},{(start + end) / 2} {low},{end}"))
    depth = 1.3 if key in ("rodado", "midi") else 0.9
    bust = [
        line("37,29 42,31 47,30"),
        line("63,29 58,31 53,30"),
        line("41,40 43,35 43,30"),
        line("59,40 57,35 57,30"),
    ]
    fans = blur(area(*[ribbon(points, 0.3, 4.2) for points in lines]), 1.1) * np.float32(depth)
    return fans + creases(bust, 3.4, 0.45)


def _draw_back(canvas: Canvas, key: str, main: Colour) -> None:
    """Draw the inside of the back behind the neckline, and the hem's inner side."""
    neck = {
        "rodado": (44, 12.4, 56),
        "tubinho": (42.4, 12, 57.6),
        "midi": (42, 14.6, 58),
        "chemise": (45, 13.6, 55),
    }
    if key in neck:
        left, y, right = neck[key]
        inner = area(
            curve(f"{left},{y - 1.2}! 50,{y + 1} {right},{y - 1.2}! {right},{y + 9}! {left},{y + 9}!")
        )
        canvas.paint(inner, darker(main, 0.42))
    if key in HEMS:
        y, x = HEMS[key]
        under = area(ellipse(50, y - 0.6, 50 - x - 2.2, 3.0))
        canvas.paint(under, darker(main, 0.5))


def _draw_sleeves(canvas: Canvas, key: str, variant: Variant) -> None:
    if key not in SLEEVES:
        return
    main = rgb(variant.colour)
    for is_right in (False, True):
        turn = mirror if is_right else (lambda points: points)
        mask = area(turn(curve(SLEEVES[key])))
        folds = creases(
            [
                turn(line("34,22 31,28 28,36")),
                turn(line("35,28 30,30 26,30")),
                turn(line("30,18 28,24 27,31")),
            ],
            2.4,
            0.7,
        )
        canvas.paint(mask, wavy(variant.fill()), relief(mask, 2.4, 0.7, folds), CLOTH)
        cuff = turn(line("19.6,43.4 22.6,46 27,46.8") if key == "chemise" else line("27,32.6 31,34 35,32.2"))
        band = area(ribbon(cuff, 2.4, 2.4))
        canvas.cast(band, 0.4, 0.25, (0, 0.3))
        canvas.paint(band, darker(main, 0.06), relief(band, 1.0, 0.7), CLOTH)


def _draw_belt(canvas: Canvas, key: str, variant: Variant) -> None:
    """Draw the waistband: a sash, or a belt with a buckle."""
    y, x = WAISTS[key]
    is_belt = key == "chemise"
    main = rgb(variant.colour)
    colour = (
        rgb("caramelo")
        if is_belt and variant.colour != "caramelo"
        else rgb(variant.second)
        if variant.pattern != "plain"
        else darker(main, 0.18)
    )
    middle = line(f"{x - 0.2},{y} 50,{y + 1.1} {100.2 - x},{y}")
    band = area(ribbon(middle, 3.0, 3.0))
    canvas.cast(band, 0.7, 0.35, (0, 0.6))
    canvas.paint(band, colour, relief(band, 1.2, 0.7), LEATHER if is_belt else CLOTH)
    if is_belt:
        outer, inner = (
            area(rectangle(47.6, y - 1.3, 5, 4.6, 0.8)),
            area(rectangle(48.5, y - 0.4, 3.2, 2.8, 0.4)),
        )
        frame = np.clip(outer - inner, 0, 1)
        canvas.cast(frame, 0.3, 0.4, (0.2, 0.3))
        canvas.paint(frame, rgb("dourado"), relief(frame, 0.5, 1), METAL)


def _draw_shirt_front(canvas: Canvas, main: Colour) -> None:
    """Draw the placket, its buttons and the collar of the shirt dress."""
    placket = area(rectangle(48, 15, 4, 68))
    canvas.seam(line("48,18 47.8,50 47.8,83.6"), 0.28, 0.35)
    canvas.seam(line("52,18 52.2,50 52.2,83.6"), 0.28, 0.2)
    canvas.lighten(placket, 0.05)
    for y in (23, 30, 37, 52, 60, 68, 76):
        button = area(ellipse(50, y, 0.85, 0.85))
        canvas.cast(button, 0.3, 0.4, (0.2, 0.25))
        canvas.paint(button, lighter(main, 0.65), relief(button, 0.5, 0.8))
    leaf = curve("45,11.6! 47,14.6 50,18! 46.4,22! 42.6,17 42,13!")
    for points in (leaf, mirror(leaf)):
        mask = area(points)
        canvas.cast(mask, 0.7, 0.35, (0.2, 0.6))
        canvas.paint(mask, lighter(main, 0.08), relief(mask, 0.9, 0.6), CLOTH)


def _edge(key: str) -> Points:
    """Return the neckline, for its stitched edge."""
    half = {
        "rodado": "42.6,11 43.6,16 46,19.4 50,20", "tubinho": "41.6,10.6 43,14 46,16.6 50,17.4",
        "longo": "39.4,15.4 42.4,16.6 46,18.6 50,21", "midi": "41.6,13.6 42.6,20.8! 50,21.6",
    }[key]  # fmt: skip
    left = line(half)
    return np.concatenate([left, mirror(left)[::-1][1:]])


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a dress as on an invisible mannequin."""
    key, main = style.key, rgb(variant.colour)
    body = area(symmetric(BODIES[key]))
    canvas.cast(body, 2.0, 0.34, (1.2, 1.6))
    _draw_back(canvas, key, main)
    if key == "longo":
        for strap in (line("40,16.4 41,11 43.4,6.4"), line("60,16.4 59,11 56.6,6.4")):
            mask = area(ribbon(strap, 1.5, 1.1))
            canvas.cast(mask, 0.4, 0.25, (0.2, 0.3))
            canvas.paint(mask, darker(main, 0.05), relief(mask, 0.6, 0.7), CLOTH)
    _draw_sleeves(canvas, key, variant)
    canvas.cast(body, 0.6, 0.25, (0, 0))
    period = {"flowers": 8.0, "gingham": 4.0, "dots": 4.2, "stripes": 4.4}.get(variant.pattern)
    canvas.paint(body, wavy(variant.fill(period), 0.5, 6), relief(body, 4.0, 0.7, _pleats(key)), CLOTH)
    canvas.darken(body * np.clip((canvas.x - 56) / 30, 0, 1), 0.18)
    thread = lighter(main, 0.3) if brightness(main) < 0.5 else darker(main, 0.22)
    if key == "chemise":
        _draw_shirt_front(canvas, main)
    else:
        trim = area(ribbon(_edge(key), 1.1, 1.1)) * body
        canvas.paint(trim, mix(main, thread, 0.15), relief(trim, 0.5, 0.6), CLOTH)
    if key in WAISTS:
        _draw_belt(canvas, key, variant)
    else:
        for dart in (line("42,30 42.6,38 42,46"), line("58,30 57.4,38 58,46")):
            canvas.seam(dart, 0.25, 0.25)
        canvas.seam(line("50,70 50.4,78 50,87"), 0.3, 0.3)


STYLES = (
    Style("rodado", "Vestido Rodado", "Maré Alta", 159.90, (
        Variant("vermelho"), Variant("azul-marinho", "branco", "dots", note="Poá"), Variant("branco", "vermelho", "flowers", note="Floral"),
        Variant("preto", "rosa", "flowers", note="Floral"), Variant("branco", "vermelho", "gingham", note="Vichy"),
    )),
    Style("tubinho", "Vestido Tubinho", "Porto Sereno", 139.90, (
        Variant("preto"), Variant("vinho"), Variant("azul"), Variant("branco", "preto", "stripes", note="Listrado"),
        Variant("bege", "preto", "animal", note="Onça"),
    )),
    Style("longo", "Vestido Longo", "Maré Alta", 219.90, (
        Variant("verde-escuro"), Variant("coral", "amarelo", "fade", note="Degradê"), Variant("azul-claro", "azul", "tie-dye", note="Tie-Dye"),
        Variant("mostarda", "branco", "flowers", note="Floral"),
    )),
    Style("chemise", "Vestido Chemise", "Porto Sereno", 189.90, (
        Variant("delavê", "branco", "denim"), Variant("verde-militar"), Variant("branco", "azul", "stripes", note="Listrado"),
        Variant("terracota"),
    )),
    Style("midi", "Vestido Midi", "Algodoeiro", 169.90, (
        Variant("rosa", "vinho", "flowers", note="Floral"), Variant("amarelo", "branco", "gingham", note="Vichy"),
        Variant("lilás"), Variant("menta", "branco", "dots", note="Poá"),
    )),
)  # fmt: skip
FAMILY = Family("vestido", "Vestido", False, STYLES, draw)
