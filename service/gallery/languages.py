"""Languages of the gallery: choice of the language, texts, numbers and dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal, format_percent
from babel.support import Translations
from flask import Flask, Request
from flask_babel import Babel, Domain, force_locale, get_locale

TRANSLATIONS = Path(__file__).parent.parent / "translations"
DOMAIN = "vitrine"
# Code in URLs and cookies, locale, name in its own language. The templates are written in English.
LANGUAGES = {"pt": ("pt_BR", "Português"), "en": ("en", "English")}
DEFAULT = "en"
COOKIE = "vitrine_language"
PARAMETER = "lang"
_domain = Domain([str(TRANSLATIONS)], DOMAIN)


def prepare(app: Flask) -> None:
    """Set up Flask-Babel, unless the application has it already. The application's language stays."""
    if "babel" not in app.extensions:
        Babel(app, configure_jinja=False)


def language_of(request: Request) -> str:
    """Return the language code of a response: from the URL, else the cookie, else the browser."""
    for given in (request.args.get(PARAMETER), request.cookies.get(COOKIE)):
        if given in LANGUAGES:
            return given
    for accepted in request.accept_languages.values():
        code = accepted.lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return DEFAULT


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Use a language inside the block."""
    with force_locale(LANGUAGES[code][0]):
        yield


def gettext(text: str, **values: Any) -> str:
    """Return a text in the current language."""
    return str(_domain.gettext(text, **values))


def ngettext(one: str, many: str, num: float, **values: Any) -> str:
    """Return a text with a count in the current language; `%(number)s` is the formatted number."""
    return str(_domain.ngettext(one, many, num, number=number(num), **values))


def pgettext(context: str, text: str, **values: Any) -> str:
    """Return a text in the current language; `context` tells equal English texts apart."""
    return str(_domain.pgettext(context, text, **values))


def number(value: float, digits: int | None = None) -> str:
    """Return a formatted number. digits: decimal places, by default as many as it has."""
    pattern = None if digits is None else "#,##0." + "0" * digits if digits else "#,##0"
    return format_decimal(value, format=pattern, locale=_locale())


def percent(share: float, digits: int = 0) -> str:
    """Return a share of 1 as a formatted percentage with at most `digits` decimal places."""
    pattern = "#,##0" + ("." + "#" * digits if digits else "") + "%"
    return format_percent(share, format=pattern, locale=_locale())


def category_label(category: str) -> str:
    """Return the label of a category, which says so when there is none."""
    return category or gettext("no category")


def attribute_text(value: object, attribute: str = "") -> str:
    """Return the value of an attribute as text in the current language."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, (int, float)):
        return number(value, 2 if attribute == "price" else None)
    return str(value)


def date_time(value: str | dt.datetime | None) -> str:
    """Return a formatted time. value: a datetime, or ISO 8601 as in the API."""
    when = _instant(value)
    return "" if when is None else format_datetime(when, "medium", locale=_locale())


def time_ago(value: str | dt.datetime | None) -> str:
    """Return the time since `value` in words."""
    when = _instant(value)
    if when is None:
        return ""
    return format_timedelta(when - dt.datetime.now(dt.UTC), add_direction=True, locale=_locale())


@lru_cache
def catalogue_of(code: str) -> Translations:
    """Return the compiled translations of one language; empty for English."""
    loaded = Translations.load(str(TRANSLATIONS), [LANGUAGES[code][0]], DOMAIN)
    return loaded if isinstance(loaded, Translations) else Translations()


def _locale() -> Locale:
    return get_locale() or Locale.parse("en")


def _instant(value: str | dt.datetime | None) -> dt.datetime | None:
    when = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return when.replace(tzinfo=dt.UTC) if when is not None and when.tzinfo is None else when
