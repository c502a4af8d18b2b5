"""Small published catalogues of random pictures, for tests of the quality analysis."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tests.indexes import grid_vector, publish
from vitrine.indexer.products.schema import Product
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.quality.analysis import analyse
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.store import Analysis
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import read_state

Pictures = dict[str, tuple[str, bytes]]


def random_image(seed: int, size: tuple[int, int] = (240, 200)) -> Image.Image:
    """Return an image of soft shapes, a different one for each seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (7, 8, 3)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    fine = random.normal(0, 12, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(smooth, float) + fine, 0, 255).astype(np.uint8))


def encode_jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def faultless_pictures() -> Pictures:
    """Return (category, picture) by id of twelve products without mistakes, in two categories."""
    return {f"p{seed:02}": (f"c{seed % 2}", encode_jpeg(random_image(seed))) for seed in range(12)}


def publish_catalogue(
    folder: Path, pictures: Pictures, groups: Mapping[str, str] | None = None
) -> IndexFolder:
    """Publish products, given as (category, picture) by id, into folder/index. groups: by id."""
    photos = folder / "photos"
    photos.mkdir()
    products, vectors = [], []
    for id_, (category, data) in sorted(pictures.items()):
        path = photos / f"{id_}.jpg"
        path.write_bytes(data)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        digest = hashlib.sha256(data).hexdigest()
        group = (groups or {}).get(id_)
        products.append(Product(id_, id_.title(), category, group, str(path), digest, *image.size))
        vectors.append(grid_vector(image))
    publish(folder / "index", products, np.stack(vectors), photos)
    return IndexFolder(folder / "index")


def analyse_folder(folder: IndexFolder) -> Analysis:
    """Return the analysis of a folder's current state."""
    return analyse(folder, read_state(folder), SilentProgress())


def findings_of_type(analysis: Analysis, finding_type: str) -> list[Finding]:
    return [finding for finding in analysis.findings if finding.type == finding_type]
