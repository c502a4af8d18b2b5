"""Golden snapshots: small index folders in the first format, and the answers that were given from them.

Ran once, at the version that README.md names, as `python -m data.golden.make_golden FOLDER` from the root of
the repository; the photo lay beside it. Kept to show how the snapshots came about, not to be run again.
Shape letters: N products, D dimension.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from indexer.build import BuildOptions, build
from indexer.cache import CacheEntry, EmbeddingCache
from indexer.candidate import plan_candidate, write_candidate
from indexer.compact import compact
from indexer.embedding import EmbeddingRun
from indexer.live_state import fold_journal
from indexer.models import ModelSource
from indexer.places import LocalPlace
from indexer.progress import Silent
from indexer.purge import purge
from indexer.recipes import RecipeRequest
from indexer.recipes.costs import Costs
from indexer.snapshot import IndexFolder
from indexer.source import Source
from service import Catalogue, ServiceConfig, create_app
from service.photos import PhotoEmbedder
from tests.golden_questions import API, ask, cli_answers, http_questions, python_answers
from tests.http_client import Client, client_of
from tests.indexes import MODEL, GridEmbedder

Json = dict[str, Any]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Picture = Callable[[int], bytes]

DEMO = Path(__file__).parents[1] / "demo"
# Where the sources are said to lie: nothing of the machine that ran this may be in the snapshots.
URL = "memory://vitrine-golden"
SHOP = "/srv/loja"
FAMILIES = ("bolsa", "bone", "oculos", "tenis")
CATEGORIES = ("Bolsa", "Boné", "Camiseta", "Óculos", "Relógio", "Tênis")
BRANDS = ("Veloz", "Trilha", "Cais")
COLOURS = ("azul", "preto", "vermelho", "branco", "açaí")
TAGS: tuple[list[str], ...] = (["novo"], ["novo", "verão"], [], ["promoção"])
# As on a machine that reads vectors slowly, so that graph, lists, codes and sketch are really used.
SLOW_READS = Costs(
    row=1.0, every=0.5, skip=0.005, code=0.01, step=0.02, call=1.0, bound=0.01, pick=0.02, sift=1.0, left=0.2
)
RULES = """\
[[pin]]
name = "vitrine da semana"
when = {{category = "{category}"}}
show = {{id = ["{pinned}"]}}
place = 2

[[ban]]
name = "fora de linha"
hide = {{where = {{colour = "branco", in_stock = false}}}}

[[never_together]]
name = "marcas rivais"
one = {{where = {{brand = "Trilha", price = {{gt = 60}}}}}}
other = {{where = {{brand = "Cais", price = {{gt = 60}}}}}}
"""


@dataclass(frozen=True)
class Shop:
    """What is for sale: a table of products without their pictures, and what the questions are about."""

    table: pa.Table
    subjects: Json

    @property
    def ids(self) -> list[str]:
        """The ids of all products."""
        ids: list[str] = self.table["id"].to_pylist()
        return ids


@dataclass(frozen=True)
class Plan:
    """An index folder of synthetic vectors.

    has_sketch: exact search gets a sketch. is_half: vectors are stored as float16. all_kinds: the journal
    holds every kind of change, and there are rules; otherwise the journal is of its first version.
    purges_catalogue: a product of the snapshot is purged, not an upload.
    """

    name: str
    recipe: str
    transform: str
    has_sketch: bool = False
    is_half: bool = False
    all_kinds: bool = True
    purges_catalogue: bool = False


PLANS = (
    Plan("hnsw-centre", "hnsw", "centre"),
    Plan("ivf-adapt", "ivf", "adapt", has_sketch=True, purges_catalogue=True),
    Plan("packed-none", "SVD24,IVF4,PQ12x4fsr", "none", is_half=True, all_kinds=False),
)


@click.command()
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
def main(output: Path) -> None:
    """Write the index folders and their answers into OUTPUT."""
    output.mkdir(parents=True, exist_ok=True)
    record(output, "flat-none", make_flat(output / "flat-none"), None)
    for plan in PLANS:
        embedder = GridEmbedder()
        record(output, plan.name, make_synthetic(output / plan.name, plan, embedder), embedder)


def record(output: Path, name: str, subjects: Json, embedder: PhotoEmbedder | None) -> None:
    """Ask every question of a copy of a finished index folder and write the answers beside the folder."""
    for left in ("cache", "build.lock"):
        path = output / name / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    scratch = output / f"{name}.scratch"
    index = Path(shutil.copytree(output / name, scratch / "index"))
    with served(index, embedder) as (client, catalogue):
        http = {each.name: ask(client, each) for each in http_questions(subjects)}
        python = python_answers(catalogue, subjects)
        parts = {"http": http, "python": python, "cli": cli_answers(index, scratch)}
    shutil.rmtree(scratch)
    lines = [f'"subjects": {json.dumps(subjects, ensure_ascii=False)}']
    for part, answers in parts.items():
        told = [f"{json.dumps(key)}: {json.dumps(each, ensure_ascii=False)}" for key, each in answers.items()]
        lines.append(f'"{part}": {{\n' + ",\n".join(told) + "\n}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (output / f"{name}.answers.json").write_text(text, encoding="utf-8")


def make_flat(index: Path) -> Json:
    """Make `flat-none`: demo pictures embedded by the packaged network, from a source behind a URL.

    One of its rows was uploaded before the second build, another is the copy of a picture, and one picture
    cannot be read.
    """
    with (DEMO / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        known = {row["id"]: row for row in csv.DictReader(file)}
    ids = [f"{family}_{number:02d}" for family in FAMILIES for number in range(1, 7)]
    names = [known[name]["name"] for name in ids] + ["Pé de Moleque", "Peça única", "Foto quebrada"]
    categories = [known[name]["category"] for name in ids] + ["", "Raridade", "Bolsa"]
    files = [DEMO / f"{name}.jpg" for name in (*ids, "bone_09", "bolsa_01")]
    shop = shop_of([*ids, "pé-de-moleque 01", "raridade:01", "quebrada_01"], names, categories)
    subjects = shop.subjects | {
        "uncategorised": "pé-de-moleque 01", "accented": "pé-de-moleque 01", "purged": "segredo-01",
        "dimension": 1280, "words": "tenis", "typo": "ocluos", "min_score": 0.45,
    }  # fmt: skip
    source = _store([*(file.read_bytes() for file in files), b"not a picture"], shop.table)
    folder = IndexFolder(index)
    options = BuildOptions(
        model="efficientnet-lite2", recipe=RecipeRequest("flat"), transform="none", keep=1, force=True
    )
    build(source, folder, options, Silent())
    with served(index, None) as (client, _):
        upload(client, "antigo-01", "Bolsa de Feira", "Bolsa", demo_picture(7))
        upload(client, "segredo-01", "Protótipo", "Bolsa", demo_picture(8))
    purge(folder, ["segredo-01"])
    build(source, folder, options, Silent())
    fsspec.filesystem("memory").rm(URL, recursive=True)
    shutil.rmtree(folder.layout.cache)
    with served(index, None) as (client, _):
        early_changes(client, shop.ids)
    compact(folder, keep=1)
    write_rules(index, subjects)
    with served(index, None) as (client, _):
        subjects |= live_changes(client, shop.ids, demo_picture)
        subjects |= further_changes(client, shop.ids, demo_picture)
    return subjects


def _store(pictures: Sequence[bytes], products: pa.Table) -> str:
    """Put pictures and a manifest of them behind a URL; return that of the manifest."""
    memory = fsspec.filesystem("memory")
    images = [f"{number:02d}.jpg" for number in range(len(pictures))]
    for image, data in zip(images, pictures, strict=True):
        memory.pipe(f"{URL}/{image}", data)
    out = io.BytesIO()
    pq.write_table(products.append_column("image", pa.array(images)), out)
    memory.pipe(f"{URL}/produtos.parquet", out.getvalue())
    return f"{URL}/produtos.parquet"


def make_synthetic(index: Path, plan: Plan, embedder: PhotoEmbedder) -> Json:
    """Make an index folder of 240 products with synthetic vectors, as a build, `compact` and `purge` do."""
    count = 240
    ids = [f"peca-{number:03d}" for number in range(count)]
    ids[7] = "maçã do amor 07"
    categories = [CATEGORIES[number % len(CATEGORIES)] for number in range(count)]
    categories[5], categories[11] = "", "Raridade"
    names = [f"{CATEGORIES[n % 6]} {COLOURS[n % 5]} {n:03d}" for n in range(count)]
    shop = shop_of(ids, names, categories)
    subjects = shop.subjects | {
        "uncategorised": ids[5], "accented": ids[7], "dimension": MODEL.dimension,
        "purged": ids[17] if plan.purges_catalogue else "segredo-01",
        "words": "relogio", "typo": "camizeta", "min_score": 0.3,
    }  # fmt: skip
    folder = IndexFolder(index)
    with settings(plan):
        publish(folder, shop.table, synthetic_vectors(count, MODEL.dimension), plan)
        shutil.rmtree(folder.layout.cache)
        with served(index, embedder) as (client, _):
            early_changes(client, ids, moves=plan.all_kinds)
        compact(folder, keep=1)
        if plan.all_kinds:
            with served(index, embedder) as (client, _):
                upload(client, "segredo-01", "Protótipo", "Bolsa", drawn_picture(9))
            purge(folder, ["segredo-01", *([ids[17]] if plan.purges_catalogue else [])])
            write_rules(index, subjects)
        with served(index, embedder) as (client, _):
            subjects |= live_changes(client, ids, drawn_picture)
            subjects |= further_changes(client, ids, drawn_picture) if plan.all_kinds else {}
    return subjects


@contextmanager
def settings(plan: Plan) -> Iterator[None]:
    """Let a small catalogue get what only large ones do: a sketch, or vectors of half precision."""
    with ExitStack() as stack:
        stack.enter_context(patch("indexer.recipes.tuning.measure_costs", return_value=SLOW_READS))
        if plan.has_sketch:
            stack.enter_context(patch("indexer.recipes.sketch.NUMBERS_MIN", 0))
            stack.enter_context(patch("indexer.recipes.sketch._GAIN_MIN", 0.0))
        if plan.is_half:
            stack.enter_context(patch("indexer.candidate.FLOAT32_MAX_BYTES", 0))
        yield


def publish(folder: IndexFolder, products: pa.Table, vectors: Matrix, plan: Plan) -> None:
    """Publish a first snapshot as `build` does, with vectors (N, D) in place of embedded pictures."""
    count = len(vectors)
    images = pa.array([f"fotos/{number:03d}.png" for number in range(count)], pa.string())
    place = products.column_names.index("group") + 1
    source = Source(
        f"{SHOP}/produtos.parquet", "parquet", products.add_column(place, "image", images), LocalPlace(SHOP)
    )
    digests = [hashlib.sha256(f"picture {number}".encode()).digest() for number in range(count)]
    model = ModelSource(
        MODEL.name, MODEL.handle, "saved_model", Path(MODEL.name), MODEL.digest, MODEL.preprocessing,
        MODEL.dimension, "synthetic",
    )  # fmt: skip
    run = EmbeddingRun(
        sha256=np.frombuffer(b"".join(digests), np.uint8).reshape(count, 32),
        sizes_px=np.tile(np.array([[640, 480]], np.int32), (count, 1)),
        ok=np.ones(count, bool),
        dimension=MODEL.dimension,
        embedded=count,
    )
    with folder.publishing(), EmbeddingCache.open(folder.layout.cache) as cache:
        cache.put(
            model.key,
            [CacheEntry(digest, 640, 480, vector) for digest, vector in zip(digests, vectors, strict=True)],
        )
        with folder.journal() as journal:
            state = fold_journal(journal, None)
        with folder.staging() as staged:
            manifest = write_candidate(
                staged,
                plan_candidate(source, model, run, cache, None),
                state,
                transform_name=plan.transform,
                recipe=RecipeRequest(plan.recipe, target_recall=0.95),
                progress=Silent(),
            )
            folder.publish(staged, dataclasses.replace(manifest, snapshot=folder.name_of(staged)))


def synthetic_vectors(count: int, dimension: int) -> Matrix:
    """Return (N, D) unit rows, clustered by category as the features of a network are."""
    random = np.random.default_rng(20251127)
    centres = random.normal(size=(len(CATEGORIES), 10))
    mixing = random.normal(size=(10, dimension)) / np.sqrt(10)
    codes = centres[np.arange(count) % len(CATEGORIES)] + 0.9 * random.normal(size=(count, 10))
    features = np.maximum(codes @ mixing + 0.05 * random.normal(size=(count, dimension)), 0) + 1e-3
    unit: Matrix = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    return unit


def shop_of(ids: Sequence[str], names: Sequence[str], categories: Sequence[str]) -> Shop:
    """Return products with attributes of every type, and the subjects of the questions among them."""
    every = range(len(ids))
    begin = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)
    days = [begin + dt.timedelta(days=3 * (number % 60)) for number in every]
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "name": pa.array(names, pa.string()),
            "category": pa.array(categories, pa.string()),
            "group": pa.array([None if n % 3 == 0 else f"g{n // 12}" for n in every], pa.string()),
            "price": pa.array([19.9 + 7.25 * (n % 17) for n in every], pa.float64()),
            "stock": pa.array([(n * 7) % 40 for n in every], pa.int64()),
            "in_stock": pa.array([n % 4 != 0 for n in every], pa.bool_()),
            "brand": pa.array([BRANDS[n % 3] for n in every], pa.string()),
            "colour": pa.array([COLOURS[n % 5] for n in every], pa.string()),
            "tags": pa.array([TAGS[n % 4] for n in every], pa.list_(pa.string())),
            "listed_at": pa.array(days, pa.timestamp("us", tz="UTC")),
            "weight_g": pa.array([None if n % 4 == 3 else 100 + n for n in every], pa.int32()),
            "season": pa.array([dt.date(2025, 1 + n % 12, 1) for n in every], pa.date32()),
        }
    )
    names_of = list(dict.fromkeys(filter(None, categories)))
    subjects = {
        "product": ids[0], "grouped": ids[1], "tombstoned": ids[2], "restored": ids[3],
        "others": [ids[4], ids[8], ids[10]], "category": categories[0], "categories": names_of,
    }  # fmt: skip
    return Shop(table, subjects)


def drawn_picture(number: int) -> bytes:
    """Return a small PNG; another number is another picture."""
    image = Image.new("RGB", (48, 36), (250, 240 - 9 * number, 40 + 20 * number))
    draw = ImageDraw.Draw(image)
    draw.ellipse((6 + 2 * number, 4, 34 + number, 30), fill=(30 * number % 255, 60, 200 - 15 * number))
    draw.rectangle((2, 26, 14 + number, 34), fill=(10, 160, 20 * number % 255))
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def demo_picture(number: int) -> bytes:
    """Return the picture of a bag of the demo catalogue that no folder has as a product."""
    return (DEMO / f"bolsa_{number:02d}.jpg").read_bytes()


def write_rules(index: Path, subjects: Mapping[str, Any]) -> None:
    """Write rules.toml with a pin, a ban and a pair that never stands together."""
    text = RULES.format(category=subjects["category"], pinned=subjects["others"][2])
    IndexFolder(index).layout.rules.write_text(text, encoding="utf-8")


@contextmanager
def served(index: Path, embedder: PhotoEmbedder | None) -> Iterator[tuple[Client, Catalogue]]:
    """Yield a client of a service over an index folder, whose writes are by "ana", and its catalogue."""
    with Catalogue.open(index, embedder=embedder) as catalogue:
        app = create_app(catalogue, ServiceConfig(access_log=False), before_write=lambda _: "ana")
        yield client_of(app), catalogue


def early_changes(client: Client, ids: Sequence[str], *, moves: bool = True) -> None:
    """Change what `compact` then writes into the table."""
    _post(client, "/products/delete", ids=[ids[2], ids[6]])
    if moves:
        _post(client, "/products/move", ids=[ids[19]], category="Promoção")


def live_changes(client: Client, ids: Sequence[str], picture: Picture) -> Json:
    """Delete, restore, upload and undo; return what the questions then ask about."""
    reply = client.delete(f"{API}/products/{ids[9]}")
    assert reply.status_code == 200, reply.text
    _post(client, "/products/delete", ids=[ids[3], ids[14], ids[15]])
    _post(client, f"/products/{ids[3]}/restore")
    upload(client, "nova-01", "Coleção Açaí", "Bolsa", picture(10), key="golden-1")
    upload(client, "engano-01", "Engano", "Coleção", picture(11))
    _post(client, "/undo")  # becomes a delete
    _post(client, "/products/delete", ids=[ids[16], ids[20]])
    _post(client, "/undo")  # becomes two restores
    plain = {"moved": ids[12], "moved_back": ids[13]}
    return {"deleted": ids[9], "upload": "nova-01", "undone_upload": "engano-01", **plain}


def further_changes(client: Client, ids: Sequence[str], picture: Picture) -> Json:
    """Move, dismiss, reopen, and upload into a category of its own."""
    _post(client, "/products/move", ids=[ids[12], ids[18]], category="Promoção")
    _post(client, "/products/move", ids=[ids[13]], category="")
    _post(client, "/undo")  # becomes a move
    keys = [finding["key"] for finding in client.get(f"{API}/quality").json["findings"]]
    _post(client, "/quality/dismiss", keys=keys[:1])
    _post(client, "/quality/dismiss", keys=keys[1:3])
    _post(client, "/undo")  # becomes reopen
    upload(client, "nova-02", "Peça sem categoria", "", picture(12))
    return {"dismissed": keys[:1]}


def upload(
    client: Client, product_id: str, name: str, category: str, data: bytes, *, key: str | None = None
) -> None:
    """Upload a product with attributes of several types. key: sent as the Idempotency-Key."""
    attributes = {"price": 42.5, "stock": 3, "in_stock": True, "colour": "açaí", "brand": "Veloz"}
    form = {
        "id": product_id, "name": name, "category": category, "group": "feira",
        "attributes": json.dumps(attributes), "image": (io.BytesIO(data), "photo"),
    }  # fmt: skip
    headers = {"Idempotency-Key": key} if key else {}
    reply = client.post(f"{API}/products", data=form, headers=headers, content_type="multipart/form-data")
    assert reply.status_code == 201, reply.text


def _post(client: Client, path: str, **body: Any) -> None:
    reply = client.post(f"{API}{path}", json=body) if body else client.post(f"{API}{path}")
    assert reply.status_code == 200, reply.text


if __name__ == "__main__":
    main()
