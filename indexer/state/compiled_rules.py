"""Compiled rules: the shop rules resolved to masks over the rows of one catalogue state.

Shape letters: n rows, m rows of a subset, R rules with a condition on the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import QueryError, RulesError
from vitrine.indexer.products.conditions import category_mask, condition_mask
from vitrine.indexer.products.table import Table
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.state.rules import Pin, Rules, Selector
from vitrine.indexer.vectors.ranking import NO_EFFECTS, Hits, RuleEffects


@dataclass(frozen=True, slots=True)
class RowSelector:
    """The columns that selectors refer to.

    tables: each with its first row. categories: names. category_codes: (n,) indices into `categories`.
    """

    tables: Sequence[tuple[int, Table]]
    categories: Sequence[str]
    category_codes: Codes

    @classmethod
    def from_state(cls, state: CatalogueState) -> RowSelector:
        """Return the row selector of a catalogue state."""
        return cls(state.segments.tables, state.categories, state.category_codes)

    def mask(self, selector: Selector) -> Mask:
        """Return (n,) True for the selected rows, deleted ones included.

        Raises QueryError for a condition that does not fit the attributes.
        """
        mask = np.ones(len(self.category_codes), bool)
        if selector.ids:
            mask &= np.concatenate([_has_id(table, selector.ids) for _, table in self.tables])
        if selector.groups:
            mask &= np.concatenate([_has_group(table, selector.groups) for _, table in self.tables])
        if selector.categories:
            mask &= category_mask(selector.categories, self.categories, self.category_codes)
        if selector.where:
            mask &= condition_mask(self.tables, selector.where)
        return mask

    def rule_mask(self, rule_name: str, selector: Selector) -> Mask:
        """Return the mask of a rule's selector. Raises RulesError with the name of the rule."""
        try:
            return self.mask(selector)
        except QueryError as error:
            raise RulesError(f"rules.toml: rule {rule_name!r}: {error}") from None

    def optional_rule_mask(self, rule_name: str, selector: Selector | None) -> Mask | None:
        """Return the mask of a rule's selector, None without one. Raises RulesError."""
        return None if selector is None else self.rule_mask(rule_name, selector)


@dataclass(frozen=True, slots=True)
class CompiledPin:
    """A pin resolved to rows.

    rows: (n,) the rows to show. when: (n,) the reference rows that the pin is for; None for every query.
    """

    pin: Pin
    rows: Mask
    when: Mask | None


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """Rules resolved to masks over n rows.

    bans: pairs (rows to leave out, reference rows the ban is for; None for every query). never_together:
    pairs of rows that are not shown together. idle: the names of rules that select no product.
    """

    pins: tuple[CompiledPin, ...] = ()
    bans: tuple[tuple[Mask, Mask | None], ...] = ()
    never_together: tuple[tuple[Mask, Mask], ...] = ()
    idle: tuple[str, ...] = ()

    def banned_rows(self, reference_rows: Sequence[int]) -> Mask | None:
        """Return (n,) True for the rows to leave out for a reference, or None if no rule applies.

        These are the banned rows and those that are never shown together with a product of the reference.
        """
        masks = [rows for rows, when in self.bans if _applies(when, reference_rows)]
        for one, other in self.never_together:
            masks += [other] if _applies(one, reference_rows) else []
            masks += [one] if _applies(other, reference_rows) else []
        if not masks:
            return None
        banned: Mask = np.logical_or.reduce(masks)
        return banned

    def pins_for(self, reference_rows: Sequence[int]) -> Iterator[tuple[Pin, Mask, int]]:
        """Yield the pins that apply to a reference as (pin, (n,) rows to show, number of hits to search).

        The number includes the hits that earlier pins may take from this one.
        """
        hits_needed = 0
        for compiled in self.pins:
            if _applies(compiled.when, reference_rows):
                hits_needed += compiled.pin.limit
                yield compiled.pin, compiled.rows, hits_needed

    def effects(self, pin_hits: Sequence[tuple[Pin, Hits]]) -> RuleEffects:
        """Return the effects of the rules on one list of hits.

        pin_hits: each pin of `pins_for` with its best hits. A hit of two pins belongs to the first.
        """
        if not pin_hits:
            return RuleEffects(never_together=self.never_together) if self.never_together else NO_EFFECTS
        rows: list[int] = []
        scores, ranks, names = [], [], []
        for pin, hits in pin_hits:
            free = [index for index, row in enumerate(hits.rows.tolist()) if row not in rows][: pin.limit]
            rows += hits.rows[free].tolist()
            scores += hits.scores[free].tolist()
            ranks += [pin.rank] * len(free)
            names += [pin.name] * len(free)
        pins = Hits(np.array(rows, np.int64), np.array(scores, np.float32), np.array(names, object))
        return RuleEffects(pins, dict(zip(rows, ranks, strict=True)), self.never_together)

    def group_references(self, rows: Rows) -> list[Rows]:
        """Split (m,) reference rows into groups to whose members the same rules apply."""
        conditions = [compiled.when for compiled in self.pins] + [when for _, when in self.bans]
        masks = [mask for mask in conditions if mask is not None]
        masks += [mask for pair in self.never_together for mask in pair]
        if not masks or not len(rows):
            return [rows]
        applies = np.stack([mask[rows] for mask in masks], axis=1)  # (m, R)
        groups = np.unique(applies, axis=0, return_inverse=True)[1].reshape(-1)
        return [rows[groups == group] for group in range(int(groups.max()) + 1)]


NO_COMPILED_RULES = CompiledRules()


def compile_rules(rules: Rules, selector: RowSelector) -> CompiledRules:
    """Resolve rules to rows.

    Raises RulesError for an attribute that no product has, or a condition on another type of value.
    """
    pins, bans, never_together, idle = [], [], [], []
    for pin in rules.pins:
        rows = selector.rule_mask(pin.name, pin.show)
        pins.append(CompiledPin(pin, rows, selector.optional_rule_mask(pin.name, pin.when)))
        idle += [] if rows.any() else [pin.name]
    for ban in rules.bans:
        rows = selector.rule_mask(ban.name, ban.hide)
        bans.append((rows, selector.optional_rule_mask(ban.name, ban.when)))
        idle += [] if rows.any() else [ban.name]
    for rule in rules.never_together:
        one, other = selector.rule_mask(rule.name, rule.one), selector.rule_mask(rule.name, rule.other)
        never_together.append((one, other))
        idle += [] if one.any() and other.any() else [rule.name]
    return CompiledRules(tuple(pins), tuple(bans), tuple(never_together), tuple(idle))


def _applies(when: Mask | None, reference_rows: Sequence[int]) -> bool:
    """Return whether a condition holds for any product of a reference."""
    return when is None or bool(when[list(reference_rows)].any())


def _has_id(table: Table, ids: Sequence[str]) -> Mask:
    mask = np.zeros(len(table), bool)
    rows = [table.row_of(product_id) for product_id in ids]
    mask[[row for row in rows if row is not None]] = True
    return mask


def _has_group(table: Table, groups: Sequence[str]) -> Mask:
    names = set(groups)
    # The last value is that of code -1, a product without a group.
    mask: Mask = np.array([*(name in names for name in table.groups), False], bool)[table.group_codes]
    return mask
