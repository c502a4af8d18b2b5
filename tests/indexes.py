"""Sample products, small index folders of them, and a simple network that embeds their pictures."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.pictures import jpeg
from vitrine.indexer.build.calibration import calibrate_confidence
from vitrine.indexer.pictures.preprocessing import open_picture
from vitrine.indexer.products.failures import write_failures
from vitrine.indexer.products.schema import Product
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.manifest import Manifest, ModelRecord
from vitrine.indexer.snapshot.snapshot import CONFIDENCE, FAILURES, INDEX, TABLE, TEXT, TRANSFORM, VECTORS
from vitrine.indexer.transform.transform import Transform
from vitrine.service.pictures.embedding import EmbeddedPhoto

DIMENSION = 48
MODEL = ModelRecord("grid", "grid", "sha256:0", "decode|resize(4,4)|value_range(0,1)", DIMENSION)
CATEGORIES = ("tênis", "bolsa", "relógio")


class GridEmbedder:
    """An embedder of photos: the colours of a 4 x 4 grid, less grey, as a unit vector.

    calls: the number of pictures embedded so far.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.pending = 0

    def embed(self, data: bytes, model: ModelRecord) -> EmbeddedPhoto:
        assert model == MODEL
        self.calls += 1
        image = open_picture(data)
        return EmbeddedPhoto(grid_vector(image), image.width, image.height)

    def warm(self, model: ModelRecord) -> None:
        assert model == MODEL

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def grid_vector(image: Image.Image) -> Any:
    """Return the unit vector of a picture, (DIMENSION,)."""
    small = np.asarray(image.resize((4, 4), Image.Resampling.BOX), np.float32).reshape(-1) / 255 - 0.5
    small[0] += 1e-3
    return (small / np.linalg.norm(small)).astype(np.float32)


@dataclass(frozen=True)
class SampleProduct:
    """A product, its vector and the bytes of its picture."""

    product: Product
    vector: Any
    picture: bytes


def make_samples(folder: Path, count: int = 12, first_seed: int = 0) -> list[SampleProduct]:
    """Write pictures into `folder` and return their products: p00, p01, … of three categories in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for number in range(count):
        data = jpeg(48, 32, first_seed + number)
        path = folder / f"p{number:02d}.jpg"
        path.write_bytes(data)
        product = Product(
            id=f"p{number:02d}",
            name=f"{CATEGORIES[number % 3].title()} {number:02d}",
            category=CATEGORIES[number % 3],
            group=f"g{number // 2}" if number < 8 else None,
            image=str(path.absolute()),
            sha256=hashlib.sha256(data).hexdigest(),
            width_px=48,
            height_px=32,
            attributes={
                "price": 10.0 * number,
                "brand": "acme" if number % 2 else "zeta",
                "in_stock": number < 9,
            },
        )
        samples.append(SampleProduct(product, grid_vector(Image.open(io.BytesIO(data)).convert("RGB")), data))
    return samples


def publish(
    index: Path,
    products: Sequence[Product],
    vectors: Any,
    source: Path,
    *,
    set_current: bool = True,
    recipe: str = "flat",
    **manifest: Any,
) -> str:
    """Publish a snapshot of products and their unit vectors (N, D); return its name.

    manifest: fields that replace the defaults.
    """
    folder = IndexFolder(index)
    matrix = np.ascontiguousarray(vectors, np.float32)
    with folder.publishing(), folder.staging() as staged:
        np.save(staged / VECTORS, matrix)
        table = Table.from_products(products)
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        Transform("none", "a test").save(staged / TRANSFORM)
        write_failures(staged / FAILURES, [])
        stored = np.load(staged / VECTORS, mmap_mode="r")
        report = build_index(stored, RecipeRequest(recipe), staged / INDEX)
        opened_index = VectorIndex.open(staged / INDEX, stored, report.parameters)
        calibrate_confidence(stored, table, opened_index).save(staged / CONFIDENCE)
        record = _manifest(folder.staged_name(staged), table, matrix, source, dataclasses.asdict(report))
        return folder.publish(staged, dataclasses.replace(record, **manifest), set_current=set_current).name


def publish_samples(index: Path, samples: Sequence[SampleProduct], source: Path, **manifest: Any) -> str:
    """Publish a snapshot of sample products; return its name."""
    products, vectors = [sample.product for sample in samples], [sample.vector for sample in samples]
    return publish(index, products, vectors, source, **manifest)


def _manifest(name: str, table: Table, matrix: Any, source: Path, recipe: dict[str, Any]) -> Manifest:
    return Manifest(
        snapshot=name,
        built_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        vitrine="test",
        source=str(source),
        products=len(table),
        deleted=int(table.deleted.sum()),
        failed=0,
        categories=len(table.categories),
        model=dataclasses.replace(MODEL, dimension=matrix.shape[1]),
        dimension=matrix.shape[1],
        vector_dtype="float32",
        transform={"name": "none", "why": "a test"},
        recipe=recipe,
        recall_at_10=1.0,
        latency={"p50_ms": 0.1, "p95_ms": 0.2},
        journal_sequence=0,
        uploads_sequence=0,
    )
