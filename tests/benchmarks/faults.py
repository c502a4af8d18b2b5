"""Faults planted into a folder of photos, so that what finds them can be judged. Judges nothing itself.

Shape letters: N photos.
"""

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
    """What was planted, by id. duplicates: copy → original. swapped: id → its true category."""

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
    """Copy a folder of categories and spoil some of it. limit: take every so many-th photo less."""
    random = np.random.default_rng(seed)
    files = sorted(photos.glob("*/*.jpg"))
    if limit is not None:
        files = [files[place] for place in np.linspace(0, len(files) - 1, limit).astype(int)]
    rows = []
    for file in files:
        name = f"{file.parent.name}-{file.name}"
        shutil.copyfile(file, into / name)
        rows.append(Row(file.stem, file.parent.name, name))
    planted = Planted(into / "catalogue.csv")
    left = [rows[place] for place in random.permutation(len(rows))]
    count = max(2, round(SHARE * len(rows)))
    _swap(left[:count], sorted({row.category for row in rows}), random, planted)
    rows += [_duplicate(row, into, random, planted) for row in left[count : 2 * count]]
    spoilt = left[2 * count :]
    _spoil(spoilt[:BLANKS], into, planted.blank, lambda size: _blank(size, random))
    placeholder = _placeholder()
    _spoil(spoilt[BLANKS : 2 * BLANKS], into, planted.placeholder, lambda _: placeholder)
    for row in spoilt[2 * BLANKS : 3 * BLANKS]:
        _change(row, into, lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 45)))
        planted.blurred.add(row.id)
    for row in spoilt[3 * BLANKS : 4 * BLANKS]:
        _change(row, into, lambda image: image.resize((40, round(40 * image.height / image.width))))
        planted.tiny.add(row.id)
    planted.hubs = {row.id for row in spoilt[4 * BLANKS : 4 * BLANKS + HUBS]}
    with planted.manifest.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow([each.name for each in dataclasses.fields(Row)])
        writer.writerows(dataclasses.astuple(row) for row in rows)
    return planted


def _swap(rows: Sequence[Row], categories: list[str], random: Any, planted: Planted) -> None:
    for row in rows:
        planted.swapped[row.id] = row.category
        row.category = str(random.choice([name for name in categories if name != row.category]))


def _duplicate(row: Row, into: Path, random: Any, planted: Planted) -> Row:
    """Return a product with a copy of the picture: saved again, smaller, or cut a little."""
    image = Image.open(into / row.image).convert("RGB")
    way = random.choice(["saved again", "smaller", "cut"])
    if way == "smaller":
        share = random.uniform(0.5, 0.85)
        image = image.resize((round(image.width * share), round(image.height * share)))
    if way == "cut":
        cuts = random.uniform(0.01, 0.05, 4)
        sides = np.array([image.width, image.height, -image.width, -image.height]) * cuts
        left, top, right, bottom = sides.round().astype(int).tolist()
        image = image.crop((left, top, image.width + right, image.height + bottom))
    copy = Row(f"{row.id}-again", row.category, f"again-{row.image}")
    image.save(into / copy.image, quality=int(random.integers(45, 85)))
    planted.duplicates[copy.id] = row.id
    return copy


def _spoil(rows: Sequence[Row], into: Path, ids: set[str], draw: Any) -> None:
    for row in rows:
        _change(row, into, lambda image: draw(image.size))
        ids.add(row.id)


def _change(row: Row, into: Path, change: Any) -> None:
    image = Image.open(into / row.image).convert("RGB")
    change(image).save(into / row.image, quality=90)


def _blank(size: tuple[int, int], random: Any) -> Image.Image:
    """Return a picture of nothing: one colour, a gradient of few steps, or faint noise."""
    base = random.integers(0, 256, 3)
    pixels = np.broadcast_to(base, (size[1], size[0], 3)).astype(float)
    kind = random.integers(3)
    if kind == 1:
        pixels = pixels + np.linspace(0, 8, size[1])[:, None, None]
    if kind == 2:
        pixels = pixels + random.normal(0, 2, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _placeholder() -> Image.Image:
    """Return the "no photo" that a shop shows."""
    image = Image.new("RGB", (400, 400), "#e8e8e8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((120, 130, 280, 250), outline="#999999", width=8)
    draw.ellipse((165, 155, 235, 225), outline="#999999", width=8)
    draw.text((150, 280), "sem foto", fill="#888888", font_size=28)
    return image


def make_hubs(planted: Planted, folder: IndexFolder, model: ModelSource) -> None:
    """Put vectors into the cache that make the planted hubs like everything of a category of their own.

    No picture does this on purpose; the mean of many vectors is nearer to each than they are to each other.
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
    with EmbeddingCache.open(folder.layout.cache) as cache:
        for hub, category in zip(hubs, largest, strict=True):
            members = [digests[row.id] for row in rows if row.category == category and row.id not in hubs]
            vectors = cache.vectors(model.key, members)
            width, height = cache.known(model.key, [digests[hub]])[digests[hub]]
            cache.forget([digests[hub]])
            mean = unit(vectors.mean(axis=0, keepdims=True))[0]
            cache.put(model.key, [CacheEntry(digests[hub], width, height, mean)])
