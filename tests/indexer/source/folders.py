"""Folders and manifests on disk for tests of sources, and what their products contain."""

from pathlib import Path
from typing import Any

from vitrine.indexer.errors import PictureError
from vitrine.indexer.source.source import Source


def make_folder(root: Path, *paths: str) -> Path:
    """Write a file at every path, with the path as its content."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    return root


def make_manifest(root: Path, text: str, name: str = "catalogue.csv") -> Path:
    file = root / name
    file.write_text(text, encoding="utf-8")
    return file


def column_values(source: Source, name: str) -> list[Any]:
    values: list[Any] = source.products[name].to_pylist()
    return values


def error_codes(source: Source) -> list[str | None]:
    """Return the PictureError code of each picture, None for a picture that can be read."""
    codes: list[str | None] = []
    for row in range(len(source)):
        try:
            source.read(row)
        except PictureError as error:
            codes.append(error.code)
        else:
            codes.append(None)
    return codes
