"""The text index: folding, vocabulary, postings and the stored file."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.queries_view import product
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex, Vocabulary, fold, tokenize

PRODUCTS = [
    product("shoes:t1", "Tênis Azul", "calçados"),
    product("w-01", "Relógio Dourado", "acessórios"),
    product("b-07", "Bolsa", "tênis"),
    product("日本-1", "時計 黒", "時計"),
]
TABLE = Table.from_products(PRODUCTS)


def test_folding_removes_accents_and_case() -> None:
    assert fold("Tênis ÀÉÎÕÜ ç") == "tenis aeiou c"
    assert fold("STRASSE") == fold("Straße") == "strasse"
    assert tokenize("T-shirt_azul (P) 2.0") == ["t", "shirt", "azul", "p", "2", "0"]


@given(st.text(max_size=40))
def test_folding_is_idempotent_and_ignores_unicode_composition(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert tokenize(unicodedata.normalize("NFC", text)) == tokenize(unicodedata.normalize("NFD", text))


def test_a_saved_text_index_loads_unchanged(tmp_path: Path) -> None:
    index = TextIndex.build(Table.from_products(PRODUCTS))
    index.save(tmp_path / "text.npz")
    loaded = TextIndex.load(tmp_path / "text.npz", TABLE)
    assert list(loaded.vocabulary) == list(index.vocabulary) == sorted(index.vocabulary)
    np.testing.assert_array_equal(loaded.name_ranks, index.name_ranks)
    for number in range(len(index.vocabulary)):
        for ours, theirs in zip(
            index.postings(range(number, number + 1)),
            loaded.postings(range(number, number + 1)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert loaded.fuzzy_vocabulary == index.fuzzy_vocabulary
    assert "07" not in index.fuzzy_vocabulary.values()


def test_an_empty_text_index_and_unreadable_files(tmp_path: Path) -> None:
    empty = TextIndex.build(Table.from_products([]))
    assert len(empty) == len(empty.vocabulary) == 0
    assert empty.postings(range(0))[0].tolist() == []
    (tmp_path / "text.npz").write_bytes(b"PK nothing")
    with pytest.raises(SnapshotCorrupt, match="text index"):
        TextIndex.load(tmp_path / "text.npz", TABLE)
    with pytest.raises(SnapshotCorrupt):
        TextIndex.load(tmp_path / "absent.npz", TABLE)


@given(st.lists(st.text(min_size=1, max_size=6), max_size=30), st.text(max_size=3))
def test_a_prefix_is_a_range_of_the_vocabulary(words: list[str], prefix: str) -> None:
    words = sorted({word for word in words if word.isprintable()})
    vocabulary = Vocabulary.from_sorted(words)
    assert [vocabulary[i] for i in vocabulary.prefix_range(prefix)] == [
        w for w in words if w.startswith(prefix)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("女装连衣裙", ["女装", "装连", "连衣", "衣裙"]),
        ("裙", ["裙"]),
        ("가방", ["가방"]),
        ("กระเป๋า", ["กร", "ระ", "ะเ", "เป", "ปา"]),
        ("スニーカー 靴", ["スニ", "ニー", "ーカ", "カー", "靴"]),
        ("Nike红色鞋", ["nike", "红色", "色鞋"]),
        ("cami\u00adsa", ["camisa"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("bola ⚽ azul", ["bola", "⚽", "azul"]),
        ("👩\u200d🔬", ["👩", "🔬"]),
    ],
)
def test_words_of_other_scripts(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_a_file_of_before_is_indexed_again_where_its_words_differ(tmp_path: Path) -> None:
    TextIndex.build(TABLE).save(tmp_path / "text.npz")
    with np.load(tmp_path / "text.npz") as arrays:
        older = {name: arrays[name] for name in arrays if name != "words_version"}
    older["ends"] = older["ends"][:0]
    older["letters"] = np.frombuffer("時計".encode(), np.uint8)
    np.savez(tmp_path / "unspaced.npz", **older)
    assert list(TextIndex.load(tmp_path / "unspaced.npz", TABLE).vocabulary) == list(
        TextIndex.build(TABLE).vocabulary
    )
    older["letters"] = older["letters"][:0]
    np.savez(tmp_path / "spaced.npz", **older)
    assert list(TextIndex.load(tmp_path / "spaced.npz", TABLE).vocabulary) == []
