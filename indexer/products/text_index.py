"""Inverted index of the words in names, categories and ids, without ranking.

The vocabulary is sorted and the postings of its words are stored one after another, so the words with a
common prefix, and all their postings, are one slice. Shape letters: N rows, W words, P postings.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.table import Table

# One-dimensional array of some integer type.
IntArray = np.ndarray[tuple[int], Any]

# Fields of a product, as stored in postings.
NAME, CATEGORY, ID = 0, 1, 2
_FIELD_BITS = 2
# Names of the arrays in text.npz, by attribute of TextIndex.
_STORED_ARRAYS = {
    "posting_offsets": "starts",
    "packed_postings": "postings",
    "name_ranks": "name_ranks",
    "name_word_counts": "name_words",
    "fuzzy_words": "spoken",
}
_MAX_WORD_COUNT = 255
# Version of the words in text.npz; it is absent from files of before, which are of version 1.
_WORDS_VERSION = 2
# Scripts that are written without spaces: Thai to Lao, Burmese, Khmer, kana, Chinese, and Korean compounds.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"
_RUN = re.compile(f"[{_UNSPACED}]+|[{_EMOJI}]|[^\\W_{_UNSPACED}]+")
_EMOJI_WORD = re.compile(f"[{_EMOJI}]")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]")
_LETTERS_AND_DIGITS = re.compile(r"([^\W\d_]{2,})(\d+)|(\d+)([^\W\d_]{2,})")
# Letters that Unicode does not decompose, and their usual spelling in plain letters.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def fold(text: str) -> str:
    """Return text in lower case without accents: "Tênis" and "TENIS" both become "tenis".

    Invisible format characters, such as soft hyphens and joiners, are removed.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    base_letters = "".join(
        letter
        for letter in decomposed
        if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"
    )
    folded = unicodedata.normalize("NFKD", base_letters.casefold()).translate(_PLAIN_LETTERS)
    return unicodedata.normalize("NFC", folded)  # Korean letters become syllables again


def tokenize(text: str) -> list[str]:
    """Return the folded words of a text, in order; a word is a run of letters and digits, or one emoji.

    In scripts without spaces, every two neighbouring characters are a word, as there is no dictionary here.
    """
    words: list[str] = []
    for run in _RUN.findall(fold(text)):
        if len(run) > 2 and _UNSPACED_RUN.match(run):
            words += (run[start : start + 2] for start in range(len(run) - 1))
        else:
            words.append(run)
    return words


def split_word(word: str) -> tuple[str, ...]:
    """Return the letters and the digits of a word such as "iphone15"; empty for any other word."""
    match = _LETTERS_AND_DIGITS.fullmatch(word)
    return tuple(filter(None, match.groups())) if match else ()


def is_emoji(word: str) -> bool:
    """Return True if a word of `tokenize` is an emoji."""
    return _EMOJI_WORD.fullmatch(word) is not None


def _indexed_words(text: str) -> set[str]:
    """Return the words that find a text: also parts of words, and the last character of an unspaced run."""
    words = set(tokenize(text))
    parts = {part for word in words for part in split_word(word)}
    last = {run[-1] for run in _RUN.findall(fold(text)) if _UNSPACED_RUN.match(run)}
    return words | parts | last


class Vocabulary(Sequence[str]):
    """Sequence of W sorted words, stored as one UTF-8 string so that a million words load at once."""

    def __init__(self, utf8: bytes, end_offsets: IntArray) -> None:
        """utf8: the words one after another. end_offsets: (W,) byte offset of the end of each word."""
        self.utf8 = utf8
        self.end_offsets = end_offsets

    @classmethod
    def from_sorted(cls, words: Iterable[str]) -> Vocabulary:
        """Build a vocabulary from words that are already sorted by code point."""
        encoded = [word.encode() for word in words]
        return cls(b"".join(encoded), np.cumsum([len(word) for word in encoded], dtype=np.int64))

    def __len__(self) -> int:
        """Return W."""
        return len(self.end_offsets)

    def __getitem__(self, number: Any) -> Any:
        """Return the word of a number from 0 to W - 1; slices are not supported."""
        start = int(self.end_offsets[number - 1]) if number else 0
        return self.utf8[start : int(self.end_offsets[number])].decode()

    def prefix_range(self, prefix: str) -> range:
        """Return the numbers of the words that begin with `prefix`."""
        return range(bisect_left(self, prefix), bisect_left(self, prefix + chr(0x10FFFF)))


@dataclass(frozen=True)
class TextIndex:
    """Inverted index of N products. Immutable; thread-safe.

    posting_offsets: (W + 1,) start of each word's postings. packed_postings: (P,) uint32, row << 2 | field.
    name_ranks: (N,) int32, rank of each product in the order of folded name, then id.
    name_word_counts: (N,) uint8, number of distinct words in each name.
    fuzzy_words: int32 word numbers, those of names and categories with a letter. Only these are compared with
    misspelt words.
    """

    vocabulary: Vocabulary
    posting_offsets: IntArray
    packed_postings: IntArray
    name_ranks: IntArray
    name_word_counts: IntArray
    fuzzy_words: IntArray

    @classmethod
    def build(cls, table: Table) -> TextIndex:
        """Index the names, categories and ids of a table."""
        ids, names = table.ids(), [fold(name) for name in table.column("name")]
        name_words = [_indexed_words(name) for name in names]
        word_counts = [len({word for word in tokenize(name) if not is_emoji(word)}) for name in names]
        words_by_category = [_indexed_words(name) for name in table.categories]
        category_words = (words_by_category[code] for code in table.category_codes.tolist())
        id_words = (set(tokenize(product_id)) for product_id in ids)
        words, offsets, postings = _invert({NAME: name_words, CATEGORY: category_words, ID: id_words})
        name_order = sorted(range(len(ids)), key=lambda row: (names[row], ids[row]))
        name_ranks = np.empty(len(ids), np.int32)
        name_ranks[name_order] = np.arange(len(ids))
        return cls(
            vocabulary=Vocabulary.from_sorted(words),
            posting_offsets=offsets,
            packed_postings=postings,
            name_ranks=name_ranks,
            name_word_counts=np.minimum(np.array(word_counts, np.int64), _MAX_WORD_COUNT).astype(np.uint8),
            fuzzy_words=_fuzzy_words(words, offsets, postings),
        )

    def save(self, path: Path) -> None:
        """Write text.npz, uncompressed."""
        np.savez(
            path,
            letters=np.frombuffer(self.vocabulary.utf8, np.uint8),
            ends=self.vocabulary.end_offsets,
            words_version=np.array(_WORDS_VERSION),
            **{stored: getattr(self, name) for name, stored in _STORED_ARRAYS.items()},
        )

    @classmethod
    def load(cls, path: Path, table: Table) -> TextIndex:
        """Open text.npz. Raises SnapshotCorrupt if it cannot be read.

        table: what is indexed, to index it again if the file splits words of unspaced scripts another way.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                vocabulary = Vocabulary(arrays["letters"].tobytes(), arrays["ends"])
                is_outdated = "words_version" not in arrays and _has_unspaced_words(vocabulary)
                if is_outdated:
                    return cls.build(table)
                return cls(vocabulary, **{name: arrays[stored] for name, stored in _STORED_ARRAYS.items()})
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable text index: {error}") from error

    def __len__(self) -> int:
        """Return N."""
        return len(self.name_ranks)

    def postings(self, words: range) -> tuple[Rows, IntArray]:
        """Return the (rows, fields) of the postings of consecutive words; a row may occur more than once.

        words: numbers in the vocabulary. fields: NAME, CATEGORY or ID.
        """
        if not words:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        packed = self.packed_postings[self.posting_offsets[words.start] : self.posting_offsets[words.stop]]
        return (packed >> _FIELD_BITS).astype(np.int64), _fields(packed)

    @cached_property
    def name_order(self) -> Rows:
        """(N,) rows in the order of folded name, then id: the inverse of `name_ranks`."""
        order = np.empty(len(self), np.int64)
        order[self.name_ranks] = np.arange(len(self))
        return order

    @cached_property
    def fuzzy_vocabulary(self) -> dict[int, str]:
        """Words that a misspelt word is compared with, by number in the vocabulary."""
        return {int(number): self.vocabulary[int(number)] for number in self.fuzzy_words}


def _has_unspaced_words(vocabulary: Vocabulary) -> bool:
    """Return True if words may hold characters of unspaced scripts, or the letters of Korean syllables."""
    return any(byte >= 0xE0 for byte in vocabulary.utf8)  # the first byte of characters from U+0800


def _invert(words_by_field: Mapping[int, Iterable[set[str]]]) -> tuple[list[str], IntArray, IntArray]:
    """Return the W sorted words, (W + 1,) offsets of their postings, and the (P,) packed postings.

    words_by_field: the words of each row, by field. The postings of a word are in the order of field, then
    row.
    """
    numbers: dict[str, int] = {}  # words in the order in which they were seen
    seen_words, packed = array("I"), array("I")
    for field, words_by_row in words_by_field.items():
        for row, words in enumerate(words_by_row):
            for word in words:
                seen_words.append(numbers.setdefault(word, len(numbers)))
                packed.append(row << _FIELD_BITS | field)
    sorted_words = sorted(numbers)
    sorted_numbers = np.empty(len(sorted_words), np.int64)
    sorted_numbers[[numbers[word] for word in sorted_words]] = np.arange(len(sorted_words))
    posting_words = sorted_numbers[np.asarray(seen_words, np.int64)]
    order = np.argsort(posting_words, kind="stable")
    offsets = np.searchsorted(posting_words[order], np.arange(len(sorted_words) + 1))
    return sorted_words, offsets, np.asarray(packed, np.uint32)[order]


def _fields(postings: IntArray) -> IntArray:
    fields: IntArray = postings & (2**_FIELD_BITS - 1)
    return fields


def _fuzzy_words(words: list[str], offsets: IntArray, postings: IntArray) -> IntArray:
    is_in_text = np.zeros(len(words), bool)
    if len(postings):
        posting_words = np.repeat(np.arange(len(words)), np.diff(offsets))
        is_in_text[posting_words[_fields(postings) != ID]] = True
    numbers = [number for number in np.flatnonzero(is_in_text).tolist() if not words[number].isdecimal()]
    return np.array(numbers, np.int32)
