"""The demo catalogue: all families in order, and the picture of each product."""

from __future__ import annotations

from PIL import Image

from . import bolsa, bone, camiseta, caneca, jaqueta, oculos, perfume, relogio, tenis, vestido
from .canvas import Canvas
from .items import Product, products_of
from .studio import hang_paper

FAMILIES = tuple(
    module.FAMILY
    for module in (tenis, camiseta, jaqueta, vestido, bolsa, relogio, oculos, perfume, bone, caneca)
)
STANDING = {"tenis", "bolsa", "perfume", "bone", "caneca"}
TABLE_EDGE = 70.0  # drawing units from the top, for standing products


def all_products() -> list[Product]:
    """Return every product, family by family, in the order of the manifest."""
    return [product for family in FAMILIES for product in products_of(family)]


def draw_product(product: Product) -> Image.Image:
    """Return the picture of a product. It is deterministic."""
    canvas = Canvas()
    prefix = product.family.prefix
    paper = int(product.id.rpartition("_")[2]) + len(prefix)
    hang_paper(canvas, paper, TABLE_EDGE if prefix in STANDING else None)
    product.family.draw(canvas, product.style, product.variant)
    return canvas.picture()
