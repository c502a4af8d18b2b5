"""Colours by their Portuguese names, with agreement in gender for product names."""

from __future__ import annotations

from .canvas import Colour

HEX = {
    "branco": "#f3f1ec", "off-white": "#ece5d8", "preto": "#27272b", "cinza": "#9a9ca1",
    "grafite": "#4b4e55", "prata": "#c3c7cc", "vermelho": "#c8322f", "vinho": "#6d1f31",
    "rosa": "#e79aae", "pink": "#d83a7c", "salmão": "#ee9a82", "coral": "#ea6a52",
    "laranja": "#e57b29", "terracota": "#b8593a", "amarelo": "#f0c239", "mostarda": "#c9962b",
    "dourado": "#c9a256", "bege": "#d8c3a0", "areia": "#cdb694", "caramelo": "#b0713a",
    "marrom": "#6b4630", "café": "#4a3128", "verde": "#3f8a58", "verde-militar": "#65683f",
    "verde-escuro": "#1f4a3a", "menta": "#a5d3bd", "oliva": "#878546", "turquesa": "#2f9fa5",
    "azul": "#3467b4", "azul-claro": "#8db9df", "azul-marinho": "#232f52", "azul-denim": "#52749e",
    "delavê": "#8aa9c8", "índigo": "#2d4163", "lilás": "#b7a1d4", "roxo": "#63408c",
    "rosé": "#d9a795", "âmbar": "#d98f3a", "tartaruga": "#7a4a26", "transparente": "#d9dee2",
    "creme": "#efe3c8", "champanhe": "#e2c9a4", "cobre": "#b3704b",
}  # fmt: skip
FEMININE = {
    "branco": "branca", "preto": "preta", "vermelho": "vermelha", "amarelo": "amarela",
    "roxo": "roxa", "dourado": "dourada",
}  # fmt: skip


def rgb(name: str) -> Colour:
    """Return the colour of a Portuguese name or a #rrggbb string, sRGB in [0, 1]."""
    digits = HEX.get(name, name).lstrip("#")
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def mix(first: Colour, second: Colour, t: float) -> Colour:
    """Return the linear interpolation between two colours, at t in [0, 1]."""
    red, green, blue = (a + (b - a) * t for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, amount: float = 0.3) -> Colour:
    """Return the colour moved towards a cool black."""
    return mix(colour, (0.06, 0.06, 0.1), amount)


def lighter(colour: Colour, amount: float = 0.3) -> Colour:
    """Return the colour moved towards white."""
    return mix(colour, (1.0, 1.0, 1.0), amount)


def brightness(colour: Colour) -> float:
    """Return the perceived brightness in [0, 1] (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def agreed(name: str, feminine: bool) -> str:
    """Return the name of a colour in title case, in the gender of the product."""
    words = (FEMININE.get(name, name) if feminine else name).split("-")
    return "-".join(word[:1].upper() + word[1:] for word in words)
