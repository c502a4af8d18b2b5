"""Search by words: folding, prefixes, typing errors, rank, facets; the file of the text index."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_of
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex, Vocabulary, fold, words_of
from vitrine.service.queries.text import allowed_typos, best_product, find_products
from vitrine.service.queries.view import View

SHOP = [
    product("shoes:t1", "Tênis Azul", "calçados"),
    product("shoes:t2", "Tênis de Corrida", "calçados"),
    product("w-01", "Relógio Dourado", "acessórios"),
    product("w-02", "Caixa para relógio", "casa"),
    product("w-03", "Relógio", "acessórios"),
    product("b-07", "Bolsa", "tênis"),
    product("tenista", "Boné", "acessórios"),
    product("x-99", "Óculos de Sol", "acessórios"),
    product("x-98", "Smørrebrød & Größe", "casa"),
    product("日本-1", "時計 黒", "時計"),
]


def shop(**options: object) -> View:
    return view_of(SHOP, np.eye(len(SHOP), 16), **options)  # type: ignore[arg-type]


def ids(text: str, view: View | None = None, **options: object) -> list[str]:
    view = view or shop()
    return view.state.ids(find_products(view, text, limit=50, **options).rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tenis", ["shoes:t1", "shoes:t2", "b-07", "tenista"]),
        ("TÊNIS", ["shoes:t1", "shoes:t2", "b-07", "tenista"]),
        ("tenis azul", ["shoes:t1"]),
        ("azul tenis", ["shoes:t1"]),
        ("ten", ["shoes:t1", "shoes:t2", "b-07", "tenista"]),
        ("cor", ["shoes:t2"]),
        ("shoes:t2", ["shoes:t2"]),
        ("w-0", ["w-02", "w-03", "w-01"]),
        ("acessorios", ["tenista", "x-99", "w-03", "w-01"]),
        ("oculos de", ["x-99"]),
        ("smorrebrod", ["x-98"]),
        ("grosse", ["x-98"]),
        ("時計", ["日本-1"]),
        ("nothing like this", []),
        ("!!!", []),
    ],
)
def test_words_are_found_whole_or_begun_without_accents_or_case(text: str, expected: list[str]) -> None:
    assert ids(text) == expected


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("relogo", "w-03"),
        ("relojio", "w-03"),
        ("reolgio", "w-03"),
        ("ocullos", "x-99"),
        ("tenid azul", "shoes:t1"),
    ],
)
def test_small_typing_errors_are_forgiven_when_nothing_else_is_found(text: str, first: str) -> None:
    assert first in ids(text)


def test_a_word_that_is_there_is_not_taken_for_a_typing_error() -> None:
    view = view_of([product("a", "bota"), product("b", "bola")], np.eye(2))
    assert ids("bota", view) == ["a"]
    assert ids("bopa", view) == ["a", "b"] or ids("bopa", view) == ["b", "a"]


def test_whole_words_of_names_come_before_categories_and_beginnings() -> None:
    view = view_of(
        [
            product("p1", "vermelho", "relógio"),
            product("p2", "relógio azul", "x"),
            product("p3", "relógios", "x"),
            product("p4", "nada", "relógios"),
            product("p5", "outro relógio", "x"),
            product("p6", "Relógio", "x"),
        ],
        np.eye(6),
    )
    assert ids("relogio", view) == ["p6", "p5", "p2", "p1", "p3", "p4"]


def test_the_product_of_that_name_or_id_comes_first() -> None:
    view = view_of([product("azul", "zzz"), product("b", "azul"), product("c", "azul claro")], np.eye(3))
    assert set(ids("azul", view)) == {"azul", "b", "c"}
    assert ids("azul", view) == ["b", "azul", "c"]
    assert view.state.ids([best_product(view, "b")]) == ["b"]


def test_nothing_asked_lists_all_by_name_then_id() -> None:
    found = ids("")
    assert sorted(found) == sorted(p.id for p in SHOP)
    names = {p.id: (fold(p.name), p.id) for p in SHOP}
    assert found == sorted(found, key=lambda product_id: names[product_id])


def test_facets_count_what_matches_in_every_category_and_pages_add_up() -> None:
    view = shop()
    everything = find_products(view, "", limit=100)
    assert everything.facets == {"acessórios": 4, "calçados": 2, "casa": 2, "tênis": 1, "時計": 1}
    assert everything.total == len(SHOP) == sum(everything.facets.values())
    pages = [find_products(view, "", limit=3, offset=at).rows.tolist() for at in range(0, 12, 3)]
    assert [row for page in pages for row in page] == everything.rows.tolist()
    chosen = find_products(view, "tenis", categories=["calçados"])
    assert (chosen.total, chosen.facets) == (2, {"acessórios": 1, "calçados": 2, "tênis": 1})
    assert find_products(view, "", categories=["nowhere"]).total == 0


def test_the_deleted_are_found_only_when_asked_for() -> None:
    view = shop(live=[row != 0 for row in range(len(SHOP))])
    assert "shoes:t1" not in ids("tenis", view)
    assert ids("tenis", view, deleted=True) == ["shoes:t1"]
    with pytest.raises(QueryError, match="no product matches"):
        best_product(shop(live=[False] * len(SHOP)), "tenis")


def test_uploads_are_found_among_the_others_in_order() -> None:
    everything = shop()
    parted = shop(base=4)
    for text in ("", "tenis", "relogio", "relogo", "w-0", "azul"):
        assert ids(text, parted) == ids(text, everything)


def test_a_text_with_no_word_or_too_long_is_refused() -> None:
    for text in ("", "   ", "!?"):
        with pytest.raises(QueryError) as caught:
            best_product(shop(), text)
        assert caught.value.field == "text"
    with pytest.raises(QueryError, match="at most 300 characters"):
        find_products(shop(), "a" * 301)


@pytest.mark.parametrize(
    ("word", "slips"), [("bag", 0), ("bota", 1), ("relogio", 1), ("camiseta", 2), ("123456", 0)]
)
def test_longer_words_may_hold_more_slips(word: str, slips: int) -> None:
    assert allowed_typos(word) == slips


def test_folding_removes_accents_and_case() -> None:
    assert fold("Tênis ÀÉÎÕÜ ç") == "tenis aeiou c"
    assert fold("STRASSE") == fold("Straße") == "strasse"
    assert words_of("T-shirt_azul (P) 2.0") == ["t", "shirt", "azul", "p", "2", "0"]


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once_and_composition_does_not_matter(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert words_of(unicodedata.normalize("NFC", text)) == words_of(unicodedata.normalize("NFD", text))


LETTERS = st.text("abcAÇãé", min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.lists(LETTERS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=12),
    asked=st.lists(LETTERS, min_size=1, max_size=2),
)
def test_found_are_exactly_those_with_a_word_that_each_asked_word_begins(
    names: list[str], asked: list[str]
) -> None:
    view = view_of([product(f"{i}", name, "0") for i, name in enumerate(names)], np.eye(len(names), 16))
    wanted = words_of(" ".join(asked))
    begun = [
        row
        for row, name in enumerate(names)
        if all(any(word.startswith(part) for word in words_of(name)) for part in wanted)
    ]
    found = find_products(view, " ".join(asked), limit=50).rows.tolist()
    reachable = all(any(w.startswith(part) for name in names for w in words_of(name)) for part in wanted)
    assert set(found) == set(begun) if reachable or not any(allowed_typos(part) for part in wanted) else True


def test_many_matches_are_paged_in_the_order_of_names() -> None:
    """More matches than are sorted at once."""
    names = [f"bolsa {number:05d}" for number in np.random.default_rng(0).permutation(70_000)]
    view = view_of([product(f"p{i}", name) for i, name in enumerate(names)], np.zeros((len(names), 1)))
    first = find_products(view, "bolsa", limit=7, offset=40_000)
    assert [names[row] for row in first.rows] == [f"bolsa {number:05d}" for number in range(40_000, 40_007)]
    assert first.total == 70_000
    assert find_products(view, "bolsa", limit=5, offset=70_000).rows.tolist() == []


def test_the_text_index_survives_its_file(tmp_path: Path) -> None:
    index = TextIndex.build(Table.from_products(SHOP))
    index.save(tmp_path / "text.npz")
    loaded = TextIndex.load(tmp_path / "text.npz")
    assert list(loaded.vocabulary) == list(index.vocabulary) == sorted(index.vocabulary)
    np.testing.assert_array_equal(loaded.name_ranks, index.name_ranks)
    for number in range(len(index.vocabulary)):
        for ours, theirs in zip(
            index.products_of(range(number, number + 1)),
            loaded.products_of(range(number, number + 1)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert loaded.spoken_words == index.spoken_words
    assert "07" not in index.spoken_words.values()


def test_a_text_index_of_no_products_and_a_broken_file(tmp_path: Path) -> None:
    empty = TextIndex.build(Table.from_products([]))
    assert len(empty) == len(empty.vocabulary) == 0
    assert empty.products_of(range(0))[0].tolist() == []
    (tmp_path / "text.npz").write_bytes(b"PK nothing")
    with pytest.raises(SnapshotCorrupt, match="text index"):
        TextIndex.load(tmp_path / "text.npz")
    with pytest.raises(SnapshotCorrupt):
        TextIndex.load(tmp_path / "absent.npz")


@given(st.lists(st.text(min_size=1, max_size=6), max_size=30), st.text(max_size=3))
def test_a_prefix_names_a_run_of_the_vocabulary(words: list[str], prefix: str) -> None:
    words = sorted({word for word in words if word.isprintable()})
    vocabulary = Vocabulary.of(words)
    assert [vocabulary[i] for i in vocabulary.with_prefix(prefix)] == [
        w for w in words if w.startswith(prefix)
    ]
