"""Script that draws the demo catalogue: `python data/make_demo.py [FOLDER]` writes JPEGs and catalogue.csv.

The output is deterministic: the same versions of Pillow and NumPy write the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from demo_art.catalogue import all_products, draw_product
from demo_art.items import Product

HERE = Path(__file__).resolve().parent
JPEG_QUALITY = 82
COLUMNS = ("id", "name", "category", "image", "group", "price", "brand", "colour", "in_stock")


def manifest_row(product: Product) -> dict[str, str]:
    """Return the row of a product in the manifest."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.family.category,
        "image": product.image,
        "group": product.group,
        "price": f"{product.price:.2f}",
        "brand": product.style.brand,
        "colour": product.variant.colour,
        "in_stock": str(product.in_stock).lower(),
    }


def write_manifest(products: list[Product], path: Path) -> None:
    """Write catalogue.csv (UTF-8, comma, one header line)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(manifest_row(product) for product in products)


def write_picture(product: Product, folder: Path) -> None:
    """Draw one product and save it as JPEG."""
    draw_product(product).save(folder / product.image, quality=JPEG_QUALITY, optimize=True)


def main() -> None:
    """Draw all products, with one process for each core."""
    parser = argparse.ArgumentParser(description="Draw the demo catalogue.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "demo")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    products = all_products()
    write_manifest(products, folder / "catalogue.csv")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(write_picture, folder=folder), products, chunksize=8))
    size = sum(path.stat().st_size for path in folder.iterdir())
    sys.stdout.write(f"{len(products)} products in {folder}, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
