"""Text search for products: words of names, categories and ids, whole, as prefixes or with typing errors.

Shape letters: n rows of the state, N rows of one of its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from vitrine.indexer.arrays import Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import category_mask
from vitrine.indexer.products.text_index import NAME, TextIndex, fold, is_emoji, split_word, tokenize
from vitrine.service.queries.view import View

MAX_TEXT = 300
MAX_WORDS = 12
# Match levels of a product for a word, best first; the level for a text is that of its worst word.
EXACT, NAME_WORD, OTHER_WORD, NAME_PREFIX, OTHER_PREFIX, TYPO, NO_MATCH = range(7)
# A level with more than one in 32 of the rows is read in the order of names instead of being sorted.
_SCAN_SHARE = 32
_SCAN_BLOCK = 2**15
Levels = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class TextMatches:
    """One page of the matching products, best first. facets: the number of all matches in each category."""

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
) -> TextMatches:
    """Return the live (or the deleted) products that match a text, by match level, then name, then id.

    The best match is the product with that id or name. Every word must be found: as a word of the name, then
    of the category or id, then as a prefix of one; a word that no product has is compared allowing for typing
    errors. An empty text matches all. `facets` ignores `categories`, so that other categories can be offered
    with their counts. Raises QueryError for a text past 300 characters.
    """
    state = view.state
    levels = match_levels(view, text)
    levels = np.where(state.live != deleted, levels, np.uint8(NO_MATCH))
    counts = np.bincount(state.category_codes[levels < NO_MATCH], minlength=len(state.categories))
    facets = {name: int(count) for name, count in zip(state.categories, counts, strict=True) if count}
    if categories:
        in_categories = category_mask(categories, state.categories, state.category_codes)
        levels = np.where(in_categories, levels, np.uint8(NO_MATCH))
    total = int(np.count_nonzero(levels < NO_MATCH))
    return TextMatches(total, _best_rows(view, levels, offset + limit)[offset:], facets)


def best_product(view: View, text: str) -> int:
    """Return the row of the live product that matches best. Raises QueryError when none does."""
    matches = find_products(view, text, limit=1)
    if not tokenize(text) or not matches.total:
        raise QueryError(f"no product matches {text!r}", field="text")
    return int(matches.rows[0])


def match_levels(view: View, text: str) -> Levels:
    """Return (n,) the match level of each row, live or not, from EXACT to NO_MATCH."""
    if len(text) > MAX_TEXT:
        raise QueryError(f"a text has at most {MAX_TEXT} characters, not {len(text)}", field="q")
    segments = view.state.segments
    words = list(dict.fromkeys(tokenize(text)))[:MAX_WORDS]
    levels = np.full(segments.n, EXACT if not words else NAME_WORD, np.uint8)
    for word in words:
        word_levels = _levels(view, word, _word_levels)
        if (word_levels == NO_MATCH).all():
            word_levels = _fallback_levels(view, word)
        np.maximum(levels, word_levels, out=levels)
    if text.strip() and not words:
        levels[:] = NO_MATCH
    name_word_counts = np.concatenate([index.name_word_counts for _, index in segments.texts])
    word_count = sum(not is_emoji(word) for word in words)
    levels[(levels == NAME_WORD) & (name_word_counts == word_count)] = EXACT
    row = segments.row_of(text.strip())
    if row is not None:
        levels[row] = EXACT
    return levels


def _fallback_levels(view: View, word: str) -> Levels:
    """Return (n,) the levels of a word that no product has: of its parts, else of similar words.

    An emoji that no product has matches all, so that it does not hide the matches of the other words.
    """
    parts = [_levels(view, part, _word_levels) for part in split_word(word)]
    levels: Levels = np.maximum.reduce(parts) if parts else np.full(1, NO_MATCH, np.uint8)
    if (levels < NO_MATCH).any():
        return levels
    if is_emoji(word):
        return np.zeros(view.state.segments.n, np.uint8)
    return _levels(view, word, _typo_levels)


def _levels(view: View, word: str, index_levels: Callable[[TextIndex, str], Levels]) -> Levels:
    """Return (n,) the levels of one word; a moved row is matched by its present words."""
    segments = view.state.segments
    levels = np.concatenate([index_levels(index, word) for _, index in segments.texts])
    if segments.moved:
        rows, index = segments.moved_text
        levels[rows] = index_levels(index, word)
    return levels


def _word_levels(index: TextIndex, word: str) -> Levels:
    """Return (N,) the levels for whole words and prefixes."""
    levels = np.full(len(index), NO_MATCH, np.uint8)
    prefix_range = index.vocabulary.prefix_range(word)
    rows, fields = index.postings(prefix_range)
    levels[rows] = OTHER_PREFIX
    levels[rows[fields == NAME]] = NAME_PREFIX
    if prefix_range and index.vocabulary[prefix_range.start] == word:
        rows, fields = index.postings(range(prefix_range.start, prefix_range.start + 1))
        levels[rows] = OTHER_WORD
        levels[rows[fields == NAME]] = NAME_WORD
    return levels


def _typo_levels(index: TextIndex, word: str) -> Levels:
    """Return (N,) TYPO for the rows with a similar word, by optimal string alignment distance."""
    levels = np.full(len(index), NO_MATCH, np.uint8)
    max_typos = allowed_typos(word)
    if not max_typos:
        return levels
    similar = process.extract(
        word, index.fuzzy_vocabulary, scorer=OSA.distance, score_cutoff=max_typos, limit=50
    )
    for _, _, number in similar:
        rows, _ = index.postings(range(number, number + 1))
        levels[rows] = TYPO
    return levels


def allowed_typos(word: str) -> int:
    """Return the number of letters that may be wrong, missing, doubled or swapped: more in longer words."""
    return 0 if len(word) < 4 or word.isdecimal() else 1 if len(word) < 8 else 2


def _best_rows(view: View, levels: Levels, count: int) -> Rows:
    """Return up to `count` matching rows: by level, then folded name, then id."""
    by_table = [
        _best_of_table(index, levels[offset : offset + len(index)], count) + offset
        for offset, index in view.state.segments.texts
    ]
    rows = np.concatenate(by_table)
    if sum(len(table_rows) > 0 for table_rows in by_table) > 1:
        rows = np.array(sorted(rows.tolist(), key=lambda row: _sort_key(view, levels, row)), np.int64)
    return rows[:count]


def _best_of_table(index: TextIndex, levels: Levels, count: int) -> Rows:
    """Return up to `count` matching rows of one table. levels: (N,)."""
    best: list[Rows] = []
    for level in range(NO_MATCH):
        rows = np.flatnonzero(levels == level)
        if len(rows) * _SCAN_SHARE > len(index):
            rows = _first_by_name(index, levels == level, count)
        best.append(rows[np.argsort(index.name_ranks[rows])][:count])
        count -= len(best[-1])
    return np.concatenate(best)


def _first_by_name(index: TextIndex, chosen: Mask, count: int) -> Rows:
    """Return the first `count` of many chosen rows by name, without sorting them all."""
    first: list[Rows] = [np.empty(0, np.int64)]
    for start in range(0, len(index), _SCAN_BLOCK):
        if count <= 0:
            break
        part = index.name_order[start : start + _SCAN_BLOCK]
        first.append(part[chosen[part]])
        count -= len(first[-1])
    return np.concatenate(first)


def _sort_key(view: View, levels: Levels, row: int) -> tuple[int, str, str]:
    product = view.state.product(row)
    return int(levels[row]), fold(product.name), product.id
