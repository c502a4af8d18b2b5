"""The rules of the shop on the rows of one state of a catalogue. Knows nothing of files or of searches.

Shape letters: n rows, m asked rows, R things that rules ask of the product that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import QueryError, RulesError
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.where import matching_rows, rows_of_categories
from vitrine.indexer.state.rules import Pin, Rules, Selector
from vitrine.indexer.vectors.ranking import NO_EFFECTS, Hits, RuleEffects


@dataclass(frozen=True, slots=True)
class Rowed:
    """Rows as a selector looks at them: tables with the row each begins at; category names, (n,) codes."""

    tables: Sequence[tuple[int, Table]]
    categories: Sequence[str]
    category_codes: Codes

    def mask(self, wanted: Selector) -> Mask:
        """Return (n,) bool: the rows, live or not, that are chosen. Raises QueryError for a condition."""
        found = np.ones(len(self.category_codes), bool)
        if wanted.ids:
            found &= np.concatenate([_of_ids(table, wanted.ids) for _, table in self.tables])
        if wanted.groups:
            found &= np.concatenate([_of_groups(table, wanted.groups) for _, table in self.tables])
        if wanted.categories:
            found &= rows_of_categories(wanted.categories, self.categories, self.category_codes)
        if wanted.where:
            found &= matching_rows(self.tables, wanted.where)
        return found


@dataclass(frozen=True, slots=True)
class Placed:
    """A pin, (n,) the rows it may show, and (n,) the rows it is for when looked at (None: whatever is)."""

    pin: Pin
    rows: Mask
    when: Mask | None


@dataclass(frozen=True, slots=True)
class Rulings:
    """Rules resolved to masks over rows.

    bans: (rows left out, rows they are for). apart: pairs of rows that never stand together. idle: the names
    of the rules that no product is chosen by.
    """

    pins: tuple[Placed, ...] = ()
    bans: tuple[tuple[Mask, Mask | None], ...] = ()
    apart: tuple[tuple[Mask, Mask], ...] = ()
    idle: tuple[str, ...] = ()

    @classmethod
    def of(cls, rules: Rules, here: Rowed) -> Rulings:
        """Resolve rules. Raises RulesError for an attribute that no product has, or of another type."""
        pins, bans, apart, idle = [], [], [], []
        for pin in rules.pins:
            rows, when = _masks(here, pin.name, pin.show, pin.when)
            pins.append(Placed(pin, rows, when))
            idle += [] if rows.any() else [pin.name]
        for ban in rules.bans:
            rows, when = _masks(here, ban.name, ban.hide, ban.when)
            bans.append((rows, when))
            idle += [] if rows.any() else [ban.name]
        for rule in rules.apart:
            one, other = _mask(here, rule.name, rule.one), _mask(here, rule.name, rule.other)
            apart.append((one, other))
            idle += [] if one.any() and other.any() else [rule.name]
        return cls(tuple(pins), tuple(bans), tuple(apart), tuple(idle))

    def banned(self, liked: Sequence[int]) -> Mask | None:
        """Return (n,) the rows that are left out while the rows `liked` are looked at; None: no rule says.

        What never stands together with a liked product is among them.
        """
        found = [rows for rows, when in self.bans if _is_for(when, liked)]
        for one, other in self.apart:
            found += [other] if _is_for(one, liked) else []
            found += [one] if _is_for(other, liked) else []
        if not found:
            return None
        banned: Mask = np.logical_or.reduce(found)
        return banned

    def pins_for(self, liked: Sequence[int]) -> Iterator[tuple[Pin, Mask, int]]:
        """Yield the pins in force while `liked` are looked at, (n,) rows each may show, how many to find.

        What earlier pins may take from a later one is found for it besides.
        """
        taken = 0
        for placed in self.pins:
            if _is_for(placed.when, liked):
                taken += placed.pin.limit
                yield placed.pin, placed.rows, taken

    def ruled(self, found: Sequence[tuple[Pin, Hits]]) -> RuleEffects:
        """Return what rules say of one list. found: the best hits of each pin in force, as `pins_for` asks.

        A product of two pins is the first one's.
        """
        if not found:
            return RuleEffects(never_together=self.apart) if self.apart else NO_EFFECTS
        rows: list[int] = []
        scores, places, names = [], [], []
        for pin, hits in found:
            free = [at for at, row in enumerate(hits.rows.tolist()) if row not in rows][: pin.limit]
            rows += hits.rows[free].tolist()
            scores += hits.scores[free].tolist()
            places += [pin.place] * len(free)
            names += [pin.name] * len(free)
        pins = Hits(np.array(rows, np.int64), np.array(scores, np.float32), np.array(names, object))
        return RuleEffects(pins, dict(zip(rows, places, strict=True)), self.apart)

    def alike(self, rows: Rows) -> list[Rows]:
        """Part (m,) rows into those of which, looked at, the same rules hold."""
        asked = [placed.when for placed in self.pins] + [when for _, when in self.bans]
        masks = [mask for mask in asked if mask is not None] + [mask for pair in self.apart for mask in pair]
        if not masks or not len(rows):
            return [rows]
        answers = np.stack([mask[rows] for mask in masks], axis=1)
        kinds: Any = np.unique(answers, axis=0, return_inverse=True)[1].reshape(-1)
        return [rows[kinds == kind] for kind in range(int(kinds.max()) + 1)]


NO_RULINGS = Rulings()


def _masks(here: Rowed, name: str, wanted: Selector, when: Selector | None) -> tuple[Mask, Mask | None]:
    return _mask(here, name, wanted), None if when is None else _mask(here, name, when)


def _mask(here: Rowed, name: str, wanted: Selector) -> Mask:
    try:
        return here.mask(wanted)
    except QueryError as error:
        raise RulesError(f"rules.toml: rule {name!r}: {error}") from None


def _is_for(when: Mask | None, liked: Sequence[int]) -> bool:
    return when is None or bool(when[list(liked)].any())


def _of_ids(table: Table, ids: Sequence[str]) -> Mask:
    found = np.zeros(len(table), bool)
    rows = [table.row_of(product_id) for product_id in ids]
    found[[row for row in rows if row is not None]] = True
    return found


def _of_groups(table: Table, groups: Sequence[str]) -> Mask:
    chosen = set(groups)
    found: Mask = np.array([*(name in chosen for name in table.groups), False], bool)[table.group_codes]
    return found
