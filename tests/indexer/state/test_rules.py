"""The rules of the shop: what the file may say, what is wrong with it, what rules do to rows and hits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.queries_view import product
from vitrine.indexer.arrays import Mask
from vitrine.indexer.errors import RulesError
from vitrine.indexer.products.table import Table
from vitrine.indexer.state.compiled_rules import Rowed, Rulings
from vitrine.indexer.state.rules import (
    MAX_RULES,
    NO_RULES,
    Apart,
    Ban,
    Pin,
    Rules,
    Selector,
    parse_rules,
    read_rules,
)
from vitrine.indexer.vectors.ranking import Hits

EXAMPLE = b"""
[[pin]]
name = "spring"
when = {category = "shoes"}
show = {id = ["b", "a"]}
place = 2

[[pin]]
name = "house brand"
show = {where = {brand = "acme", since = {gte = 2026-03-01}}}
limit = 3

[[ban]]
name = "not for children"
when = {category = ["toys", "baby"]}
hide = {where = {adult = true}}

[[never_together]]
name = "rivals"
one = {group = "g1"}
other = {category = "bags"}

[[never_together]]
name = "one sale at a time"
one = {where = {price = {lt = 10}}}
"""


def test_every_kind_of_rule_is_read() -> None:
    rules = parse_rules(EXAMPLE)
    brand = Selector(where={"brand": "acme", "since": {"gte": "2026-03-01"}})
    cheap = Selector(where={"price": {"lt": 10}})
    assert rules.pins == (
        Pin("spring", Selector(ids=("b", "a")), Selector(categories=("shoes",)), place=2, limit=10),
        Pin("house brand", brand, None, place=1, limit=3),
    )
    adult = Selector(where={"adult": True})
    assert rules.bans == (Ban("not for children", adult, Selector(categories=("toys", "baby"))),)
    assert rules.apart == (
        Apart("rivals", Selector(groups=("g1",)), Selector(categories=("bags",))),
        Apart("one sale at a time", cheap, cheap),
    )
    assert rules.names == ("spring", "house brand", "not for children", "rivals", "one sale at a time")


def test_the_digest_changes_with_the_file_and_an_absent_file_is_no_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    assert read_rules(path) == NO_RULES
    path.write_bytes(EXAMPLE)
    before = read_rules(path)
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE)
    assert before.digest
    assert before.digest != read_rules(path).digest
    assert before.pins == read_rules(path).pins
    path.unlink()
    path.mkdir()
    with pytest.raises(RulesError, match=r"rules\.toml cannot be read"):
        read_rules(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[pin]", "is not TOML"),
        ("[[boost]]\nname = 'x'", "the file: 'boost' is unknown; it holds [[pin, ban, never_together]]"),
        ("[pin]\nname = 'x'", "pin: begin each rule with [[pin]]"),
        ("[[pin]]\nshow = {id = 'a'}", "pin number 1: give it a name"),
        ("[[pin]]\nname = ' '\nshow = {id = 'a'}", "pin number 1: give it a name"),
        ("[[pin]]\nname = 'x'", "rule 'x': show says which products"),
        ("[[ban]]\nname = 'x'\nhide = {}", "rule 'x': hide says which products"),
        ("[[ban]]\nname = 'x'\nhide = 'a'", "rule 'x': hide says which products"),
        ("[[ban]]\nname = 'x'\nshow = {id = 'a'}", "rule 'x': 'show' is unknown; a ban has name, when, hide"),
        ("[[ban]]\nname = 'x'\nhide = {ids = 'a'}", "rule 'x': hide: 'ids' is unknown; choose by id, group"),
        ("[[ban]]\nname = 'x'\nhide = {id = []}", "rule 'x': hide.id is a text or a list of texts, not []"),
        ("[[ban]]\nname = 'x'\nhide = {id = 3}", "rule 'x': hide.id is a text or a list of texts, not 3"),
        ("[[ban]]\nname = 'x'\nhide = {where = {}}", "rule 'x': hide.where holds conditions"),
        ("[[ban]]\nname = 'x'\nhide = {id = 'a'}\nwhen = {}", "rule 'x': when says which products"),
        ("[[pin]]\nname = 'x'\nshow = {id = 'a'}\nplace = 0", "rule 'x': place is a whole number from 1"),
        ("[[pin]]\nname = 'x'\nshow = {id = 'a'}\nplace = true", "rule 'x': place is a whole number from 1"),
        ("[[pin]]\nname = 'x'\nshow = {id = 'a'}\nlimit = 101", "rule 'x': limit is a whole number from 1"),
        ("[[never_together]]\nname = 'x'\nother = {id = 'a'}", "rule 'x': one says which products"),
        (
            "[[pin]]\nname = 'x'\nshow = {id = 'a'}\n[[ban]]\nname = 'x'\nhide = {id = 'a'}",
            "rule 'x': another rule has this name",
        ),
        (
            "".join(f"[[ban]]\nname = '{n}'\nhide = {{id = 'a'}}\n" for n in range(MAX_RULES + 1)),
            "has 201 rules, at most 200 are obeyed",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_rule(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RulesError) as caught:
        read_rules(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("data", [b"\xff\xfe[", b"#" * (2**20 + 1)])
def test_bytes_that_are_no_text_and_files_too_large_are_refused(data: bytes) -> None:
    with pytest.raises(RulesError):
        parse_rules(data)


# On rows

FIRST = [
    product("a", category="shoes", group="g1", brand="acme", price=5.0),
    product("b", category="bags", group="g2", brand="zeta", price=50.0),
    product("c", category="shoes", brand="acme", price=60.0),
]
LATER = [product("d", category="toys", group="g1", brand="zeta", price=1.0)]


def rowed() -> Rowed:
    categories = ("bags", "shoes", "toys")
    codes = np.array([categories.index(each.category) for each in (*FIRST, *LATER)], np.int32)
    tables = ((0, Table.from_products(FIRST)), (3, Table.from_products(LATER)))
    return Rowed(tables, categories, codes)


def rows_of(mask: Mask | None) -> list[int]:
    return [] if mask is None else np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (Selector(ids=("c", "d", "unknown")), [2, 3]),
        (Selector(groups=("g1",)), [0, 3]),
        (Selector(categories=("shoes", "toys")), [0, 2, 3]),
        (Selector(where={"brand": "acme", "price": {"lt": 50}}), [0]),
        (Selector(categories=("shoes",), where={"price": {"gt": 50}}), [2]),
        (Selector(ids=("a",), groups=("g2",)), []),
        (Selector(categories=("nothing",)), []),
    ],
)
def test_products_are_chosen_by_id_group_category_and_attribute_together(
    wanted: Selector, rows: list[int]
) -> None:
    assert rows_of(rowed().mask(wanted)) == rows


def test_a_condition_that_the_catalogue_cannot_answer_names_its_rule() -> None:
    for where, says in (({"colour": 1}, "no product has an attribute 'colour'"), ({"price": "x"}, "number")):
        bans = (Ban("no colours", Selector(where=where)),)
        with pytest.raises(RulesError, match="rule 'no colours'") as caught:
            Rulings.of(Rules(bans=bans), rowed())
        assert says in str(caught.value)


def test_bans_hold_for_whom_they_are_meant_and_apart_holds_both_ways() -> None:
    rules = Rules(
        bans=(
            Ban("all", Selector(ids=("d",))),
            Ban("by shoes", Selector(ids=("b",)), Selector(categories=("shoes",))),
        ),
        apart=(Apart("rivals", Selector(ids=("c",)), Selector(groups=("g1",))),),
    )
    rulings = Rulings.of(rules, rowed())
    assert rows_of(rulings.banned([])) == [3]
    assert rows_of(rulings.banned([1])) == [3]
    assert rows_of(rulings.banned([0])) == [1, 2, 3]
    assert rows_of(rulings.banned([2])) == [0, 1, 3]
    assert Rulings.of(NO_RULES, rowed()).banned([0]) is None


def test_rules_that_choose_no_product_are_idle() -> None:
    rules = Rules(
        pins=(Pin("p", Selector(ids=("gone",))), Pin("q", Selector(ids=("a",)))),
        bans=(Ban("b", Selector(categories=("gone",))),),
        apart=(Apart("n", Selector(ids=("a",)), Selector(ids=("gone",))),),
    )
    assert Rulings.of(rules, rowed()).idle == ("p", "b", "n")


def test_rows_are_parted_by_the_rules_that_hold_for_them() -> None:
    everywhere = Rules(bans=(Ban("all", Selector(ids=("d",))),))
    rows = np.array([3, 1, 0, 2])
    assert [part.tolist() for part in Rulings.of(everywhere, rowed()).alike(rows)] == [[3, 1, 0, 2]]
    of_shoes = Rules(pins=(Pin("p", Selector(ids=("a",)), Selector(categories=("shoes",))),))
    parts = [part.tolist() for part in Rulings.of(of_shoes, rowed()).alike(rows)]
    assert sorted(parts) == [[0, 2], [3, 1]]


# On hits


def hits_of(rows: list[int], rules: list[str] | None = None) -> Hits:
    scores = np.linspace(1, 0, len(rows)).astype(np.float32)
    return Hits(np.array(rows, np.int64), scores, None if rules is None else np.array(rules, object))


def test_the_hits_of_several_pins_are_gathered_each_product_once() -> None:
    rulings = Rulings.of(
        Rules(pins=(Pin("p", Selector(ids=("a",)), limit=1), Pin("q", Selector(ids=("a", "b")), None, 3, 2))),
        rowed(),
    )
    assert [k for _, _, k in rulings.pins_for([])] == [1, 3]
    first, second = (pin for pin, _, _ in rulings.pins_for([]))
    ruled = rulings.ruled([(first, hits_of([0, 1])), (second, hits_of([0, 2, 1, 3]))])
    assert ruled.pins.rows.tolist() == [0, 2, 1]
    assert ruled.pins.rules is not None
    assert ruled.pins.rules.tolist() == ["p", "q", "q"]
    assert ruled.pin_ranks == {0: 1, 2: 3, 1: 3}
