"""Folders of small pictures and what a build needs to index them quickly; for tests of whole builds."""

import dataclasses
from pathlib import Path
from typing import Any

from tests.pictures import jpeg
from vitrine.indexer.build.build import BuildOptions, BuildReport, build
from vitrine.indexer.progress import Silent
from vitrine.indexer.snapshot.snapshot import IndexFolder

MODEL = "efficientnet-lite2"


def write_folder(root: Path, categories: int = 3, each: int = 4, first_seed: int = 0) -> Path:
    """Write categories x each small JPEGs as root/cN/pM.jpg, each another picture."""
    for category in range(categories):
        folder = root / f"c{category}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            seed = first_seed + category * each + number
            (folder / f"p{number}.jpg").write_bytes(jpeg(64, 48, seed))
    return root


def build_folder(source: Path | str, index: Path, **options: Any) -> BuildReport:
    """Build with the packaged network, two-picture batches, and the given options."""
    chosen = dataclasses.replace(BuildOptions(model=MODEL), **options)
    return build(str(source), IndexFolder(index), chosen, Silent())
