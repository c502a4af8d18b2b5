"""The questions about the golden snapshots, asked over HTTP, in Python and on the command line.

`data/golden/make_golden.py` recorded the answers once; `tests/test_golden.py` asks again and compares. What
the questions are about (ids, categories) is recorded beside the answers, under "subjects".
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.http_client import Client, Response
from vitrine.indexer.cli.main import main as indexer_cli
from vitrine.service import Catalogue

Json = dict[str, Any]

API = "/api/v1"
GOLDEN = Path(__file__).parent.parent / "data" / "golden"
PHOTO = GOLDEN / "photo.png"
# How many products of an export are recorded.
EXPORTED = 40
# Vectors of photos come from a network, which other processors compute with other rounding.
PHOTO_TOLERANCE = 1e-3
# Left out of what is recorded: times, ids of requests, and sentences, which may be worded better one day.
_VOLATILE = frozenset({"took_ms", "request_id", "title", "detail", "seconds", "output"})
_STATUS = (
    "snapshot", "products", "live", "deleted", "uploaded", "categories", "model", "dimension", "transform",
    "recipe", "recall_at_10", "built_at", "journal_sequence", "store", "source", "failed", "format_version",
    "rules", "problem",
)  # fmt: skip
_CLI_STATUS = (
    "snapshot", "products", "deleted", "failed", "categories", "model", "model_digest", "preprocessing",
    "dimension", "transform", "recipe", "factory", "recall_at_10", "built_at", "source", "journal_sequence",
    "changes_since",
)  # fmt: skip
# Newer services compare categories in the model's own space unless told otherwise.
_WITH_SPACE = ("/categories/matrix", "/categories/matrix/pairs", "/projection")


@dataclass(frozen=True)
class Question:
    """One HTTP request. photo: the picture is sent as a form, with `body` as its other fields."""

    name: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    photo: bool = False

    @property
    def tolerance(self) -> float | None:
        """How far numbers of the answer may be from those recorded; None for the default."""
        return PHOTO_TOLERANCE if self.photo else None


def http_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    """Yield every question that only reads."""
    yield from _catalogue_questions(subjects)
    yield from _product_questions(subjects)
    yield from _similar_questions(subjects)
    yield from _search_questions(subjects)
    yield from _analysis_questions(subjects)


def _catalogue_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    category = subjects["category"]
    yield Question("status", "/status")
    yield Question("changes", "/changes", {"limit": 100})
    yield Question("last changes", "/changes", {"limit": 3})
    yield Question("products", "/products", {"limit": 12})
    yield Question("products, second page", "/products", {"limit": 4, "offset": 12})
    yield Question("products by words", "/products", {"q": subjects["words"], "limit": 6})
    yield Question("products by words with a typing error", "/products", {"q": subjects["typo"], "limit": 6})
    yield Question("products of a category", "/products", {"category": category, "limit": 6})
    yield Question(
        "products of two categories", "/products", {"category": subjects["categories"][:2], "limit": 6}
    )
    yield Question("deleted products", "/products", {"deleted": "true", "limit": 50})
    yield Question("products of no such name", "/products", {"q": "zzzzzzzz"})
    yield Question("quality", "/quality", {"limit": 30})
    yield Question("dismissed findings", "/quality", {"dismissed": "true"})


def _product_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    for role in ("product", "grouped", "moved", "moved_back", "restored", "upload", "accented"):
        yield Question(f"one product: {role}", f"/products/{subjects[role]}")
    for role in ("tombstoned", "deleted", "undone_upload"):
        yield Question(f"a deleted product: {role}", f"/products/{subjects[role]}")
    yield Question("an unknown product", "/products/no-such-product")
    yield Question("a purged product", f"/products/{subjects['purged']}")
    yield Question("picture of an upload", f"/products/{subjects['upload']}/image")
    yield Question("thumbnail of an upload", f"/products/{subjects['upload']}/image", {"size": 64})
    yield Question("picture of a source that is gone", f"/products/{subjects['product']}/image")


def _similar_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    path = f"/products/{subjects['product']}/similar"
    where = json.dumps({"price": {"lt": 60}, "in_stock": True})
    colours = json.dumps({"colour": ["azul", "preto"], "tags": {"eq": "novo"}})
    since = json.dumps({"listed_at": {"gte": "2025-03-01T00:00:00Z"}, "weight_g": {"exists": True}})
    options: Mapping[str, Mapping[str, Any]] = {
        "default": {},
        "of no more than three": {"limit": 3},
        "second page": {"limit": 4, "offset": 4},
        "same category": {"same_category": "true", "limit": 8},
        "categories": {"category": subjects["categories"][1:3], "limit": 8},
        "numbers and booleans": {"where": where, "limit": 6},
        "texts and lists": {"where": colours, "limit": 6},
        "dates and nulls": {"where": since, "limit": 6},
        "least score": {"min_score": subjects["min_score"], "limit": 20},
        "least confidence": {"min_confidence": 0.03, "limit": 10},
        "without some": {"exclude": subjects["others"], "limit": 8},
        "varied": {"diversity": 0.4, "limit": 6},
        "exact": {"exact": "true", "limit": 12},
        "with trace": {"trace": "true", "limit": 4, "where": where},
        "unknown option": {"colour": "azul"},
        "impossible limit": {"limit": 0},
        "unknown attribute": {"where": json.dumps({"no_such_attribute": 1})},
    }
    for name, query in options.items():
        yield Question(f"similar, {name}", path, query)
    for role in ("grouped", "moved", "upload", "uncategorised", "accented", "restored"):
        yield Question(f"similar to: {role}", f"/products/{subjects[role]}/similar", {"limit": 6})
    for role in ("tombstoned", "deleted", "purged"):
        yield Question(f"similar to a product that is gone: {role}", f"/products/{subjects[role]}/similar")


def _search_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    product, others = subjects["product"], subjects["others"]
    vector = vector_of(subjects["dimension"])
    several = {"like": others[:2], "unlike": [product]}
    for name, body in {
        "by product": {"product": product, "limit": 4},
        "by several products": {"products": {"like": others}, "limit": 6},
        "by products to be unlike": {"products": several, "limit": 6},
        "by text": {"text": subjects["words"], "limit": 6},
        "by vector": {"vector": vector, "limit": 8},
        "by vector, one of each group": {"vector": vector, "one_per_group": True, "limit": 8},
        "by vector, no copies": {"vector": vector, "collapse_duplicates": 0.8, "limit": 8},
        "by vector, everything": {"vector": vector, "exact": True, "limit": 20, "trace": True},
        "by vector of another dimension": {"vector": [1.0, 2.0]},
        "by a deleted product": {"product": subjects["deleted"]},
        "by nothing": {"limit": 3},
    }.items():
        yield Question(f"search {name}", "/search", body=body)
    searches: list[Json] = [
        {"product": product, "limit": 3},
        {"text": subjects["words"], "limit": 2, "same_category": True},
        {"product": "no-such-product"},
        {"product": subjects["tombstoned"]},
        {"vector": vector, "limit": 3},
    ]
    yield Question("batch", "/search/batch", body={"searches": searches})
    yield Question("search by photo", "/search/image", body={"limit": 6}, photo=True)
    yield Question(
        "search by part of a photo", "/search/image", body={"limit": 4, "crop": "0.1,0.1,0.8,0.8"}, photo=True
    )


def _analysis_questions(subjects: Mapping[str, Any]) -> Iterator[Question]:
    names = subjects["categories"]
    yield Question("categories", "/categories")
    yield Question("matrix of centroids", "/categories/matrix", {"linkage": "centroid"})
    yield Question("matrix of means", "/categories/matrix", {"linkage": "mean"})
    yield Question("matrix of some", "/categories/matrix", {"category": names[:3]})
    yield Question("pairs", "/categories/matrix/pairs", {"a": names[0], "b": names[1], "limit": 5})
    for dimensions in (2, 3):
        yield Question(f"projection in {dimensions}D", "/projection", {"dimensions": dimensions, "limit": 30})
    yield Question("projection of some", "/projection", {"category": names[:2], "limit": 12})
    yield Question(
        "projection of a selection", "/projection", {"category": names[:2], "fit": "selection", "limit": 12}
    )


def vector_of(dimension: int) -> list[float]:
    """Return a query vector that is the same everywhere."""
    return [round(math.sin(1 + 0.7 * number), 6) for number in range(dimension)]


def ask(client: Client, question: Question) -> Json:
    """Ask over HTTP; return {"status", "answer"} without what changes from time to time."""
    path, query = f"{API}{question.path}", dict(question.query or {})
    if question.path in _WITH_SPACE and "space" in _parameters(client, path):
        query["space"] = "snapshot"
    if question.photo:
        picture = (io.BytesIO(PHOTO.read_bytes()), "photo.png")
        form = {**(question.body or {}), "image": picture}
        reply = client.post(path, data=form, content_type="multipart/form-data")
    elif question.body is not None:
        reply = client.post(path, json=question.body)
    else:
        reply = client.get(path, query_string=query)
    with reply:
        return {"status": reply.status_code, "answer": _answer(question, reply)}


def _parameters(client: Client, path: str) -> set[str]:
    operation = client.get("/openapi.json").json["paths"][path]["get"]
    return {parameter["name"] for parameter in operation.get("parameters", ())}


def _answer(question: Question, reply: Response) -> Any:
    if reply.mimetype.startswith("image/"):
        size = (question.query or {}).get("size")
        digest = {} if size else {"sha256": hashlib.sha256(reply.data).hexdigest()}
        return {"mimetype": reply.mimetype, **digest}
    answer = stable(reply.json)
    if question.path == "/status":
        return {name: answer[name] for name in _STATUS}
    return answer


def stable(answer: Any) -> Any:
    """Return an answer without times and wording, its trace as an object by stage."""
    if isinstance(answer, list):
        return [stable(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    kept = {name: stable(value) for name, value in answer.items() if name not in _VOLATILE}
    if isinstance(kept.get("reason"), str):
        kept["reason"] = "said"
    if "trace" in kept:
        kept["trace"] = {step["stage"]: step["left"] for step in kept["trace"]}
    return kept


def python_answers(catalogue: Catalogue, subjects: Mapping[str, Any]) -> Json:
    """Ask a catalogue in Python; return the answers by name."""
    product, others = subjects["product"], subjects["others"]
    status = catalogue.status()
    answers: Json = {
        "status": {name: status[name] for name in _STATUS},
        "product": catalogue.product(product),
        "products": catalogue.products(q=subjects["words"], limit=3),
        "similar": catalogue.similar(product, limit=4, same_category=True),
        "similar where": catalogue.similar(product, limit=4, where={"price": {"gte": 30}}, trace=True),
        "search by product": catalogue.search(product=product, limit=3),
        "search by products": catalogue.search(products={"like": others}, limit=3),
        "search by text": catalogue.search(text=subjects["words"], limit=3),
        "search by vector": catalogue.search(vector=vector_of(subjects["dimension"]), limit=3),
        "batch": catalogue.search_batch([{"product": product}, {"product": "no-such-product"}]),
        "categories": catalogue.categories(),
        "changes": catalogue.changes(limit=2),
    }
    return {name: stable(answer) for name, answer in answers.items()}


def cli_answers(index: Path, output: Path) -> Json:
    """Run the commands that only read; return what they print with --json. output: a folder for exports."""
    exported = output / "lists.jsonl"
    answers = {
        "status": _run(index, "status"),
        "verify": _run(index, "verify"),
        "history": _run(index, "history"),
        "export": _run(index, "export", "--top", "3", "--output", str(exported)),
        "exported": _by_product(exported),
    }
    answers["status"] = {name: answers["status"][name] for name in _CLI_STATUS}
    filtered = ("--same-category", "--where", '{"price": {"lt": 80}}', "--min-score", "0.2")
    _run(index, "export", "--top", "2", "--output", str(exported), *filtered)
    answers["exported, filtered"] = _by_product(exported)
    if len(answers["history"]["snapshots"]) > 1:
        answers["diff"] = _run(index, "diff")
    return {name: stable(answer) for name, answer in answers.items()}


def _run(index: Path, command: str, *options: str) -> Json:
    result = CliRunner().invoke(indexer_cli, [command, "--index", str(index), "--json", *options])
    assert result.exit_code == 0, result.output
    answer: Json = json.loads(result.stdout)
    return answer


def _by_product(path: Path) -> Json:
    """Return the lists of the first products of an export, in the shape of hits."""
    lists: dict[str, list[Json]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        hits = lists.setdefault(row["product"], [])
        if row["rank"]:
            hits.append({"id": row["hit"], "score": row["score"], "rule": row["rule"]})
    first: Sequence[str] = sorted(lists)[:EXPORTED]
    return {product: {"hits": lists[product]} for product in first}
