"""Completion of a source's products: default ids, names and categories, then checks of ids and paths.

Every step works on whole columns, so a million products take seconds.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrine.indexer.errors import SourceError
from vitrine.indexer.products.ids import invalid_id_reason
from vitrine.indexer.products.schema import SOURCE_FIELDS

_SCHEME_AND_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*"
# Printable ASCII ids without a slash are valid; all others are checked one by one.
_PLAIN_ID = r"^[ -.0-~]{1,200}$"
_MAX_QUOTED_ID = 80


@dataclass(frozen=True)
class SourceContext:
    """Names of a source and of its rows for error messages, and the root of its images.

    root: folder or URL that images are relative to. row_label: returns the name of a row for messages.
    """

    label: str
    root: str
    row_label: Callable[[int], str]

    def error(self, row: int, problem: str) -> SourceError:
        """Return the error for a problem of one row."""
        return SourceError(f"{self.label}: {self.row_label(row)}: {problem}")


def complete_products(table: pa.Table, context: SourceContext, category_from: str) -> pa.Table:
    """Return columns id, name, category, group, image, then the attributes, with defaults filled in.

    table: has the column `image`; all others are optional. category_from: 'auto', 'folder', 'filename' or a
    regular expression.
    Raises SourceError for an invalid or repeated id, or an image outside the root.
    """
    images = _combine_chunks(pc.fill_null(table["image"], ""))
    _check_images(images, context)
    paths = _relative_paths(images, context.root)
    is_outside = _is_outside(images, context.root)
    stems = pc.replace_substring_regex(paths, r"\.[^./]+$", "")
    names = pc.replace_substring_regex(stems, r"(?s)^.*/", "")
    given: Mapping[str, pa.Array] = {
        field: _combine_chunks(table[field]) for field in SOURCE_FIELDS if field in table.column_names
    }
    ids = given["id"] if "id" in given else pc.replace_substring(stems, "/", ":")
    _check_ids(ids, context)
    if "category" in given and category_from == "auto":
        categories = pc.utf8_trim_whitespace(pc.fill_null(given["category"], ""))
    else:
        categories = _derive_categories(stems, names, is_outside, category_from)
    columns: dict[str, Any] = {
        "id": ids,
        "name": _fill_blanks(given.get("name"), names),
        "category": categories,
        "group": _blank_to_null(given.get("group"), len(table)),
        "image": images,
    }
    columns |= {name: table[name] for name in table.column_names if name not in SOURCE_FIELDS}
    return pa.table(columns)


def compile_category_pattern(category_from: str) -> re.Pattern[str]:
    """Compile the regular expression given as --category-from. Raises SourceError."""
    try:
        return re.compile(category_from)
    except re.error as error:
        expected = "'auto', 'folder', 'filename' or a regular expression"
        raise SourceError(f"--category-from {category_from!r}: not {expected}: {error}") from error


def _relative_paths(images: pa.Array, root: str) -> pa.Array:
    """Return the paths that ids, names and categories are derived from: relative, without host and query."""
    is_url = pc.match_substring_regex(images, _SCHEME_AND_HOST)
    paths = pc.if_else(is_url, pc.replace_substring_regex(images, r"(?s)[?#].*$", ""), images)
    prefix = root.rstrip("/") + "/"
    is_inside = pc.starts_with(paths, prefix)
    paths = pc.if_else(is_inside, pc.utf8_slice_codeunits(paths, len(prefix)), paths)
    paths = pc.if_else(is_url, pc.replace_substring_regex(paths, _SCHEME_AND_HOST, ""), paths)
    paths = pc.replace_substring_regex(paths, r"/(\.?/)+", "/")
    paths = pc.replace_substring_regex(paths, r"^(\.?/)+", "")
    if pc.any(_has_parent_reference(paths)).as_py():
        paths = pa.array([posixpath.normpath(path) for path in paths.to_pylist()], pa.string())
    return pc.utf8_normalize(paths, form="NFC")


def _is_outside(images: pa.Array, root: str) -> pa.Array:
    """Return (N,) booleans, true for absolute paths and URLs that are not below the root."""
    is_absolute = pc.or_(pc.match_substring_regex(images, _SCHEME_AND_HOST), pc.starts_with(images, "/"))
    return pc.and_(is_absolute, pc.invert(pc.starts_with(images, root.rstrip("/") + "/")))


def _derive_categories(
    stems: pa.Array, names: pa.Array, is_outside: pa.Array, category_from: str
) -> pa.Array:
    """Return the categories derived from paths without extension, "" for none.

    category_from: 'folder' is the first-level folder, 'filename' the leading letters of the name, 'auto' the
    folder or else the letters. The folder of a picture outside the root is the one that contains it.
    """
    letters = pc.replace_substring_regex(names, r"(?s)^(\pL*).*$", r"\1")
    first = pc.replace_substring_regex(stems, r"(?s)^(?:([^/]*)/.*|[^/]*)$", r"\1")
    last = pc.replace_substring_regex(stems, r"(?s)^(?:(?:.*/)?([^/]*)/[^/]*|[^/]*)$", r"\1")
    folder = pc.if_else(is_outside, last, first)
    if category_from == "filename":
        return letters
    if category_from == "folder":
        return folder
    if category_from == "auto":
        return pc.if_else(pc.equal(folder, ""), letters, folder)
    pattern = compile_category_pattern(category_from)
    group = 1 if pattern.groups else 0
    matches = (pattern.search(stem) for stem in stems.to_pylist())
    return pa.array([(match[group] or "") if match else "" for match in matches], pa.string())


def _check_images(images: pa.Array, context: SourceContext) -> None:
    """Raise SourceError for a relative path that leads out of the root."""
    for row in _true_rows(_has_parent_reference(images)):
        image = images[row].as_py()
        is_relative = not re.match(_SCHEME_AND_HOST, image) and not image.startswith("/")
        if is_relative and posixpath.normpath(image).split("/")[0] == "..":
            problem = (
                f"image {image!r} leaves the source's folder; move the picture inside or give its full path"
            )
            raise context.error(row, problem)


def _check_ids(ids: pa.Array, context: SourceContext) -> None:
    """Raise SourceError for the first id that is missing, invalid or repeated."""
    is_dots = pc.is_in(ids, value_set=pa.array([".", ".."]))
    is_plain = pc.and_not(pc.fill_null(pc.match_substring_regex(ids, _PLAIN_ID), False), is_dots)
    for row in _true_rows(pc.invert(is_plain)):
        product_id = ids[row].as_py()
        problem = "there is no id" if product_id is None else invalid_id_reason(product_id)
        if problem:
            raise context.error(row, problem + _quote(product_id))
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return
    codes = encoded.indices.to_numpy()
    first_rows = np.unique(codes, return_index=True)[1]
    is_repeated = np.ones(len(codes), dtype=bool)
    is_repeated[first_rows] = False
    row = int(np.flatnonzero(is_repeated)[0])
    first_row = int(first_rows[codes[row]])
    more = int(is_repeated.sum()) - 1
    others = f" ({more} more rows repeat an id)" if more else ""
    raise context.error(row, f"the same id as {context.row_label(first_row)}, {ids[row].as_py()!r}{others}")


def _quote(product_id: str | None) -> str:
    """Return the start of an id in quotes and parentheses, "" for none."""
    if not product_id:
        return ""
    ellipsis = "…" if len(product_id) > _MAX_QUOTED_ID else ""
    return f" ({product_id[:_MAX_QUOTED_ID]!r}{ellipsis})"


def _fill_blanks(values: pa.Array | None, default: pa.Array) -> pa.Array:
    if values is None:
        return default
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(pc.fill_null(values, "")), ""), default, values)


def _blank_to_null(values: pa.Array | None, length: int) -> pa.Array:
    if values is None:
        return pa.nulls(length, pa.string())
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _has_parent_reference(paths: pa.Array) -> pa.Array:
    return pc.match_substring_regex(paths, r"(?:^|/)\.\.(?:/|$)")


def _true_rows(mask: pa.Array) -> list[int]:
    rows: list[int] = np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
    return rows


def _combine_chunks(values: pa.ChunkedArray) -> pa.Array:
    combined = values.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
