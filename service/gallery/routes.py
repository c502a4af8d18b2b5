"""Flask views of the pages: language, errors as pages, URLs. Pages are data (`Pages`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException

from vitrine.service.catalogue.catalogue import Catalogue
from vitrine.service.gallery import languages
from vitrine.service.gallery.confidence import verdict
from vitrine.service.gallery.messages import script_messages
from vitrine.service.http.context import Service
from vitrine.service.http.responses import problem_response
from vitrine.service.problems import Problem, problem_of

# Value of X-Requested-With in requests of our scripts.
FETCHED = "fetch"
YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page. `catalogue` has picture URLs below the blueprint's mount point."""

    service: Service
    catalogue: Catalogue
    language: str

    def live_categories(self) -> list[str]:
        """Return the names of the categories that have live products, sorted."""
        return [each["name"] for each in self.catalogue.categories()["categories"] if each["live"]]


View = Callable[..., "str | Response"]


@dataclass(frozen=True)
class Page:
    """One URL rule of the gallery and its view."""

    rule: str
    view: View
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Pages:
    """Pages of one module; used as a decorator."""

    all: list[Page] = field(default_factory=list)

    def __call__(self, rule: str, *methods: str) -> Callable[[View], View]:
        """Register a page; its endpoint is page_ and the name of the function."""

        def add(view: View) -> View:
            self.all.append(Page(rule, view, methods or ("GET",)))
            return view

        return add


def add_gallery(blueprint: Blueprint, service: Service) -> None:
    """Add every page to a blueprint."""
    from vitrine.service.gallery import PAGES

    blueprint.record(_prepare)
    blueprint.context_processor(lambda: _context(service))
    for page in PAGES:
        blueprint.add_url_rule(
            page.rule,
            endpoint=f"page_{page.view.__name__}",
            view_func=_page_view(page, service),
            methods=page.methods,
        )


def _prepare(state: BlueprintSetupState) -> None:
    languages.prepare(state.app)  # type: ignore[arg-type]


def _page_view(page: Page, service: Service) -> Callable[..., Response]:
    @wraps(page.view)
    def view(**path: str) -> Response:
        if languages.PARAMETER in request.args and request.method == "GET":
            return _switch_language()
        code = languages.language_of(request)
        with languages.use_language(code):
            try:
                response = make_response(page.view(Visit(service, service.mounted_catalogue(), code), **path))
            except Exception as error:
                if isinstance(error, HTTPException) or request.headers.get("X-Requested-With") == FETCHED:
                    raise  # scripts expect a problem document
                problem_response(error)  # logs unexpected errors
                response = _error_page(error)
        if response.mimetype == "text/html":
            response.headers["Content-Language"] = languages.LANGUAGES[code][0].replace("_", "-")
            response.headers["Cache-Control"] = "private, no-cache"
            response.headers.add("Vary", "Accept-Language, Cookie")
        return response

    return view


def _switch_language() -> Response:
    """Store the language of the URL in a cookie and redirect to the URL without it."""
    code = languages.language_of(request)
    rest = [(name, value) for name, value in request.args.items(multi=True) if name != languages.PARAMETER]
    response = make_response(redirect(_address(rest)))
    response.set_cookie(
        languages.COOKIE, code, max_age=YEAR_S, path=request.script_root or "/", httponly=True, samesite="Lax"
    )
    return response


def _address(query: list[tuple[str, str]]) -> str:
    """Return the path of this request with another query string."""
    from urllib.parse import quote, urlencode

    path = quote(request.script_root + request.path, safe="/:@!$&'()*+,;=~")
    return "/" + path.lstrip("/") + (f"?{urlencode(query)}" if query else "")


def _error_page(error: Exception) -> Response:
    problem: Problem = problem_of(error)
    response = make_response(render_template("vitrine/error.html", problem=problem, page="error"))
    response.status_code = problem["status"]
    return response


def _context(service: Service) -> dict[str, Any]:
    """Return the template variables of every page."""
    code = languages.language_of(request)
    return {
        "_": languages.gettext,
        "ngettext": languages.ngettext,
        "pgettext": languages.pgettext,
        "number": languages.number,
        "percent": languages.percent,
        "date_time": languages.date_time,
        "time_ago": languages.time_ago,
        "attribute_text": languages.attribute_text,
        "category_label": languages.category_label,
        "verdict": verdict,
        "language": code,
        "languages": languages.LANGUAGES,
        "may_write": not service.config.read_only,
        "needs_key": bool(service.guard.keys),
        "prefix": service.prefix(),
        "script_messages": script_messages,
        "language_address": _language_address,
    }


def _language_address(code: str) -> str:
    """Return the URL of this page in another language."""
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != languages.PARAMETER]
    return _address([*kept, (languages.PARAMETER, code)])
