"""The queue of what may be wrong: findings as cards with their evidence, to accept, dismiss and undo."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from vitrine.indexer.quality.findings import KINDS
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.errors import NotLookedThrough
from vitrine.service.gallery.languages import gettext as _
from vitrine.service.gallery.languages import number
from vitrine.service.gallery.routes import Pages, Visit

page = Pages()
PAGE = 24


@page("/quality")
def quality_queue(visit: Visit) -> str:
    """Show the findings of one kind, by default the first that there is."""
    try:
        counts = visit.catalogue.quality(limit=1)["counts"]
    except NotLookedThrough as error:
        return render_template("vitrine/quality.html", page="quality", problem=str(error), names=_names())
    asked = request.args.get("kind")
    kind = asked if asked in KINDS else next((each for each in KINDS if counts[each]), KINDS[0])
    offset = max(0, request.args.get("offset", 0, int))
    found = visit.catalogue.quality(kind=[kind], limit=PAGE, offset=offset)
    end = offset + len(found["findings"])
    return render_template(
        "vitrine/quality.html",
        page="quality",
        problem=None,
        found=found,
        kind=kind,
        names=_names(),
        abouts=_abouts(),
        missing=[_missing()[reason] for reason in found["missing"] if reason in _missing()],
        why=why,
        offset=offset,
        page_size=PAGE,
        next_offset=end if end < found["total"] else None,
    )


def why(finding: Json) -> str:
    """Return what was measured, in words."""
    kind, reason = finding["kind"], finding["reason"]
    said: dict[str, Any] = {name: _said(value) for name, value in reason.items()}
    if kind.endswith("duplicate"):
        if reason["same_group"]:
            return _("The same picture on two products of one group; it may be on purpose.")
        if reason["same_category"]:
            return _("The same picture on two products of one category.")
        return _("The same picture in two categories: one of them must be wrong.")
    return {
        "placeholder": _("The same picture on %(products)s products."),
        "wrong-category": _(
            "It is in %(category)s and looks like %(vote)s. %(neighbours)s of the %(of)s most alike are "
            "%(vote)s."
        ),
        "blank": _("From darkest to lightest there are only %(span)s of 255."),
        "blurred": _("Sharpness %(sharpness)s; an ordinary photo has more than 0.13."),
        "tiny": _("%(width)s × %(height)s pixels."),
        "hub": _("It is in %(lists)s top 10s."),
        "outlier": _("The most alike has a cosine of only %(nearest)s."),
        "orphan": _("The most alike has a cosine of %(nearest)s."),
        "small-category": _("Products in %(category)s: %(products)s."),
    }[kind] % said


def _said(value: Any) -> str:
    if isinstance(value, float):
        return number(value, 2)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return number(value) if is_number else str(value) or _("no category")


def _names() -> dict[str, str]:
    return {
        "exact-duplicate": _("Exact copies"),
        "near-duplicate": _("Near copies"),
        "placeholder": _("Placeholder picture"),
        "wrong-category": _("Wrong category?"),
        "blank": _("Blank pictures"),
        "blurred": _("Blurred pictures"),
        "tiny": _("Pictures too small"),
        "hub": _("Everywhere"),
        "outlier": _("Unlike the rest"),
        "orphan": _("Never recommended"),
        "small-category": _("Small categories"),
    }


def _abouts() -> dict[str, str]:
    return {
        "exact-duplicate": _(
            "The same picture file on more than one product. First the one that can go, then the one to keep."
        ),
        "near-duplicate": _(
            "The same picture saved again, made smaller or cut: one can be laid over the other."
        ),
        "placeholder": _("One picture for many different products, such as a “no photo”."),
        "wrong-category": _(
            "The looks speak for another category; how sure is how probably the one given is wrong."
        ),
        "blank": _("Of one colour, or nearly."),
        "blurred": _("Without any sharp edge."),
        "tiny": _("The shorter side has fewer than 100 pixels."),
        "hub": _("Products that are in very many recommendations and take the place of others."),
        "outlier": _("Like nothing else in the catalogue."),
        "orphan": _("Not among the 10 most alike of any product."),
        "small-category": _("Fewer than 5 products: little to recommend within the category."),
    }


def _missing() -> dict[str, str]:
    return {
        "no-categories": _("No product has a category: wrong and small categories could not be looked for."),
        "too-few-of-a-category": _(
            "Fewer than two categories have 10 products: wrong categories could not be looked for."
        ),
        "no-cached-vectors": _(
            "The model’s own vectors are not in the cache any more: those of the index were used, which "
            "favour the category given."
        ),
        "changed-since": _(
            "Products were added or moved after the last build: they are looked at in the next one."
        ),
        "pictures-gone": _("Some pictures could not be read: blur, blanks and copies were not seen in them."),
    }
