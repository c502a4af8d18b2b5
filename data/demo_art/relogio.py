"""Relógios: dress, bracelet, chronograph, digital and minimal watches, dial to the front."""

# an outline reads best on one line; `+ [x, y]` moves points
# ruff: noqa: E501, RUF005

from __future__ import annotations

import numpy as np

from .canvas import CLOTH, LEATHER, METAL, PLASTIC, Canvas, Colour, Field, Fill, area, blur, relief, stroke
from .curves import Points, curve, ellipse, line, mirror, rectangle, rotate, scale, symmetric
from .fills import sweep
from .items import Family, Style, Variant
from .palette import brightness, darker, lighter, mix, rgb

CX, CY = 50.0, 50.0
STRAP = "50,3! 42.4,3.4! 41.2,16 39.6,29! 39,36! 50,36!"


def _brushed(metal: Colour) -> Fill:
    """Return the light and dark fan of turned metal."""
    lit, dim = lighter(metal, 0.55), darker(metal, 0.35)
    stops = [
        (0.0, dim),
        (0.12, metal),
        (0.2, lit),
        (0.3, metal),
        (0.45, dim),
        (0.6, metal),
        (0.66, lit),
        (0.75, metal),
        (0.9, dim),
        (1, dim),
    ]
    return sweep(stops, CX, CY)


def _draw_strap(canvas: Canvas, variant: Variant, kind: str) -> None:
    """Draw both halves of a strap, buckle end upwards."""
    colour = rgb(variant.colour)
    for flip in (1.0, -1.0):
        points = scale(symmetric(STRAP), 1.0, flip)
        mask = area(points)
        canvas.cast(mask, 1.4, 0.4, (1.0, 1.2))
        fill: Fill | Colour = colour
        if kind == "mesh":
            canvas.paint(mask, colour, relief(mask, 1.4, 0.7), METAL)
            weave = np.sin(canvas.x * 7 + np.sin(canvas.y * 7) * 1.2) * np.sin(canvas.y * 9)
            canvas.darken(mask * np.clip(weave, 0, 1), 0.4)
            canvas.lighten(mask * np.clip(-weave, 0, 1), 0.2)
            continue
        canvas.paint(mask, fill, relief(mask, 1.8, 0.8), LEATHER if kind == "leather" else PLASTIC)
        fade = np.clip((np.abs(canvas.y - CY) - 26) / 22, 0, 1) ** 1.6
        canvas.darken(mask * fade, 0.4)
        if kind == "leather":
            thread = lighter(colour, 0.5) if brightness(colour) < 0.6 else darker(colour, 0.3)
            for side in ("43.8,4 42.6,16 41.2,28 40.8,33", "56.2,4 57.4,16 58.8,28 59.2,33"):
                canvas.stitch(scale(line(side), 1.0, flip), thread, 0.3, 0.9)
        else:
            grooves = [scale(line(f"{x},5 {x2},32"), 1.0, flip) for x, x2 in ((46.4, 45.4), (53.6, 54.6))]
            for groove in grooves:
                canvas.seam(groove, 0.6, 0.45)


def _draw_bracelet(canvas: Canvas, metal: Colour, middle: Colour) -> None:
    """Draw three-piece metal links, narrowing away from the case."""
    for flip in (-1, 1):
        for n in range(9):
            y = CY + flip * (20.5 + n * 3.35)
            half = 10.6 - n * 0.32
            shade = 0.1 + 0.045 * n
            for left, width, colour in (
                (-half, half * 0.62, metal),
                (half * 0.38, half * 0.62, metal),
                (-half * 0.42, half * 0.84, middle),
            ):
                link = area(rectangle(CX + left, y - 1.75, width, 3.5, 0.9))
                canvas.cast(link, 0.7, 0.25, (0.6, 0.7))
                canvas.paint(link, colour, relief(link, 0.9, 0.8), METAL)
                canvas.darken(link, shade * 0.8)


def _draw_case(canvas: Canvas, metal: Colour, radius: float) -> None:
    lug = curve("38.6,24! 42.4,24! 43.4,34! 36,40! 35.6,32")
    lugs = [lug, mirror(lug), scale(lug, 1, -1), mirror(scale(lug, 1, -1))]
    crown = rectangle(CX + radius - 0.6, 47.6, 3.4, 4.8, 0.9)
    case = area(ellipse(CX, CY, radius, radius), crown, *lugs)
    canvas.cast(case, 1.8, 0.5, (1.3, 1.8))
    canvas.paint(case, metal, relief(case, 1.6, 1.0), METAL)
    ridges = [np.array([[CX + radius + 0.4, y], [CX + radius + 2.6, y]]) for y in np.arange(48.4, 52.2, 0.8)]
    canvas.darken(stroke(0.25, *ridges), 0.45)
    rim = area(ellipse(CX, CY, radius - 0.5, radius - 0.5))
    canvas.paint(rim, _brushed(metal), relief(rim, 1.2, 0.5), METAL)


def _turned(points: Points, degrees: float) -> Points:
    return rotate(points, degrees, (CX, CY))


def _draw_markers(canvas: Canvas, radius: float, ink: Colour, style: str) -> None:
    """Draw the minute track and the hour markers."""
    ticks = [_turned(np.array([[CX, CY - radius + 0.7], [CX, CY - radius + 1.7]]), n * 6) for n in range(60)]
    if style != "minimal":
        canvas.paint(stroke(0.22, *ticks), ink, opacity=0.75)
    for hour in range(12):
        is_quarter = hour % 3 == 0
        length = {"minimal": 2.6, "diver": 2.6, "dress": 3.6, "chrono": 2.6}[style] * (
            1.35 if is_quarter else 1
        )
        width = {"minimal": 0.5, "diver": 1.7, "dress": 0.8, "chrono": 0.8}[style] * (
            1.2 if is_quarter else 1
        )
        if style == "diver" and not is_quarter:
            shape = ellipse(CX, CY - radius + 3.7, 1.25, 1.25)
        else:
            shape = rectangle(CX - width / 2, CY - radius + 2.4, width, length, 0.2)
        mark = area(_turned(shape, hour * 30))
        canvas.cast(mark, 0.3, 0.35, (0.2, 0.25))
        canvas.paint(mark, ink, relief(mark, 0.4, 0.8), METAL)


def _draw_hands(canvas: Canvas, radius: float, ink: Colour, second: Colour, has_seconds: bool) -> None:
    """Draw hands at ten past ten, with the seconds at thirty-five."""
    for degrees, reach, width in ((-56, 0.52, 1.7), (62, 0.78, 1.25)):
        text = f"{CX - width * 0.35},{CY + 2.6}! {CX - width / 2},{CY - 3}! {CX - width * 0.28},{CY - radius * reach}! {CX},{CY - radius * reach - 1}! {CX + width * 0.28},{CY - radius * reach}! {CX + width / 2},{CY - 3}! {CX + width * 0.35},{CY + 2.6}!"
        hand = area(_turned(curve(text), degrees))
        canvas.cast(hand, 0.5, 0.4, (0.4, 0.6))
        canvas.paint(hand, ink, relief(hand, 0.5, 0.8), METAL)
    if has_seconds:
        needle = stroke(0.4, _turned(np.array([[CX, CY + 4.5], [CX, CY - radius * 0.84]]), 212))
        canvas.cast(needle, 0.4, 0.35, (0.4, 0.6))
        canvas.paint(needle, second)
    hub = area(ellipse(CX, CY, 1.25, 1.25))
    canvas.paint(hub, second if has_seconds else ink, relief(hub, 0.7, 0.9), METAL)


def _draw_dial(canvas: Canvas, radius: float, colour: Colour) -> Field:
    dial = area(ellipse(CX, CY, radius, radius))
    light, dark = lighter(colour, 0.16), darker(colour, 0.14)
    canvas.paint(
        dial,
        sweep(
            [
                (0, dark),
                (0.15, colour),
                (0.25, light),
                (0.4, colour),
                (0.6, dark),
                (0.7, light),
                (0.82, colour),
                (1, dark),
            ],
            CX,
            CY,
        ),
    )
    canvas.darken(
        (dial - np.clip(blur(area(ellipse(CX + 0.5, CY + 0.8, radius, radius)), 1.0) * 1.9 - 0.9, 0, 1)).clip(
            0, 1
        )
        * dial,
        0.5,
    )
    return dial


def _draw_glass(canvas: Canvas, dial: Field) -> None:
    glare = area(curve("34,38! 44,30 56,29! 40,58 33,60!")) * dial
    canvas.lighten(blur(glare, 0.5) * dial, 0.13)
    canvas.lighten(stroke(0.5, ellipse(CX, CY, 16.6, 16.6, (200, 262))) * dial, 0.35)


def _draw_subdials(canvas: Canvas, ink: Colour, colour: Colour) -> None:
    for x, y, turn in ((42.6, 50, 40), (57.4, 50, -70), (50, 57.6, 150)):
        well = area(ellipse(x, y, 4.3, 4.3))
        canvas.paint(well, darker(colour, 0.16), relief(well, 1.0, -0.4), METAL)
        canvas.paint(stroke(0.25, ellipse(x, y, 4.2, 4.2)), ink, opacity=0.8)
        needle = rotate(np.array([[x, y + 0.8], [x, y - 3.1]]), turn, (x, y))
        canvas.paint(stroke(0.4, needle), ink)


def _draw_bezel(canvas: Canvas, colour: Colour, ink: Colour) -> None:
    """Draw the numbered turning ring of a diving watch."""
    ring = np.clip(area(ellipse(CX, CY, 20.2, 20.2)) - area(ellipse(CX, CY, 16.2, 16.2)), 0, 1)
    canvas.paint(ring, colour, relief(ring, 1.0, 0.7), PLASTIC)
    for n in range(12):
        shape = rectangle(CX - 0.4, CY - 19.4, 0.8, 2.4, 0.2) if n else curve("48.2,31! 51.8,31! 50,33.8!")
        canvas.paint(area(_turned(shape, n * 30)), ink)


def _draw_digital(canvas: Canvas, variant: Variant) -> None:
    """Draw a square resin watch with a liquid crystal display."""
    colour, second = rgb(variant.colour), rgb(variant.second)
    body = curve(
        "33,33! 38,29 50,28.4 62,29 67,33! 68,42 68,58 67,67! 62,71 50,71.6 38,71 33,67! 32,58 32,42"
    )
    buttons = [rectangle(x, y, 2.6, 5, 0.8) for x in (30.6, 66.8) for y in (38.5, 56.5)]
    pads = area(*buttons)
    canvas.cast(pads, 0.8, 0.3, (0.6, 0.8))
    canvas.paint(pads, rgb("prata"), relief(pads, 0.8, 0.9), METAL)
    case = area(body)
    canvas.cast(case, 1.8, 0.5, (1.2, 1.6))
    canvas.paint(case, colour, relief(case, 2.0, 0.9), PLASTIC)
    face = area(rectangle(36, 34, 28, 32, 2.6))
    canvas.paint(face, darker(second, 0.15), relief(face, 0.9, -0.5), PLASTIC)
    screen = area(rectangle(38.4, 40.6, 23.2, 17.6, 1.2))
    canvas.paint(screen, (0.72, 0.77, 0.68), relief(screen, 0.8, -0.5), CLOTH)
    _draw_digits(canvas)
    canvas.paint(area(rectangle(44, 36.4, 12, 1.3, 0.5)), lighter(second, 0.55))
    canvas.paint(area(rectangle(41, 61, 18, 1.1, 0.5)), lighter(second, 0.35))
    glare = area(curve("36,34! 50,34! 40,66! 36,66!")) * face
    canvas.lighten(glare, 0.1)


SEGMENTS = {"1": "bc", "0": "abcdef", "8": "abcdefg", "2": "abged", "5": "afgcd"}


def _draw_digits(canvas: Canvas) -> None:
    ink = (0.13, 0.15, 0.13)
    lines: list[Points] = []
    for x, digit in ((40.2, "1"), (45.2, "0"), (52.0, "2"), (57.0, "8")):
        w, h, y = 3.0, 4.6, 45.2
        strokes = {
            "a": (0, 0, w, 0),
            "b": (w, 0, w, h),
            "c": (w, h, w, 2 * h),
            "d": (0, 2 * h, w, 2 * h),
            "e": (0, h, 0, 2 * h),
            "f": (0, 0, 0, h),
            "g": (0, h, w, h),
        }
        for name in SEGMENTS[digit]:
            x0, y0, x1, y1 = strokes[name]
            ends = np.array([[x + x0, y + y0], [x + x1, y + y1]])
            lines.append(ends + (ends[::-1] - ends) * 0.12)
    canvas.darken(stroke(0.85, *[points + [0.35, 0.4] for points in lines]), 0.16)
    canvas.paint(stroke(0.85, *lines), ink)
    canvas.paint(area(ellipse(50, 48, 0.55, 0.55), ellipse(50, 52, 0.55, 0.55)), ink)
    canvas.paint(stroke(0.4, line("40.4,43 48,43"), line("52,43 59.6,43")), ink, opacity=0.6)


def draw(canvas: Canvas, style: Style, variant: Variant) -> None:
    """Draw a watch from straight above, strap running up and down."""
    key = style.key
    if key == "digital":
        _draw_strap(canvas, variant, "resin")
        _draw_digital(canvas, variant)
        return
    metal = (
        rgb(variant.note.lower()) if variant.note.lower() in ("dourado", "rosé", "prata") else rgb("prata")
    )
    dial_colour = rgb(variant.second)
    ink = rgb("branco") if brightness(dial_colour) < 0.5 else rgb("grafite")
    if key == "aco":
        _draw_bracelet(
            canvas,
            rgb(variant.colour),
            rgb("dourado") if variant.pattern == "mixed" else lighter(rgb(variant.colour), 0.12),
        )
        metal = rgb(variant.colour)
    elif key == "malha":
        metal = rgb(variant.colour)
        _draw_strap(canvas, variant, "mesh")
    else:
        _draw_strap(canvas, variant, "leather")
        metal = rgb("dourado") if variant.pattern == "gold" else rgb("prata")
    _draw_case(canvas, metal, 21.4 if key != "malha" else 20.6)
    radius = {"aco": 16.4, "malha": 19.2}.get(key, 18.2)
    if key == "aco":
        _draw_bezel(canvas, dial_colour if brightness(dial_colour) < 0.6 else rgb("preto"), rgb("branco"))
    dial = _draw_dial(canvas, radius, dial_colour)
    kind = {"aco": "diver", "malha": "minimal", "cronografo": "chrono"}.get(key, "dress")
    _draw_markers(
        canvas, radius, ink if key != "classico" or metal != rgb("dourado") else mix(metal, ink, 0.2), kind
    )
    if key == "cronografo":
        _draw_subdials(canvas, ink, dial_colour)
    if key == "aco":
        canvas.paint(area(rectangle(59.4, 48.6, 3.6, 2.8, 0.3)), (0.97, 0.97, 0.96))
    _draw_hands(canvas, radius, ink, rgb("vermelho") if key in ("aco", "cronografo") else ink, key != "malha")
    _draw_glass(canvas, dial)


STYLES = (
    Style("classico", "Relógio Clássico Couro", "Meridiano", 289.90, (
        Variant("marrom", "branco"), Variant("preto", "branco", "gold"), Variant("caramelo", "azul-marinho"), Variant("vinho", "creme", "gold"),
        Variant("azul-marinho", "azul-marinho", "gold"),
    )),
    Style("aco", "Relógio Mergulho Aço", "Meridiano", 459.90, (
        Variant("prata", "azul-marinho"), Variant("prata", "preto"), Variant("prata", "verde-escuro"), Variant("dourado", "preto"),
        Variant("grafite", "preto"),
    )),
    Style("cronografo", "Relógio Cronógrafo", "Meridiano", 399.90, (
        Variant("preto", "preto"), Variant("café", "creme"), Variant("azul-marinho", "branco"), Variant("caramelo", "verde-escuro"),
    )),
    Style("malha", "Relógio Minimalista Malha", "Lume", 219.90, (
        Variant("prata", "branco"), Variant("dourado", "branco"), Variant("rosé", "rosé"), Variant("grafite", "preto"),
    )),
    Style("digital", "Relógio Digital", "Veloz", 129.90, (
        Variant("preto", "grafite"), Variant("vermelho", "preto"), Variant("azul", "azul-marinho"), Variant("rosa", "pink"),
    )),
)  # fmt: skip
FAMILY = Family("relogio", "Relógio", False, STYLES, draw)
