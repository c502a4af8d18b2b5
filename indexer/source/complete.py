"""From what a source says to products that keep every rule: defaults, then checks. Reads no file.

Every step works on whole columns, so that a million products take seconds.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vitrine.indexer.errors import SourceError
from vitrine.indexer.products.ids import id_problem
from vitrine.indexer.source.manifest import FIELDS

_URL_HEAD = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*"
_PLAIN_ID = r"^[ -.0-~]{1,200}$"  # ASCII ids that keep every rule; all others are looked at one by one


@dataclass(frozen=True)
class Origin:
    """Where products come from. label: what messages call it; root: the folder or URL that images are
    relative to; name_row(row): what messages call a row."""

    label: str
    root: str
    name_row: Callable[[int], str]

    def error(self, row: int, problem: str) -> SourceError:
        """Say what is wrong with one row."""
        return SourceError(f"{self.label}: {self.name_row(row)}: {problem}")


def complete_products(table: pa.Table, origin: Origin, category_from: str) -> pa.Table:
    """Return columns id, name, category, group, image, then the attributes, all rules kept.

    table: has `image`, may have the rest. category_from: 'auto', 'folder', 'filename' or a pattern.
    Raises SourceError: an id that breaks a rule or is repeated, an image that leaves the root.
    """
    images = _one_chunk(pc.fill_null(table["image"], ""))
    _refuse_leaving(images, origin)
    paths = _paths(images, origin.root)
    outside = _is_outside(images, origin.root)
    stems = pc.replace_substring_regex(paths, r"\.[^./]+$", "")
    names = pc.replace_substring_regex(stems, r"(?s)^.*/", "")
    given: Mapping[str, pa.Array] = {
        field: _one_chunk(table[field]) for field in FIELDS if field in table.column_names
    }
    ids = given["id"] if "id" in given else pc.replace_substring(stems, "/", ":")
    _check_ids(ids, origin)
    if "category" in given and category_from == "auto":
        categories = pc.utf8_trim_whitespace(pc.fill_null(given["category"], ""))
    else:
        categories = _categories(stems, names, outside, category_from)
    columns: dict[str, Any] = {
        "id": ids,
        "name": _or_else(given.get("name"), names),
        "category": categories,
        "group": _blank_to_null(given.get("group"), len(table)),
        "image": images,
    }
    columns |= {name: table[name] for name in table.column_names if name not in FIELDS}
    return pa.table(columns)


def category_pattern(category_from: str) -> re.Pattern[str]:
    """Compile a --category-from that is a pattern. Raises SourceError."""
    try:
        return re.compile(category_from)
    except re.error as error:
        known = "'auto', 'folder', 'filename' or a regular expression"
        raise SourceError(f"--category-from {category_from!r}: not {known}: {error}") from error


def _paths(images: pa.Array, root: str) -> pa.Array:
    """Image paths that ids, names and categories are made from: relative, without scheme, host or query."""
    is_url = pc.match_substring_regex(images, _URL_HEAD)
    paths = pc.if_else(is_url, pc.replace_substring_regex(images, r"(?s)[?#].*$", ""), images)
    prefix = root.rstrip("/") + "/"
    inside = pc.starts_with(paths, prefix)
    paths = pc.if_else(inside, pc.utf8_slice_codeunits(paths, len(prefix)), paths)
    paths = pc.if_else(is_url, pc.replace_substring_regex(paths, _URL_HEAD, ""), paths)
    paths = pc.replace_substring_regex(paths, r"/(\.?/)+", "/")
    paths = pc.replace_substring_regex(paths, r"^(\.?/)+", "")
    if pc.any(_has_parent_step(paths)).as_py():
        paths = pa.array([posixpath.normpath(path) for path in paths.to_pylist()], pa.string())
    return pc.utf8_normalize(paths, form="NFC")


def _is_outside(images: pa.Array, root: str) -> pa.Array:
    absolute = pc.or_(pc.match_substring_regex(images, _URL_HEAD), pc.starts_with(images, "/"))
    return pc.and_(absolute, pc.invert(pc.starts_with(images, root.rstrip("/") + "/")))


def _categories(stems: pa.Array, names: pa.Array, outside: pa.Array, category_from: str) -> pa.Array:
    """'folder': the first-level one; 'filename': the name's leading letters; 'auto': the one, else the other.

    Of a picture outside the source's folder, the folder it lies in. "" where there is none.
    """
    letters = pc.replace_substring_regex(names, r"(?s)^(\pL*).*$", r"\1")
    first = pc.replace_substring_regex(stems, r"(?s)^(?:([^/]*)/.*|[^/]*)$", r"\1")
    last = pc.replace_substring_regex(stems, r"(?s)^(?:(?:.*/)?([^/]*)/[^/]*|[^/]*)$", r"\1")
    folder = pc.if_else(outside, last, first)
    if category_from == "filename":
        return letters
    if category_from == "folder":
        return folder
    if category_from == "auto":
        return pc.if_else(pc.equal(folder, ""), letters, folder)
    search = category_pattern(category_from).search
    group = 1 if category_pattern(category_from).groups else 0
    found = (search(stem) for stem in stems.to_pylist())
    return pa.array([(match[group] or "") if match else "" for match in found], pa.string())


def _refuse_leaving(images: pa.Array, origin: Origin) -> None:
    for row in _rows(_has_parent_step(images)):
        image = images[row].as_py()
        relative = not re.match(_URL_HEAD, image) and not image.startswith("/")
        if relative and posixpath.normpath(image).split("/")[0] == "..":
            problem = (
                f"image {image!r} leaves the source's folder; move the picture inside or give its full path"
            )
            raise origin.error(row, problem)


def _check_ids(ids: pa.Array, origin: Origin) -> None:
    dots = pc.is_in(ids, value_set=pa.array([".", ".."]))
    plain = pc.and_not(pc.fill_null(pc.match_substring_regex(ids, _PLAIN_ID), False), dots)
    for row in _rows(pc.invert(plain)):
        text = ids[row].as_py()
        problem = "there is no id" if text is None else id_problem(text)
        if problem:
            raise origin.error(row, problem + _shown(text))
    encoded = ids.dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return
    codes = encoded.indices.to_numpy()
    first = np.unique(codes, return_index=True)[1]
    repeated = np.ones(len(codes), dtype=bool)
    repeated[first] = False
    row = int(np.flatnonzero(repeated)[0])
    earlier = int(first[codes[row]])
    more = int(repeated.sum()) - 1
    also = f" ({more} more rows repeat an id)" if more else ""
    raise origin.error(row, f"the same id as {origin.name_row(earlier)}, {ids[row].as_py()!r}{also}")


def _shown(text: str | None) -> str:
    if not text:
        return ""
    return f" ({text!r})" if len(text) <= 80 else f" ({text[:80]!r}…)"


def _or_else(values: pa.Array | None, default: pa.Array) -> pa.Array:
    if values is None:
        return default
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(pc.fill_null(values, "")), ""), default, values)


def _blank_to_null(values: pa.Array | None, length: int) -> pa.Array:
    if values is None:
        return pa.nulls(length, pa.string())
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _has_parent_step(paths: pa.Array) -> pa.Array:
    return pc.match_substring_regex(paths, r"(?:^|/)\.\.(?:/|$)")


def _rows(mask: pa.Array) -> npt.NDArray[np.int64]:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def _one_chunk(values: pa.ChunkedArray) -> pa.Array:
    joined = values.combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)
