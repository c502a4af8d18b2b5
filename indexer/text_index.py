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
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import SnapshotCorrupt
from indexer.table import Table

Postings = np.ndarray[tuple[int], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int], Any]

NAME, CATEGORY, ID = 0, 1, 2
_FIELD_BITS = 2
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


class TextIndex:
    """Which of N products have which words. Immutable; thread-safe."""

    def __init__(
        self, vocabulary: Vocabulary, starts: Numbers, postings: Numbers, name_ranks: Numbers, spoken: Numbers
    ) -> None:
        """Take the parts that `build` makes.

        starts: (W + 1,) where the postings of each word begin. postings: (P,) uint32, row << 2 | field.
        name_ranks: (N,) int32, the place of each product when ordered by folded name, then id. spoken: (S,)
        int32, the words of names and categories that hold a letter, which are what people mistype.
        """
        self.vocabulary = vocabulary
        self.name_ranks = name_ranks
        self._starts = starts
        self._postings = postings
        self._spoken = spoken

    @classmethod
    def build(cls, table: Table) -> TextIndex:
        """Index the names, categories and ids of a table."""
        ids, names, categories = table.ids(), table.column("name"), table.column("category")
        numbers: dict[str, int] = {}
        word_of, posting_of = array("I"), array("I")
        for field, texts in ((NAME, names), (CATEGORY, categories), (ID, ids)):
            for row, text in enumerate(texts):
                for word in set(words_of(text)):
                    word_of.append(numbers.setdefault(word, len(numbers)))
                    posting_of.append(row << _FIELD_BITS | field)
        ordered = sorted(numbers)
        place = np.empty(len(ordered), np.int64)
        place[[numbers[word] for word in ordered]] = np.arange(len(ordered))
        words = place[np.asarray(word_of, np.int64)]
        order = np.argsort(words, kind="stable")
        postings = np.asarray(posting_of, np.uint32)[order]
        starts = np.searchsorted(words[order], np.arange(len(ordered) + 1))
        by_name = sorted(range(len(ids)), key=lambda row: (fold(names[row]), ids[row]))
        name_ranks = np.empty(len(ids), np.int32)
        name_ranks[by_name] = np.arange(len(ids))
        return cls(Vocabulary.of(ordered), starts, postings, name_ranks, _spoken(ordered, starts, postings))

    def save(self, path: Path) -> None:
        """Write text.npz, uncompressed."""
        np.savez(
            path,
            letters=np.frombuffer(self.vocabulary.letters, np.uint8),
            ends=self.vocabulary.ends,
            starts=self._starts,
            postings=self._postings,
            name_ranks=self.name_ranks,
            spoken=self._spoken,
        )

    @classmethod
    def load(cls, path: Path) -> TextIndex:
        """Open text.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as parts:
                vocabulary = Vocabulary(parts["letters"].tobytes(), parts["ends"])
                return cls(
                    vocabulary, parts["starts"], parts["postings"], parts["name_ranks"], parts["spoken"]
                )
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable text index: {error}") from error

    def __len__(self) -> int:
        """Return N."""
        return len(self.name_ranks)

    def products_of(self, words: range) -> tuple[Postings, Numbers]:
        """Return the (rows, fields) that hold any of a run of words; a row may come several times."""
        if not words:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        postings = self._postings[self._starts[words.start] : self._starts[words.stop]]
        return (postings >> _FIELD_BITS).astype(np.int64), postings & (2**_FIELD_BITS - 1)

    @cached_property
    def spoken_words(self) -> dict[int, str]:
        """The words of names and categories by their number: what a mistyped word is compared with."""
        return {int(number): self.vocabulary[int(number)] for number in self._spoken}


def _spoken(words: list[str], starts: Numbers, postings: Numbers) -> Numbers:
    named = np.zeros(len(words), bool)
    if len(postings):
        of_word = np.repeat(np.arange(len(words)), np.diff(starts))
        named[of_word[(postings & (2**_FIELD_BITS - 1)) != ID]] = True
    numbers = [number for number in np.flatnonzero(named).tolist() if not words[number].isdecimal()]
    return np.array(numbers, np.int32)
