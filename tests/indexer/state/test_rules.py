"""Tests of vitrine.indexer.state.rules: the format of rules.toml and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrine.indexer.errors import RulesError
from vitrine.indexer.state.rules import (
    MAX_RULES,
    NO_RULES,
    Ban,
    NeverTogether,
    Pin,
    Selector,
    parse_rules,
    read_rules,
)

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
        Pin("spring", Selector(ids=("b", "a")), Selector(categories=("shoes",)), rank=2, limit=10),
        Pin("house brand", brand, None, rank=1, limit=3),
    )
    adult = Selector(where={"adult": True})
    assert rules.bans == (Ban("not for children", adult, Selector(categories=("toys", "baby"))),)
    assert rules.never_together == (
        NeverTogether("rivals", Selector(groups=("g1",)), Selector(categories=("bags",))),
        NeverTogether("one sale at a time", cheap, cheap),
    )
    assert rules.names == ("spring", "house brand", "not for children", "rivals", "one sale at a time")


def test_the_digest_depends_on_the_file_and_a_missing_file_means_no_rules(tmp_path: Path) -> None:
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
    ("text", "message"),
    [
        ("[[pin]", "is not TOML"),
        ("[[boost]]\nname = 'x'", "the file: unknown key 'boost'; known keys are pin, ban, never_together"),
        ("[pin]\nname = 'x'", "pin: start each rule with [[pin]]"),
        ("[[pin]]\nshow = {id = 'a'}", "pin number 1: name must be a text of 1 to 200"),
        ("[[pin]]\nname = ' '\nshow = {id = 'a'}", "pin number 1: name must be a text of 1 to 200"),
        ("[[pin]]\nname = 'x'", "rule 'x': show must select products by at least one of id, group"),
        ("[[ban]]\nname = 'x'\nhide = {}", "rule 'x': hide must select products"),
        ("[[ban]]\nname = 'x'\nhide = 'a'", "rule 'x': hide must select products"),
        (
            "[[ban]]\nname = 'x'\nshow = {id = 'a'}",
            "rule 'x': unknown key 'show'; known keys are name",
        ),
        (
            "[[ban]]\nname = 'x'\nhide = {ids = 'a'}",
            "rule 'x': hide: unknown key 'ids'; known keys are id",
        ),
        (
            "[[ban]]\nname = 'x'\nhide = {id = []}",
            "rule 'x': hide.id must be a text or a list of texts",
        ),
        (
            "[[ban]]\nname = 'x'\nhide = {id = 3}",
            "rule 'x': hide.id must be a text or a list of texts",
        ),
        ("[[ban]]\nname = 'x'\nhide = {where = {}}", "rule 'x': hide.where must have conditions"),
        ("[[ban]]\nname = 'x'\nhide = {id = 'a'}\nwhen = {}", "rule 'x': when must select products"),
        (
            "[[pin]]\nname = 'x'\nshow = {id = 'a'}\nplace = 0",
            "rule 'x': place must be a whole number",
        ),
        (
            "[[pin]]\nname = 'x'\nshow = {id = 'a'}\nplace = true",
            "rule 'x': place must be a whole number",
        ),
        (
            "[[pin]]\nname = 'x'\nshow = {id = 'a'}\nlimit = 101",
            "rule 'x': limit must be a whole number",
        ),
        ("[[never_together]]\nname = 'x'\nother = {id = 'a'}", "rule 'x': one must select products"),
        (
            "[[pin]]\nname = 'x'\nshow = {id = 'a'}\n[[ban]]\nname = 'x'\nhide = {id = 'a'}",
            "rule 'x': another rule has the same name",
        ),
        (
            "".join(f"[[ban]]\nname = '{n}'\nhide = {{id = 'a'}}\n" for n in range(MAX_RULES + 1)),
            "the file has 201 rules; at most 200 are allowed",
        ),
    ],
)
def test_an_invalid_rule_is_an_error_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RulesError) as caught:
        read_rules(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("data", [b"\xff\xfe[", b"#" * (2**20 + 1)])
def test_a_binary_or_too_large_file_is_an_error(data: bytes) -> None:
    with pytest.raises(RulesError):
        parse_rules(data)
