"""Text search: words, prefixes, typing errors, order, facets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_from_products
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.text_index import fold, tokenize
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
    return view_from_products(SHOP, np.eye(len(SHOP), 16), **options)  # type: ignore[arg-type]


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
def test_words_and_prefixes_match_without_accents_or_case(text: str, expected: list[str]) -> None:
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
def test_small_typing_errors_match_when_nothing_else_does(text: str, first: str) -> None:
    assert first in ids(text)


def test_an_existing_word_is_not_treated_as_a_typing_error() -> None:
    view = view_from_products([product("a", "bota"), product("b", "bola")], np.eye(2))
    assert ids("bota", view) == ["a"]
    assert ids("bopa", view) == ["a", "b"] or ids("bopa", view) == ["b", "a"]


def test_words_of_names_rank_before_categories_and_prefixes() -> None:
    view = view_from_products(
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
    view = view_from_products(
        [product("azul", "zzz"), product("b", "azul"), product("c", "azul claro")], np.eye(3)
    )
    assert set(ids("azul", view)) == {"azul", "b", "c"}
    assert ids("azul", view) == ["b", "azul", "c"]
    assert view.state.ids([best_product(view, "b")]) == ["b"]


def test_an_empty_text_lists_all_by_name_then_id() -> None:
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


def test_deleted_products_are_found_only_on_request() -> None:
    view = shop(live=[row != 0 for row in range(len(SHOP))])
    assert "shoes:t1" not in ids("tenis", view)
    assert ids("tenis", view, deleted=True) == ["shoes:t1"]
    with pytest.raises(QueryError, match="no product matches"):
        best_product(shop(live=[False] * len(SHOP)), "tenis")


def test_uploads_are_ordered_among_the_other_products() -> None:
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
    ("word", "typos"), [("bag", 0), ("bota", 1), ("relogio", 1), ("camiseta", 2), ("123456", 0)]
)
def test_longer_words_may_have_more_typos(word: str, typos: int) -> None:
    assert allowed_typos(word) == typos


LETTERS = st.text("abcAÇãé", min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    names=st.lists(st.lists(LETTERS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=12),
    requested=st.lists(LETTERS, min_size=1, max_size=2),
)
def test_matches_are_exactly_the_products_with_a_word_for_each_prefix(
    names: list[str], requested: list[str]
) -> None:
    view = view_from_products(
        [product(f"{i}", name, "0") for i, name in enumerate(names)], np.eye(len(names), 16)
    )
    wanted = tokenize(" ".join(requested))
    begun = [
        row
        for row, name in enumerate(names)
        if all(any(word.startswith(part) for word in tokenize(name)) for part in wanted)
    ]
    found = find_products(view, " ".join(requested), limit=50).rows.tolist()
    reachable = all(any(w.startswith(part) for name in names for w in tokenize(name)) for part in wanted)
    assert set(found) == set(begun) if reachable or not any(allowed_typos(part) for part in wanted) else True


def test_many_matches_are_paged_in_the_order_of_names() -> None:
    """More matches than are sorted at once."""
    names = [f"bolsa {number:05d}" for number in np.random.default_rng(0).permutation(70_000)]
    view = view_from_products(
        [product(f"p{i}", name) for i, name in enumerate(names)], np.zeros((len(names), 1))
    )
    first = find_products(view, "bolsa", limit=7, offset=40_000)
    assert [names[row] for row in first.rows] == [f"bolsa {number:05d}" for number in range(40_000, 40_007)]
    assert first.total == 70_000
    assert find_products(view, "bolsa", limit=5, offset=70_000).rows.tolist() == []


WORLD = [
    product("cn", "女装夏季连衣裙", "服装"),
    product("jp", "白いスニーカー", "靴"),
    product("kr", "여성가방세트", "가방"),
    product("th", "กระเป๋าหนัง", "กระเป๋า"),
    product("fa", "می\u200cخواهم", ""),
    product("phone", "iPhone15 Pro", "celular"),
    product("other", "iPhone 14", "celular"),
    product("ball", "Bola ⚽ azul", "esporte"),
    product("soft", "Cami\u00adseta", "roupa"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("连衣裙", ["cn"]),
        ("裙", ["cn"]),
        ("衣", ["cn"]),
        ("裙子", []),
        ("スニーカー", ["jp"]),
        ("가방", ["kr"]),
        ("กระเป๋า", ["th"]),
        ("หนัง", ["th"]),
        ("میخواهم", ["fa"]),
        ("iphone 15", ["phone"]),
        ("iphone15", ["phone"]),
        ("iphone14", ["other"]),
        ("iphone", ["other", "phone"]),
        ("⚽", ["ball"]),
        ("bola ⚽", ["ball"]),
        ("bola 🎾", ["ball"]),
        ("camiseta", ["soft"]),
        ("cami\u00adseta", ["soft"]),
    ],
)
def test_words_of_other_scripts_are_found(text: str, expected: list[str]) -> None:
    assert ids(text, view_from_products(WORLD, np.eye(len(WORLD), 16))) == expected
