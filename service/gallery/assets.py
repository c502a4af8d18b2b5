"""Scripts from outside the static folder, and the component for other sites."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from flask import Response, render_template, request

from vitrine.service.gallery.routes import Pages, Visit

page = Pages()
STATIC = Path(__file__).parent.parent / "static"
DAY_S = 24 * 3600


@page("/plotly.js")
def plotly(visit: Visit) -> Response:
    """Return the script of the package `plotly`, compressed if the browser accepts it."""
    del visit
    body, etag = _plotly(compressed="gzip" in request.headers.get("Accept-Encoding", ""))
    response = Response(body, mimetype="text/javascript")
    response.headers["Vary"] = "Accept-Encoding"
    if body[:2] == b"\x1f\x8b":
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = f"private, max-age={DAY_S}"
    response.set_etag(etag)
    response.make_conditional(request)
    return response


@lru_cache
def _plotly(*, compressed: bool) -> tuple[bytes, str]:
    from importlib.metadata import version

    body = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return (gzip.compress(body, 6, mtime=0) if compressed else body), f"{version('plotly')}-{compressed}"


@page("/similar-products.js")
def component(visit: Visit) -> Response:
    """Return the script of <similar-products>, which other sites may load."""
    del visit
    response = Response((STATIC / "js" / "similar-products.js").read_bytes(), mimetype="text/javascript")
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Cache-Control"] = "public, max-age=3600"
    response.add_etag()
    response.make_conditional(request)
    return response


@page("/embed")
def embed(visit: Visit) -> str:
    """Show how to add recommendations to the pages of a shop."""
    products = visit.catalogue.products(limit=1)["products"]
    return render_template(
        "vitrine/embed.html",
        page="embed",
        example=products[0] if products else None,
        origins=visit.service.config.cors_origins,
        address=request.url_root.rstrip("/") + visit.service.prefix().removeprefix(request.script_root),
    )
