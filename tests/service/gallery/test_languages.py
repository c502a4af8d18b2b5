"""Tests of languages and messages: translations are complete and compiled, the texts of the scripts exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

from tests.paths import ROOT
from vitrine.service.gallery import languages
from vitrine.service.gallery.messages import script_messages
from vitrine.service.translations.__main__ import collected, compiled, po_files, read

SCRIPTS = ROOT / "service" / "static" / "js"


@pytest.mark.parametrize("path", list(po_files()), ids=lambda path: path.parent.parent.name)
def test_every_text_is_translated_and_compiled(path: Path) -> None:
    """When this fails: `python -m vitrine.service.translations`, fill in what it names, and once more."""
    catalog, texts = read(path), collected()
    known = {message.id: message for message in catalog if message.id}
    for text in texts:
        if text.id:
            assert text.id in known, f"{text.id!r} of {text.locations} is not in {path.name}"
            string = known[text.id].string
            assert all(string) if isinstance(string, tuple) else string, f"{text.id!r} has no translation"
    assert set(known) == {text.id for text in texts if text.id}
    assert path.with_suffix(".mo").read_bytes() == compiled(catalog)


@pytest.mark.parametrize("path", list(po_files()), ids=lambda path: path.parent.parent.name)
def test_translations_keep_the_places_of_values(path: Path) -> None:
    def places(text: str) -> set[str]:
        return set(re.findall(r"%\(\w+\)s|\{\w+\}", text))

    for message in read(path):
        singular = message.id if isinstance(message.id, str) else message.id[-1]
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if singular:
            assert all(places(str(string)) == places(singular) for string in strings), singular


def test_scripts_say_only_what_has_a_text(app: Flask) -> None:
    said = set()
    for path in SCRIPTS.glob("*.js"):
        said |= set(re.findall(r'\bsay\("(\w+)"', path.read_text()))
    with app.test_request_context("/"), languages.use_language("pt"):
        known = script_messages()
    assert said == {key for key in known if ":" not in key}


@pytest.mark.parametrize(
    ("code", "number", "share", "moment"),
    [
        ("pt", "1.234,5", "93%", "5 de jan. de 2024 10:30:00"),
        ("en", "1,234.5", "93%", "Jan 5, 2024, 10:30:00"),
    ],
)
def test_numbers_and_dates_are_written_as_people_do(
    app: Flask, code: str, number: str, share: str, moment: str
) -> None:
    with app.test_request_context("/"), languages.use_language(code):
        assert languages.number(1234.5) == number
        assert languages.percent(0.934) == share
        said = (
            languages.date_time("2024-01-05T10:30:00Z")
            .replace("\u202f", " ")
            .replace(" AM", "")
            .replace(", 10", " 10")
        )
        assert said == moment.replace(", 10", " 10")
        assert languages.time_ago(None) == ""
        assert languages.attribute_text(True) == {"pt": "sim", "en": "yes"}[code]
