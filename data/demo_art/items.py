"""What a family of products is made of, and how it becomes rows. Draws nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .canvas import Canvas, Fill
from .fills import PATTERNS
from .palette import agreed, rgb

OUT_OF_STOCK_SHARE = 0.12


@dataclass(frozen=True)
class Look:
    """One variant of a style: its colours, pattern and what to add to the name."""

    colour: str
    second: str = "branco"
    pattern: str = "plain"
    note: str = ""
    motif: str = ""

    def fill(self, period: float | None = None) -> Fill:
        """Return the pattern in this look's colours; period in units, default the pattern's own."""
        options = {} if period is None or self.pattern == "plain" else {"period": period}
        return PATTERNS[self.pattern](rgb(self.colour), rgb(self.second), **options)


@dataclass(frozen=True)
class Style:
    """One item sold in several looks; they share a group."""

    key: str
    name: str
    brand: str
    price: float
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Family:
    """One category: file prefix, label, gender of the noun, styles, and the drawing."""

    prefix: str
    category: str
    is_feminine: bool
    styles: tuple[Style, ...]
    draw: Callable[[Canvas, Style, Look], None]


@dataclass(frozen=True)
class Product:
    """One row of the manifest and how to draw it."""

    id: str
    name: str
    family: Family
    style: Style
    look: Look
    price: float
    in_stock: bool

    @property
    def image(self) -> str:
        """File name of the picture, beside the manifest."""
        return f"{self.id}.jpg"

    @property
    def group(self) -> str:
        """Variants of one item share this."""
        return f"{self.family.prefix}-{self.style.key}"


def products_of(family: Family) -> Iterator[Product]:
    """Yield the products of a family, numbered in order."""
    number = 0
    for style in family.styles:
        for look in style.looks:
            number += 1
            product_id = f"{family.prefix}_{number:02d}"
            dice = random.Random(product_id)  # noqa: S311 - a fixed seed is the point
            yield Product(
                id=product_id,
                name=_name_of(family, style, look),
                family=family,
                style=style,
                look=look,
                price=style.price + dice.choice([0, 0, 0, -10, 10]) * (style.price > 60),
                in_stock=dice.random() >= OUT_OF_STOCK_SHARE,
            )


def _name_of(family: Family, style: Style, look: Look) -> str:
    """Return the name; the second colour joins it for two-tone looks, and where two would share a name."""
    words = [style.name, look.note, agreed(look.colour, family.is_feminine)]
    twins = [other for other in style.looks if (other.note, other.colour) == (look.note, look.colour)]
    if len(twins) > 1 or look.note == "Bicolor":
        words += ["e", agreed(look.second, family.is_feminine)]
    return " ".join(word for word in words if word)
