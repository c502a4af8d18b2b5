"""Finding products by what people type: words of names, categories and ids, whole, begun or slightly
mistyped.

Shape letters: n rows of the view, N rows of one of its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from vitrine.indexer.arrays import Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.text_index import NAME, TextIndex, fold, words_of
from vitrine.indexer.products.where import rows_of_categories
from vitrine.service.queries.view import View

MAX_TEXT = 300
MAX_WORDS = 12
# How well a product matches a word, best first; a product matches a text as its worst word does.
SAME, NAMED, WHOLE, NAME_BEGUN, BEGUN, MISTYPED, NOT = range(7)
# Rows that are more than one in so many are found in the order of names rather than sorted.
_MANY = 32
_NAMES_AT_ONCE = 2**15
Levels = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Found:
    """One page of the products that match, best first. `facets` counts all that match in every category."""

    total: int
    rows: Rows
    facets: dict[str, int]


def find_products(
    view: View,
    text: str = "",
    *,
    categories: Sequence[str] = (),
    deleted: bool = False,
    limit: int = 5,
    offset: int = 0,
) -> Found:
    """Return the live (or the deleted) products that match a text, by how well, then by name, then by id.

    Best is the product of that id or name. Every word must be found: as a word of the name, then of the
    category or id, then as the beginning of one; only a word that nothing has is compared allowing for typing
    errors. An empty text matches all. `facets` leaves the `categories` asked for out of account, so that the
    others can be offered with their counts. Raises QueryError for a text past 300 characters.
    """
    levels = match(view, text)
    levels = np.where(view.live != deleted, levels, np.uint8(NOT))
    counts = np.bincount(view.category_codes[levels < NOT], minlength=len(view.categories))
    facets = {name: int(count) for name, count in zip(view.categories, counts, strict=True) if count}
    if categories:
        wanted = rows_of_categories(categories, view.categories, view.category_codes)
        levels = np.where(wanted, levels, np.uint8(NOT))
    total = int(np.count_nonzero(levels < NOT))
    return Found(total, _best(view, levels, offset + limit)[offset:], facets)


def best_product(view: View, text: str) -> int:
    """Return the row of the live product that matches best. Raises QueryError when none does."""
    found = find_products(view, text, limit=1)
    if not words_of(text) or not found.total:
        raise QueryError(f"no product matches {text!r}", field="text")
    return int(found.rows[0])


def match(view: View, text: str) -> Levels:
    """Return (n,) how well each row, live or not, matches a text: SAME is best, NOT is not at all."""
    if len(text) > MAX_TEXT:
        raise QueryError(f"a text has at most {MAX_TEXT} characters, not {len(text)}", field="q")
    words = list(dict.fromkeys(words_of(text)))[:MAX_WORDS]
    levels = np.full(view.n, SAME if not words else NAMED, np.uint8)
    for word in words:
        of_word = _levels(view, word, _levels_of_word)
        if (of_word == NOT).all():
            of_word = _levels(view, word, _levels_of_typos)
        np.maximum(levels, of_word, out=levels)
    if text.strip() and not words:
        levels[:] = NOT
    name_words = np.concatenate([index.name_words for _, index in view.texts])
    levels[(levels == NAMED) & (name_words == len(words))] = SAME
    row = view.row_of(text.strip())
    if row is not None:
        levels[row] = SAME
    return levels


def _levels(view: View, word: str, of_index: Callable[[TextIndex, str], Levels]) -> Levels:
    """Return (n,) how well each row matches one word, moved rows by the words they have now."""
    levels = np.concatenate([of_index(index, word) for _, index in view.texts])
    if view.moved:
        rows, index = view.moved_text
        levels[rows] = of_index(index, word)
    return levels


def _levels_of_word(index: TextIndex, word: str) -> Levels:
    levels = np.full(len(index), NOT, np.uint8)
    begun = index.vocabulary.with_prefix(word)
    rows, fields = index.products_of(begun)
    levels[rows] = BEGUN
    levels[rows[fields == NAME]] = NAME_BEGUN
    if begun and index.vocabulary[begun.start] == word:
        rows, fields = index.products_of(range(begun.start, begun.start + 1))
        levels[rows] = WHOLE
        levels[rows[fields == NAME]] = NAMED
    return levels


def _levels_of_typos(index: TextIndex, word: str) -> Levels:
    levels = np.full(len(index), NOT, np.uint8)
    slips = allowed_slips(word)
    if not slips:
        return levels
    alike = process.extract(word, index.spoken_words, scorer=OSA.distance, score_cutoff=slips, limit=50)
    for _, _, number in alike:
        rows, _ = index.products_of(range(number, number + 1))
        levels[rows] = MISTYPED
    return levels


def allowed_slips(word: str) -> int:
    """Return how many letters of a word may be wrong, missing, doubled or swapped: the longer, the more."""
    return 0 if len(word) < 4 or word.isdecimal() else 1 if len(word) < 8 else 2


def _best(view: View, levels: Levels, count: int) -> Rows:
    """Return up to `count` matching rows: by level, then folded name, then id."""
    tops = [
        _best_of(index, levels[offset : offset + len(index)], count) + offset for offset, index in view.texts
    ]
    found = np.concatenate(tops)
    if sum(len(top) > 0 for top in tops) > 1:
        found = np.array(sorted(found.tolist(), key=lambda row: _place(view, levels, row)), np.int64)
    return found[:count]


def _best_of(index: TextIndex, levels: Levels, count: int) -> Rows:
    """Return up to `count` matching rows of one table. levels: (N,)."""
    found: list[Rows] = []
    for level in range(NOT):
        rows = np.flatnonzero(levels == level)
        if len(rows) * _MANY > len(index):
            rows = _first_named(index, levels == level, count)
        found.append(rows[np.argsort(index.name_ranks[rows])][:count])
        count -= len(found[-1])
    return np.concatenate(found)


def _first_named(index: TextIndex, chosen: Mask, count: int) -> Rows:
    """Return the first `count` of many chosen rows by name, without sorting them all."""
    found: list[Rows] = [np.empty(0, np.int64)]
    for start in range(0, len(index), _NAMES_AT_ONCE):
        if count <= 0:
            break
        part = index.name_order[start : start + _NAMES_AT_ONCE]
        found.append(part[chosen[part]])
        count -= len(found[-1])
    return np.concatenate(found)


def _place(view: View, levels: Levels, row: int) -> tuple[int, str, str]:
    product = view.product(row)
    return int(levels[row]), fold(product.name), product.id
