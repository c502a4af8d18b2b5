"""Families of products, their styles and variants, and the products of the catalogue."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .canvas import Canvas, Fill
from .fills import PATTERNS
from .palette import agreed, rgb

OUT_OF_STOCK_SHARE = 0.12


@dataclass(frozen=True)
class Variant:
    """A variant of a style: its colours, its pattern, and a note that is added to the name."""

    colour: str
    second: str = "branco"
    pattern: str = "plain"
    note: str = ""
    motif: str = ""

    def fill(self, period: float | None = None) -> Fill:
        """Return the pattern in the colours of this variant. period: in drawing units, or the default."""
        options = {} if period is None or self.pattern == "plain" else {"period": period}
        return PATTERNS[self.pattern](rgb(self.colour), rgb(self.second), **options)


@dataclass(frozen=True)
class Style:
    """An item sold in several variants, which share a group."""

    key: str
    name: str
    brand: str
    price: float
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Family:
    """A category: file prefix, label, gender of the noun, styles, and drawing function."""

    prefix: str
    category: str
    is_feminine: bool
    styles: tuple[Style, ...]
    draw: Callable[[Canvas, Style, Variant], None]


@dataclass(frozen=True)
class Product:
    """A product: a row of the manifest, with the style and variant to draw."""

    id: str
    name: str
    family: Family
    style: Style
    variant: Variant
    price: float
    in_stock: bool

    @property
    def image(self) -> str:
        """File name of the picture, in the folder of the manifest."""
        return f"{self.id}.jpg"

    @property
    def group(self) -> str:
        """Identifier shared by the variants of an item."""
        return f"{self.family.prefix}-{self.style.key}"


def products_of(family: Family) -> Iterator[Product]:
    """Yield the products of a family, numbered in order."""
    number = 0
    for style in family.styles:
        for variant in style.variants:
            number += 1
            product_id = f"{family.prefix}_{number:02d}"
            generator = random.Random(product_id)  # noqa: S311 (a fixed seed, not cryptography)
            yield Product(
                id=product_id,
                name=_name_of(family, style, variant),
                family=family,
                style=style,
                variant=variant,
                price=style.price + generator.choice([0, 0, 0, -10, 10]) * (style.price > 60),
                in_stock=generator.random() >= OUT_OF_STOCK_SHARE,
            )


def _name_of(family: Family, style: Style, variant: Variant) -> str:
    """Return the name of a variant. The second colour is part of it if needed to tell two variants apart."""
    words = [style.name, variant.note, agreed(variant.colour, family.is_feminine)]
    twins = [
        other for other in style.variants if (other.note, other.colour) == (variant.note, variant.colour)
    ]
    if len(twins) > 1 or variant.note == "Bicolor":
        words += ["e", agreed(variant.second, family.is_feminine)]
    return " ".join(word for word in words if word)
