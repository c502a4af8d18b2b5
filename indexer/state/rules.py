"""Shop rules: the file rules.toml of an index folder, parsed and validated without a catalogue.

There are three kinds: a pin shows products at a given rank, a ban leaves products out, and never-together
keeps products of two groups apart.
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

MAX_RULES_BYTES = 2**20
# A compiled rule takes a mask or two over all rows.
MAX_RULES = 200
MAX_NAME_LENGTH = 200
MAX_RANK = 1000
MAX_PIN_LIMIT = 100
DEFAULT_PIN_LIMIT = 10
# The keys of each kind of rule.
_RULE_KEYS = {
    "pin": ("name", "when", "show", "place", "limit"),
    "ban": ("name", "when", "hide"),
    "never_together": ("name", "one", "other"),
}
_SELECTOR_KEYS = ("id", "group", "category", "where")
TomlTable = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selector:
    """A selection of products: those that have one of the ids, groups and categories, and meet `where`.

    ids, groups, categories: empty for any. where: conditions on attributes, all of which must hold.
    """

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pin:
    """A rule that shows the `limit` most similar products of `show` from a rank on, counted from 1.

    when: the reference products the rule is for; None for every query.
    """

    name: str
    show: Selector
    when: Selector | None = None
    rank: int = 1
    limit: int = DEFAULT_PIN_LIMIT


@dataclass(frozen=True, slots=True)
class Ban:
    """A rule that never recommends the products of `hide`. when: as in Pin."""

    name: str
    hide: Selector
    when: Selector | None = None


@dataclass(frozen=True, slots=True)
class NeverTogether:
    """A rule that never shows a product of `one` beside a product of `other`, the reference included."""

    name: str
    one: Selector
    other: Selector


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, each kind in the order of the file. digest: of the file, "" for no file."""

    pins: tuple[Pin, ...] = ()
    bans: tuple[Ban, ...] = ()
    never_together: tuple[NeverTogether, ...] = ()
    digest: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all rules."""
        rules: tuple[Pin | Ban | NeverTogether, ...] = (*self.pins, *self.bans, *self.never_together)
        return tuple(rule.name for rule in rules)


NO_RULES = Rules()


def read_rules(path: Path) -> Rules:
    """Read rules.toml; a missing file means no rules. Raises RulesError with the file and the rule."""
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
    """Parse and validate the content of rules.toml. Raises RulesError with the name of the rule."""
    if len(data) > MAX_RULES_BYTES:
        raise RulesError(f"the file has {len(data)} bytes; at most {MAX_RULES_BYTES} are allowed")
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RulesError(f"is not TOML: {error}") from None
    _check_keys(document, tuple(_RULE_KEYS), "the file")
    pins, bans, pairs = (list(_named_tables(document, kind)) for kind in _RULE_KEYS)
    names = [name for name, _ in (*pins, *bans, *pairs)]
    if len(names) > MAX_RULES:
        raise RulesError(f"the file has {len(names)} rules; at most {MAX_RULES} are allowed")
    for name in names:
        if names.count(name) > 1:
            raise RulesError(f"rule {name!r}: another rule has the same name")
    return Rules(
        pins=tuple(_parse_pin(name, table) for name, table in pins),
        bans=tuple(_parse_ban(name, table) for name, table in bans),
        never_together=tuple(_parse_never_together(name, table) for name, table in pairs),
        digest=hashlib.sha256(data).hexdigest()[:12],
    )


def _named_tables(document: TomlTable, kind: str) -> Iterator[tuple[str, TomlTable]]:
    """Yield the tables of one kind of rule, each with its name. Raises RulesError."""
    tables = document.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RulesError(f"{kind}: start each rule with [[{kind}]]")
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        is_text = isinstance(name, str) and name.isprintable()
        if not is_text or not 1 <= len(name.strip()) <= MAX_NAME_LENGTH:
            raise RulesError(
                f"{kind} number {number}: name must be a text of 1 to {MAX_NAME_LENGTH} characters"
            )
        _check_keys(table, _RULE_KEYS[kind], f"rule {name!r}")
        yield name, table


def _parse_pin(name: str, table: TomlTable) -> Pin:
    show, when = _parse_selector(name, table, "show"), _parse_optional_selector(name, table, "when")
    rank = _parse_number(name, table, "place", 1, MAX_RANK)
    return Pin(name, show, when, rank, _parse_number(name, table, "limit", DEFAULT_PIN_LIMIT, MAX_PIN_LIMIT))


def _parse_ban(name: str, table: TomlTable) -> Ban:
    return Ban(name, _parse_selector(name, table, "hide"), _parse_optional_selector(name, table, "when"))


def _parse_never_together(name: str, table: TomlTable) -> NeverTogether:
    one = _parse_selector(name, table, "one")
    return NeverTogether(name, one, _parse_optional_selector(name, table, "other") or one)


def _parse_number(name: str, table: TomlTable, key: str, default: int, maximum: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
        raise RulesError(f"rule {name!r}: {key} must be a whole number from 1 to {maximum}, not {value!r}")
    return value


def _parse_optional_selector(name: str, table: TomlTable, key: str) -> Selector | None:
    return _parse_selector(name, table, key) if key in table else None


def _parse_selector(name: str, table: TomlTable, key: str) -> Selector:
    """Parse a selector such as {category = "shoes", where = {price = {lt = 50}}}. Raises RulesError."""
    fields, label = table.get(key), f"rule {name!r}: {key}"
    if not isinstance(fields, dict) or not fields:
        raise RulesError(f"{label} must select products by at least one of {', '.join(_SELECTOR_KEYS)}")
    _check_keys(fields, _SELECTOR_KEYS, label)
    ids, groups, categories = (_parse_texts(fields, field_key, label) for field_key in _SELECTOR_KEYS[:3])
    where = fields.get("where", {})
    if not isinstance(where, dict) or ("where" in fields and not where):
        raise RulesError(f"{label}.where must have conditions on attributes, such as {{brand = 'acme'}}")
    return Selector(ids, groups, categories, {key: _times_as_text(value) for key, value in where.items()})


def _parse_texts(fields: TomlTable, key: str, label: str) -> tuple[str, ...]:
    """Return a text or a list of texts as a tuple; empty for a missing key. Raises RulesError."""
    if key not in fields:
        return ()
    values = [fields[key]] if isinstance(fields[key], str) else fields[key]
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
        raise RulesError(f"{label}.{key} must be a text or a list of texts, not {fields[key]!r}")
    return tuple(values)


def _times_as_text(value: Any) -> Any:
    """Return a condition with its dates and times as ISO 8601 text, as in the conditions of a query."""
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return [_times_as_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _times_as_text(item) for key, item in value.items()}
    return value


def _check_keys(table: TomlTable, known: tuple[str, ...], label: str) -> None:
    for key in table:
        if key not in known:
            raise RulesError(f"{label}: unknown key {key!r}; known keys are {', '.join(known)}")
