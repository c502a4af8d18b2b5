"""Words of names, categories and ids, and the products that have them. Knows how text is folded; ranks
nothing.

One sorted vocabulary with the postings of each word behind each other, so that the words with a common prefix
and all their products are one slice. Shape letters: N rows, W words, P postings.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.table import Table

Numbers = np.ndarray[tuple[int], Any]

NAME, CATEGORY, ID = 0, 1, 2
_FIELD_BITS = 2
_ARRAYS = ("starts", "postings", "name_ranks", "name_words", "spoken")
_WORD = re.compile(r"[^\W_]+")
# Letters that Unicode does not decompose, as people type them without their stroke.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def fold(text: str) -> str:
    """Return text without case and accents: "Tênis" and "TENIS" fold alike."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return unicodedata.normalize("NFKD", bare.casefold()).translate(_PLAIN)


def words_of(text: str) -> list[str]:
    """Return the folded words of a text, in order; anything but letters and digits parts words."""
    return _WORD.findall(fold(text))


class Vocabulary(Sequence[str]):
    """W sorted words kept as one run of UTF-8 bytes, so that opening a million of them costs nothing."""

    def __init__(self, letters: bytes, ends: Numbers) -> None:
        """letters: the words behind each other. ends: (W,) where each ends."""
        self.letters = letters
        self.ends = ends

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """Make one of words that are sorted by code point already."""
        encoded = [word.encode() for word in words]
        return cls(b"".join(encoded), np.cumsum([len(word) for word in encoded], dtype=np.int64))

    def __len__(self) -> int:
        """Return W."""
        return len(self.ends)

    def __getitem__(self, number: Any) -> Any:
        """Return one word; slices are not offered."""
        start = int(self.ends[number - 1]) if number else 0
        return self.letters[start : int(self.ends[number])].decode()

    def with_prefix(self, prefix: str) -> range:
        """Return the numbers of the words that begin with `prefix`."""
        return range(bisect_left(self, prefix), bisect_left(self, prefix + chr(0x10FFFF)))


@dataclass(frozen=True)
class TextIndex:
    """Which of N products have which words. Immutable; thread-safe.

    starts: (W + 1,) where the postings of each word begin. postings: (P,) uint32, row << 2 | field.
    name_ranks: (N,) int32, the place of each product when ordered by folded name, then id. name_words: (N,)
    uint8, how many words its name has. spoken: (S,) int32, the words of names and categories that hold a
    letter, which are what people mistype.
    """

    vocabulary: Vocabulary
    starts: Numbers
    postings: Numbers
    name_ranks: Numbers
    name_words: Numbers
    spoken: Numbers

    @classmethod
    def build(cls, table: Table) -> TextIndex:
        """Index the names, categories and ids of a table."""
        ids, names = table.ids(), [fold(name) for name in table.column("name")]
        numbers: dict[str, int] = {}
        word_of, posting_of = array("I"), array("I")
        of_category = [set(words_of(name)) for name in table.categories]
        categories = (of_category[code] for code in table.category_codes.tolist())
        of_name = [set(_WORD.findall(name)) for name in names]
        name_words = np.array([min(len(words), 255) for words in of_name], np.uint8)
        of_id = (set(words_of(product_id)) for product_id in ids)
        for field, words_by_row in ((NAME, of_name), (CATEGORY, categories), (ID, of_id)):
            for row, words in enumerate(words_by_row):
                for word in words:
                    word_of.append(numbers.setdefault(word, len(numbers)))
                    posting_of.append(row << _FIELD_BITS | field)
        ordered = sorted(numbers)
        place = np.empty(len(ordered), np.int64)
        place[[numbers[word] for word in ordered]] = np.arange(len(ordered))
        places = place[np.asarray(word_of, np.int64)]
        order = np.argsort(places, kind="stable")
        postings = np.asarray(posting_of, np.uint32)[order]
        starts = np.searchsorted(places[order], np.arange(len(ordered) + 1))
        by_name = sorted(range(len(ids)), key=lambda row: (names[row], ids[row]))
        name_ranks = np.empty(len(ids), np.int32)
        name_ranks[by_name] = np.arange(len(ids))
        spoken = _spoken(ordered, starts, postings)
        return cls(Vocabulary.of(ordered), starts, postings, name_ranks, name_words, spoken)

    def save(self, path: Path) -> None:
        """Write text.npz, uncompressed."""
        np.savez(
            path,
            letters=np.frombuffer(self.vocabulary.letters, np.uint8),
            ends=self.vocabulary.ends,
            **{name: getattr(self, name) for name in _ARRAYS},
        )

    @classmethod
    def load(cls, path: Path) -> TextIndex:
        """Open text.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as parts:
                vocabulary = Vocabulary(parts["letters"].tobytes(), parts["ends"])
                return cls(vocabulary, **{name: parts[name] for name in _ARRAYS})
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable text index: {error}") from error

    def __len__(self) -> int:
        """Return N."""
        return len(self.name_ranks)

    def products_of(self, words: range) -> tuple[Rows, Numbers]:
        """Return the (rows, fields) that hold any of a run of words; a row may come several times."""
        if not words:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        postings = self.postings[self.starts[words.start] : self.starts[words.stop]]
        return (postings >> _FIELD_BITS).astype(np.int64), postings & (2**_FIELD_BITS - 1)

    @cached_property
    def name_order(self) -> Rows:
        """(N,) rows in the order of folded name, then id."""
        order = np.empty(len(self), np.int64)
        order[self.name_ranks] = np.arange(len(self))
        return order

    @cached_property
    def spoken_words(self) -> dict[int, str]:
        """The words of names and categories by their number: what a mistyped word is compared with."""
        return {int(number): self.vocabulary[int(number)] for number in self.spoken}


def _spoken(words: list[str], starts: Numbers, postings: Numbers) -> Numbers:
    named = np.zeros(len(words), bool)
    if len(postings):
        of_word = np.repeat(np.arange(len(words)), np.diff(starts))
        named[of_word[(postings & (2**_FIELD_BITS - 1)) != ID]] = True
    numbers = [number for number in np.flatnonzero(named).tolist() if not words[number].isdecimal()]
    return np.array(numbers, np.int32)
