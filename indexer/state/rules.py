"""The rules of the shop: what rules.toml in the index folder says, read and checked. Knows no products.

Three kinds: a pin puts products at a place, a ban leaves them out, never-together keeps two kinds apart.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrine.indexer.errors import RulesError

MAX_BYTES = 2**20
# Each rule keeps a mask or two over all products.
MAX_RULES = 200
MAX_NAME = 200
MAX_PLACE = 1000
MAX_PINNED = 100
PINNED = 10
_KINDS = {
    "pin": ("name", "when", "show", "place", "limit"),
    "ban": ("name", "when", "hide"),
    "never_together": ("name", "one", "other"),
}
_SELECTS = ("id", "group", "category", "where")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selector:
    """Which products: of one of the ids, groups and categories (empty: of any), and all conditions hold."""

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pin:
    """The `limit` products of `show` that are most alike stand from `place` on, counted from 1.

    when: the product that is looked at; None, whatever is.
    """

    name: str
    show: Selector
    when: Selector | None = None
    place: int = 1
    limit: int = PINNED


@dataclass(frozen=True, slots=True)
class Ban:
    """Products of `hide` are not recommended. when: as in Pin."""

    name: str
    hide: Selector
    when: Selector | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """A product of `one` and a product of `other` never stand together, the one looked at included."""

    name: str
    one: Selector
    other: Selector


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, each kind in the order of the file. digest: of the file, "" where there is none."""

    pins: tuple[Pin, ...] = ()
    bans: tuple[Ban, ...] = ()
    apart: tuple[Apart, ...] = ()
    digest: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all rules."""
        rules: tuple[Pin | Ban | Apart, ...] = (*self.pins, *self.bans, *self.apart)
        return tuple(rule.name for rule in rules)


NO_RULES = Rules()


def read_rules(path: Path) -> Rules:
    """Read rules.toml; where there is no such file there are no rules.

    Raises RulesError naming the file and the rule.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return NO_RULES
    except OSError as error:
        raise RulesError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return parse_rules(data)
    except RulesError as error:
        raise RulesError(f"{path}: {error}") from None


def parse_rules(data: bytes) -> Rules:
    """Return the rules that a file's bytes say. Raises RulesError naming the rule."""
    if len(data) > MAX_BYTES:
        raise RulesError(f"has {len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        said = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RulesError(f"is not TOML: {error}") from None
    _check_keys(said, tuple(_KINDS), "the file", "it holds [[{}]]")
    pins, bans, apart = (list(_tables(said, kind)) for kind in _KINDS)
    names = [name for name, _ in (*pins, *bans, *apart)]
    if len(names) > MAX_RULES:
        raise RulesError(f"has {len(names)} rules, at most {MAX_RULES} are obeyed")
    for name in names:
        if names.count(name) > 1:
            raise RulesError(f"rule {name!r}: another rule has this name")
    return Rules(
        pins=tuple(_pin(name, table) for name, table in pins),
        bans=tuple(
            Ban(name, _selector(name, table, "hide"), _optional(name, table, "when")) for name, table in bans
        ),
        apart=tuple(_apart(name, table) for name, table in apart),
        digest=hashlib.sha256(data).hexdigest()[:12],
    )


def _tables(said: Json, kind: str) -> Iterator[tuple[str, Json]]:
    """Yield the tables of a kind with their names."""
    tables = said.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RulesError(f"{kind}: begin each rule with [[{kind}]]")
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name.strip()) <= MAX_NAME:
            raise RulesError(f"{kind} number {number}: give it a name of 1 to {MAX_NAME} characters")
        _check_keys(table, _KINDS[kind], f"rule {name!r}", f"a {kind} has {{}}")
        yield name, table


def _pin(name: str, table: Json) -> Pin:
    show, when = _selector(name, table, "show"), _optional(name, table, "when")
    place = _number(name, table, "place", 1, MAX_PLACE)
    return Pin(name, show, when, place, _number(name, table, "limit", PINNED, MAX_PINNED))


def _apart(name: str, table: Json) -> Apart:
    one = _selector(name, table, "one")
    return Apart(name, one, _optional(name, table, "other") or one)


def _number(name: str, table: Json, key: str, default: int, most: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise RulesError(f"rule {name!r}: {key} is a whole number from 1 to {most}, not {value!r}")
    return value


def _optional(name: str, table: Json, key: str) -> Selector | None:
    return _selector(name, table, key) if key in table else None


def _selector(name: str, table: Json, key: str) -> Selector:
    """Read one choice of products, such as {category = "shoes", where = {price = {lt = 50}}}."""
    said, here = table.get(key), f"rule {name!r}: {key}"
    if not isinstance(said, dict) or not said:
        raise RulesError(f"{here} says which products: give at least one of {', '.join(_SELECTS)}")
    _check_keys(said, _SELECTS, here, "choose by {}")
    ids, groups, categories = (_texts(said, each, here) for each in _SELECTS[:3])
    where = said.get("where", {})
    if not isinstance(where, dict) or ("where" in said and not where):
        raise RulesError(f"{here}.where holds conditions on attributes, such as {{brand = 'acme'}}")
    return Selector(ids, groups, categories, {each: _comparable(value) for each, value in where.items()})


def _texts(said: Json, key: str, here: str) -> tuple[str, ...]:
    if key not in said:
        return ()
    values = [said[key]] if isinstance(said[key], str) else said[key]
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
        raise RulesError(f"{here}.{key} is a text or a list of texts, not {said[key]!r}")
    return tuple(values)


def _comparable(value: Any) -> Any:
    """Return a value as the conditions of a query have it: times as ISO 8601 text."""
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: _comparable(each) for key, each in value.items()}
    return value


def _check_keys(table: Json, known: tuple[str, ...], here: str, told: str) -> None:
    for key in table:
        if key not in known:
            raise RulesError(f"{here}: {key!r} is unknown; {told.format(', '.join(known))}")
