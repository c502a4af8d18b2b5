"""Folders of small pictures, and builds of them that take little time."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tests.pictures import jpeg
from vitrine.indexer.build.build import BuildOptions, BuildReport, build_snapshot
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder

MODEL = "efficientnet-lite2"


def write_folder(root: Path, categories: int = 3, per_category: int = 4, first_seed: int = 0) -> Path:
    """Write small JPEGs, all different, as root/cN/pM.jpg: `per_category` in each category."""
    for category in range(categories):
        folder = root / f"c{category}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(per_category):
            seed = first_seed + category * per_category + number
            (folder / f"p{number}.jpg").write_bytes(jpeg(64, 48, seed))
    return root


def build_folder(source: Path | str, index: Path, **options: Any) -> BuildReport:
    """Build with the packaged network and the given BuildOptions."""
    build_options = dataclasses.replace(BuildOptions(model=MODEL), **options)
    return build_snapshot(str(source), IndexFolder(index), build_options, SilentProgress())


def write_upload(index: Path, product_id: str, picture: bytes) -> Upload:
    """Write an uploaded picture into an index folder; return its record for the journal."""
    (index / "uploads").mkdir(exist_ok=True)
    (index / "uploads" / f"{product_id}.jpg").write_bytes(picture)
    product = {
        "id": product_id,
        "name": "Nova",
        "category": "c0",
        "group": None,
        "image": f"uploads/{product_id}.jpg",
        "sha256": "",
        "width_px": 64,
        "height_px": 48,
        "attributes": {"price": 9.5},
    }
    return Upload(product, "", np.zeros(1280, np.float32))
