"""HTML pages of reports: the template with its data, texts and script, and the data that all reports share.

Shape letters: n rows, D dimension, C categories.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Rows, unit
from vitrine.indexer.errors import InputError, PictureError
from vitrine.indexer.evaluation.evaluation_set import PictureReader
from vitrine.indexer.files import atomic_write
from vitrine.indexer.pictures.preprocessing import make_thumbnail
from vitrine.indexer.progress import Progress
from vitrine.indexer.report.texts import TEXTS
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState

THUMBNAIL_PX = 160
# Limit for all thumbnails of a page together, before base64, which adds a third.
PICTURES_MAX_BYTES = 9 * 2**20
_THREADS = 4
Json = dict[str, Any]


def check_output_path(output: Path) -> None:
    """Raise InputError unless a page can be written to `output`."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--output {output}: the name must end in .html")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: the folder {output.parent} does not exist")


def write_page(output: Path, data: Json) -> int:
    """Write the page that displays `data`, atomically; return its size in bytes. Raises StorageFull."""
    folder = files("vitrine.indexer.report")
    page = folder.joinpath("page.html").read_text(encoding="utf-8")
    parts = {"{{DATA}}": _to_script_json(data), "{{TEXTS}}": _to_script_json(TEXTS)}
    parts["{{SCRIPT}}"] = folder.joinpath("page.js").read_text(encoding="utf-8")
    for placeholder, part in parts.items():
        before, after = page.split(placeholder)
        page = before + part + after
    body = page.encode()
    with atomic_write(output) as file:
        file.write(body)
    return len(body)


def _to_script_json(value: Any) -> str:
    """Return JSON for a script element. "<" is escaped, so that a product name cannot end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def state_data(state: CatalogueState) -> Json:
    """Return the data on a catalogue state that every page displays."""
    codes = np.unique(state.category_codes[state.live_rows])
    return {
        "state": state.tag,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "productCount": len(state.live_rows),
        "categoryCount": sum(bool(state.categories[code]) for code in codes),
    }


def product_data(folder: IndexFolder, state: CatalogueState, ids: Sequence[str], progress: Progress) -> Json:
    """Return the names, categories and thumbnails of products by id.

    Ids that the snapshot does not have are left out. Thumbnails are base64 WebP, in the order of `ids` until
    PICTURES_MAX_BYTES is reached.
    """
    table, products = state.snapshot.table, {}
    rows: dict[str, int] = {}
    for product_id in ids:
        row = table.row_of(product_id)
        if row is not None:
            product = state.product(row)
            products[product_id] = [product.name, product.category]
            rows[product_id] = row
    pictures: dict[str, str] = {}
    bytes_left = PICTURES_MAX_BYTES
    reader = PictureReader(folder, state.snapshot)

    def read_thumbnail(row: int) -> bytes:
        try:
            return make_thumbnail(reader.read(row), THUMBNAIL_PX)
        except PictureError:
            return b""
        finally:
            progress.advance(1)

    progress.start(len(rows), "thumbnails")
    with ThreadPoolExecutor(_THREADS) as pool:
        for product_id, data in zip(rows, pool.map(read_thumbnail, rows.values()), strict=True):
            if data and bytes_left >= len(data):
                bytes_left -= len(data)
                pictures[product_id] = base64.b64encode(data).decode()
    progress.done()
    return {"products": products, "pictures": pictures}


def category_centroids(state: CatalogueState, rows: Rows) -> tuple[list[str], FloatMatrix, Rows]:
    """Return the names, the unit centroids (C, D) and the counts (C,) of the categories of `rows`."""
    codes, indices = np.unique(state.category_codes[rows], return_inverse=True)
    sums = np.zeros((len(codes), state.segments.dimension), np.float32)
    np.add.at(sums, indices, state.segments.vectors(rows))
    counts = np.bincount(indices, minlength=len(codes))
    return [state.categories[code] for code in codes], unit(sums), counts
