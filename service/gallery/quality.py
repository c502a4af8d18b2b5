"""Quality page: a queue of findings with their evidence, to accept, dismiss and undo."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from vitrine.indexer.quality.findings import FINDING_TYPES
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.errors import QualityNotAnalysed
from vitrine.service.gallery.languages import gettext as _
from vitrine.service.gallery.languages import number
from vitrine.service.gallery.routes import Pages, Visit

page = Pages()
PAGE_SIZE = 24


@page("/quality")
def quality_queue(visit: Visit) -> str:
    """Show the findings of one type, by default of the first type that has any."""
    try:
        counts = visit.catalogue.quality(limit=1)["counts"]
    except QualityNotAnalysed as error:
        return render_template("vitrine/quality.html", page="quality", problem=str(error), names=_names())
    chosen = request.args.get("kind")
    first = next((each for each in FINDING_TYPES if counts[each]), FINDING_TYPES[0])
    kind = chosen if chosen in FINDING_TYPES else first
    offset = max(0, request.args.get("offset", 0, int))
    found = visit.catalogue.quality(kind=[kind], limit=PAGE_SIZE, offset=offset)
    end = offset + len(found["findings"])
    return render_template(
        "vitrine/quality.html",
        page="quality",
        problem=None,
        found=found,
        kind=kind,
        names=_names(),
        descriptions=_descriptions(),
        missing=[_missing()[reason] for reason in found["missing"] if reason in _missing()],
        why=why,
        offset=offset,
        page_size=PAGE_SIZE,
        next_offset=end if end < found["total"] else None,
    )


def why(finding: Json) -> str:
    """Return the reason of a finding in words."""
    kind, reason = finding["kind"], finding["reason"]
    values: dict[str, Any] = {name: _formatted(value) for name, value in reason.items()}
    if kind.endswith("duplicate"):
        if reason["same_group"]:
            return _("The same picture on two products of one group; it may be on purpose.")
        if reason["same_category"]:
            return _("The same picture on two products of one category.")
        return _("The same picture in two categories: one of them must be wrong.")
    return {
        "placeholder": _("The same picture on %(products)s products."),
        "wrong-category": _(
            "In %(category)s, but looks like %(vote)s: %(neighbours)s of the %(of)s most similar products "
            "are %(vote)s."
        ),
        "blank": _("From darkest to lightest there are only %(span)s of 255."),
        "blurred": _("Sharpness %(sharpness)s; an ordinary photo has more than 0.13."),
        "tiny": _("%(width)s × %(height)s pixels."),
        "hub": _("In the top 10 of %(lists)s products."),
        "outlier": _("The most similar product has a cosine of only %(nearest)s."),
        "orphan": _("The most similar product has a cosine of %(nearest)s."),
        "small-category": _("Products in %(category)s: %(products)s."),
    }[kind] % values


def _formatted(value: Any) -> str:
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
        "hub": _("Recommended too often"),
        "outlier": _("Outliers"),
        "orphan": _("Never recommended"),
        "small-category": _("Small categories"),
    }


def _descriptions() -> dict[str, str]:
    return {
        "exact-duplicate": _(
            "The same picture file on more than one product. First the one that can go, then the one to keep."
        ),
        "near-duplicate": _("The same picture saved again, resized or cropped."),
        "placeholder": _("One picture for many different products, such as a “no photo”."),
        "wrong-category": _(
            "The picture suggests another category. The percentage is the probability that the current "
            "one is wrong."
        ),
        "blank": _("Of one colour, or nearly."),
        "blurred": _("Without any sharp edges."),
        "tiny": _("The shorter side has fewer than 100 pixels."),
        "hub": _("Products that appear in very many recommendations and displace others."),
        "outlier": _("Not similar to anything else in the catalogue."),
        "orphan": _("Not among the 10 most similar products of any other product."),
        "small-category": _("Fewer than 5 products: little to recommend within the category."),
    }


def _missing() -> dict[str, str]:
    return {
        "no-categories": _("No product has a category: wrong and small categories could not be looked for."),
        "too-few-of-a-category": _(
            "Fewer than two categories have 10 products: wrong categories could not be looked for."
        ),
        "no-cached-vectors": _(
            "The vectors of the model are no longer in the cache. Those of the index were used, which favour "
            "the current category."
        ),
        "changed-since": _("Products added or moved since the last build are analysed after the next one."),
        "pictures-gone": _(
            "Some pictures could not be read, so they were not checked for blur, blanks and copies."
        ),
    }
