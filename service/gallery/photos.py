"""Pages for photo search and uploads, and the name and category proposed for a photo."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from flask import Response, jsonify, render_template, request

from vitrine.indexer.errors import QueryError
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.queries.view import View

page = Pages()
PHOTO_HITS = 24
VOTERS = 10
# Votes are weighted by exp(score / TEMPERATURE), as in k-NN with a softmax.
TEMPERATURE = 0.1
SAME_PICTURE = 0.985
FIELDS_OFFERED = 12
_CAMERA_NAMES = re.compile(
    r"(?i)^(img|dsc[nf]?|pxl|wa|whatsapp|photo|foto|image|imagem|screenshot|captura|untitled)([\W_\d]|$)"
    r"|^[0-9a-f-]{16,}$"
)


@page("/photo", "GET", "POST")
def photo(visit: Visit) -> str:
    """Show the photo search page, with results if a photo was sent."""
    results = _by_photo(visit) if request.method == "POST" else {"answer": None}
    return render_template("vitrine/photo.html", page="photo", categories=visit.live_categories(), **results)


@page("/photo/hits", "POST")
def photo_hits(visit: Visit) -> str:
    """Show only the results of a photo search."""
    return render_template("vitrine/_photo_hits.html", **_by_photo(visit))


def _by_photo(visit: Visit) -> Json:
    options: Json = {"limit": PHOTO_HITS}
    if category := request.form.get("category"):
        options["category"] = [category]
    answer = visit.catalogue.search(image=_image(), crop=request.form.get("crop") or None, **options)
    return {"answer": answer, "category": category or ""}


@page("/upload")
def upload(visit: Visit) -> str:
    """Show the upload page."""
    fields = _fields(visit.catalogue.view())
    return render_template(
        "vitrine/upload.html", page="upload", categories=visit.live_categories(), fields=fields
    )


@page("/upload/proposal", "POST")
def proposal(visit: Visit) -> Response:
    """Return the likely name and category of a photo, and its most similar product."""
    answer = visit.catalogue.search(image=_image(), limit=VOTERS)
    votes = vote(answer["hits"])
    best = votes[0] if votes else None
    name = propose_name(request.form.get("filename", ""), best.category if best else "")
    nearest = answer["hits"][0] if answer["hits"] else None
    return jsonify(
        name=name,
        categories=[{"name": each.category, "share": round(each.share, 4)} for each in votes[:3]],
        nearest=nearest,
        is_known=bool(nearest and nearest["score"] >= SAME_PICTURE),
    )


@dataclass(frozen=True, slots=True)
class Vote:
    """A category's share of the votes, in 0..1."""

    category: str
    share: float


def vote(hits: Sequence[Mapping[str, Any]]) -> list[Vote]:
    """Return the categories of the hits, most likely first. More similar hits have more weight."""
    weights: dict[str, float] = {}
    best = max((hit["score"] for hit in hits), default=0.0)
    for hit in hits:
        weight = math.exp((hit["score"] - best) / TEMPERATURE)
        weights[hit["category"]] = weights.get(hit["category"], 0.0) + weight
    total = sum(weights.values())
    votes = [Vote(category, weight / total) for category, weight in weights.items()]
    return sorted(votes, key=lambda each: (-each.share, each.category))


def propose_name(filename: str, category: str) -> str:
    """Return a product name from a file name, or the category for names given by cameras and programs."""
    stem = PurePath(filename.replace("\\", "/")).stem
    words = re.sub(r"[\s_\-.]+", " ", stem).strip()
    if not words or _CAMERA_NAMES.search(stem.strip()) or not re.search(r"[^\W\d_]{2}", words):
        return category
    return words[:1].upper() + words[1:]


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute that can be filled in. input_type: text, number or truth."""

    name: str
    input_type: str


def _fields(view: View) -> list[Field]:
    """Return the first attributes of the catalogue that can be typed in a form."""
    table = view.state.segments.tables[0][1]
    types = {name: _input_type(str(table.attribute(name).type)) for name in table.attribute_names}
    return [Field(name, input_type) for name, input_type in types.items() if input_type][:FIELDS_OFFERED]


def _input_type(arrow_type: str) -> str:
    """Return the input type for an Arrow type, '' if it cannot be typed in."""
    if arrow_type.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        return "number"
    return {"bool": "truth", "string": "text", "large_string": "text"}.get(arrow_type, "")


def _image() -> bytes:
    file = request.files.get("image")
    data = file.read() if file else b""
    if not data:
        raise QueryError("choose a photo first", field="image")
    return data
