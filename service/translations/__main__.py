"""`python -m vitrine.service.translations`: update and compile the gallery's .po files.

The compiled files are kept in the repository, so that an install needs no step of its own; a test holds them
against the .po files and those against the texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
SERVICE = HERE.parent
FUNCTIONS = {"_": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}
SOURCES = (("python", "gallery/**/*.py"), ("jinja2.ext:babel_extract", "templates/vitrine/**/*.html"))


def collected() -> Catalog:
    """Return every text of the pages and scripts, with where each stands."""
    found = Catalog(project="vitrine", charset="utf-8", fuzzy=False)
    for method, pattern in SOURCES:
        for path in sorted(SERVICE.glob(pattern)):
            place = path.relative_to(SERVICE).as_posix()
            for line, message, _comments, context in extract_from_file(method, str(path), keywords=FUNCTIONS):
                if message and message != "":
                    found.add(message, locations=[(place, line)], context=context)
    return found


def po_files() -> Iterator[Path]:
    """Yield the .po file of every language."""
    yield from sorted(HERE.glob("*/LC_MESSAGES/vitrine.po"))


def compiled(catalog: Catalog) -> bytes:
    """Return a catalogue as a .mo file."""
    out = BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def read(path: Path) -> Catalog:
    """Return a .po file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


@click.command()
def main() -> None:
    """Bring the translations up to date, and name the texts that have none."""
    texts = collected()
    for path in po_files():
        catalog = read(path)
        catalog.update(texts, no_fuzzy_matching=True)
        catalog.obsolete.clear()
        with path.open("wb") as file:
            write_po(file, catalog, width=110, sort_output=True, omit_header=False, include_lineno=False)
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        missing = [message.id for message in catalog if message.id and not _is_done(message.string)]
        click.echo(f"{path.parent.parent.name}: {len(catalog)} texts, {len(missing)} without a translation")
        for text in missing:
            click.echo(f"  {text}")


def _is_done(string: str | tuple[str, ...] | list[str] | None) -> bool:
    return bool(string) if isinstance(string, str) or string is None else all(string)


if __name__ == "__main__":
    main()
