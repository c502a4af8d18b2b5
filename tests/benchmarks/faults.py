"""Faults planted into a copy of a folder of photos, for the benchmark of quality analysis."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vitrine.indexer.arrays import unit
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.models import ModelSource
from vitrine.indexer.snapshot.folder import IndexFolder

SHARE = 0.02
BLANKS = BLURS = TINY = PLACEHOLDERS = 10
HUBS = 5


@dataclass
class Planted:
    """The planted faults by product id. duplicates: copy → original. swapped: id → true category."""

    manifest: Path
    duplicates: dict[str, str] = field(default_factory=dict)
    swapped: dict[str, str] = field(default_factory=dict)
    blank: set[str] = field(default_factory=set)
    blurred: set[str] = field(default_factory=set)
    tiny: set[str] = field(default_factory=set)
    placeholder: set[str] = field(default_factory=set)
    hubs: set[str] = field(default_factory=set)


@dataclass
class Row:
    """One line of the manifest."""

    id: str
    category: str
    image: str


def plant(photos: Path, into: Path, seed: int, limit: int | None = None) -> Planted:
    """Copy a folder of categories and plant faults. limit: number of photos, spread over the folder."""
    random = np.random.default_rng(seed)
    files = sorted(photos.glob("*/*.jpg"))
    if limit is not None:
        files = [files[index] for index in np.linspace(0, len(files) - 1, limit).astype(int)]
    rows = []
    for file in files:
        name = f"{file.parent.name}-{file.name}"
        shutil.copyfile(file, into / name)
        rows.append(Row(file.stem, file.parent.name, name))
    planted = Planted(into / "catalogue.csv")
    shuffled = [rows[index] for index in random.permutation(len(rows))]
    count = max(2, round(SHARE * len(rows)))
    _swap(shuffled[:count], sorted({row.category for row in rows}), random, planted)
    rows += [_duplicate(row, into, random, planted) for row in shuffled[count : 2 * count]]
    remaining = shuffled[2 * count :]
    _replace_pictures(remaining[:BLANKS], into, planted.blank, lambda size: _draw_blank(size, random))
    placeholder = _draw_placeholder()
    _replace_pictures(remaining[BLANKS : 2 * BLANKS], into, planted.placeholder, lambda _: placeholder)
    for row in remaining[2 * BLANKS : 3 * BLANKS]:
        _edit_picture(row, into, lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 45)))
        planted.blurred.add(row.id)
    for row in remaining[3 * BLANKS : 4 * BLANKS]:
        _edit_picture(row, into, lambda image: image.resize((40, round(40 * image.height / image.width))))
        planted.tiny.add(row.id)
    planted.hubs = {row.id for row in remaining[4 * BLANKS : 4 * BLANKS + HUBS]}
    with planted.manifest.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow([column.name for column in dataclasses.fields(Row)])
        writer.writerows(dataclasses.astuple(row) for row in rows)
    return planted


def _swap(rows: Sequence[Row], categories: list[str], random: Any, planted: Planted) -> None:
    """Assign another category to each of the rows."""
    for row in rows:
        planted.swapped[row.id] = row.category
        row.category = str(random.choice([name for name in categories if name != row.category]))


def _duplicate(row: Row, into: Path, random: Any, planted: Planted) -> Row:
    """Return a product with a copy of the picture: saved again, resized, or cropped by up to 5 % per side."""
    image = Image.open(into / row.image).convert("RGB")
    change = random.choice(["saved again", "resized", "cropped"])
    if change == "resized":
        share = random.uniform(0.5, 0.85)
        image = image.resize((round(image.width * share), round(image.height * share)))
    if change == "cropped":
        cuts = random.uniform(0.01, 0.05, 4)
        sides = np.array([image.width, image.height, -image.width, -image.height]) * cuts
        left, top, right, bottom = sides.round().astype(int).tolist()
        image = image.crop((left, top, image.width + right, image.height + bottom))
    copy = Row(f"{row.id}-again", row.category, f"again-{row.image}")
    image.save(into / copy.image, quality=int(random.integers(45, 85)))
    planted.duplicates[copy.id] = row.id
    return copy


def _replace_pictures(rows: Sequence[Row], into: Path, ids: set[str], draw: Any) -> None:
    for row in rows:
        _edit_picture(row, into, lambda image: draw(image.size))
        ids.add(row.id)


def _edit_picture(row: Row, into: Path, edit: Any) -> None:
    image = Image.open(into / row.image).convert("RGB")
    edit(image).save(into / row.image, quality=90)


def _draw_blank(size: tuple[int, int], random: Any) -> Image.Image:
    """Return a picture without content: one colour, a weak gradient, or weak noise."""
    base = random.integers(0, 256, 3)
    pixels = np.broadcast_to(base, (size[1], size[0], 3)).astype(float)
    pattern = random.integers(3)
    if pattern == 1:
        pixels = pixels + np.linspace(0, 8, size[1])[:, None, None]
    if pattern == 2:
        pixels = pixels + random.normal(0, 2, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _draw_placeholder() -> Image.Image:
    """Return a placeholder picture of a shop, with the text "sem foto" (no photo)."""
    image = Image.new("RGB", (400, 400), "#e8e8e8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((120, 130, 280, 250), outline="#999999", width=8)
    draw.ellipse((165, 155, 235, 225), outline="#999999", width=8)
    draw.text((150, 280), "sem foto", fill="#888888", font_size=28)
    return image


def make_hubs(planted: Planted, folder: IndexFolder, model: ModelSource) -> None:
    """Replace the cached vector of each planted hub by the mean vector of a category.

    A mean is nearer to the vectors of its category than they are to each other, so it becomes a hub.
    """
    with planted.manifest.open(encoding="utf-8") as file:
        rows = [Row(**line) for line in csv.DictReader(file)]
    digests = {
        row.id: hashlib.sha256((planted.manifest.parent / row.image).read_bytes()).digest() for row in rows
    }
    hubs = sorted(planted.hubs)
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.category] = sizes.get(row.category, 0) + 1
    largest = sorted(sizes, key=lambda name: -sizes[name])[: len(hubs)]
    with EmbeddingCache(folder.layout.cache) as cache:
        for hub, category in zip(hubs, largest, strict=True):
            members = [digests[row.id] for row in rows if row.category == category and row.id not in hubs]
            vectors = cache.vectors(model.key, members)
            width, height = cache.sizes_px(model.key, [digests[hub]])[digests[hub]]
            cache.delete([digests[hub]])
            mean = unit(vectors.mean(axis=0, keepdims=True))[0]
            cache.put(model.key, [CacheEntry(digests[hub], width, height, mean)])
