"""The view: its tag, its caches, its rules and its default search."""

from __future__ import annotations

import numpy as np
import pytest

from tests.queries_view import product, view_from_products, view_with_live
from vitrine.indexer.errors import RulesError
from vitrine.indexer.state.rules import Ban, Rules, Selector
from vitrine.service.queries.view import RECENT_VALUES, View

BAN = Rules(bans=(Ban("no b", Selector(ids=("b",))),), digest="d1")


def make_view() -> View:
    return view_from_products(
        [product("a"), product("b"), product("c")], np.eye(3, 4), live=[True, True, False]
    )


def test_a_search_finds_live_rows_by_default() -> None:
    neighbours = make_view().search(np.eye(1, 4, dtype=np.float32), 10)
    assert neighbours.rows.tolist() == [[0, 1]]
    allowed = np.array([False, False, True])
    assert make_view().search(np.eye(1, 4, dtype=np.float32), 10, allowed=allowed).rows.tolist() == [[2]]


def test_values_of_a_view_are_not_those_of_a_later_view() -> None:
    first = make_view()
    second = view_with_live(first, [True, False, False])
    assert first.cached("live", lambda: int(first.state.live.sum())) == 2
    assert second.cached("live", lambda: int(second.state.live.sum())) == 1
    assert first.cached_for_snapshot("rows", lambda: "computed once") == "computed once"
    assert second.cached_for_snapshot("rows", lambda: "computed again") == "computed once"


def test_recent_values_are_bounded() -> None:
    view, computed = make_view(), []
    for key in [*range(RECENT_VALUES + 1), 0]:
        view.cached_recently(key, lambda key=key: computed.append(key))  # type: ignore[misc]
    assert computed.count(0) == 2
    assert computed.count(1) == 1


def test_rules_are_compiled_for_the_rows_of_the_state() -> None:
    view = make_view()
    assert view.compiled_rules.banned_rows([]) is None
    banned = view.with_rules(BAN).compiled_rules.banned_rows([])
    assert banned is not None
    assert banned.tolist() == [False, True, False]


def test_rules_that_do_not_fit_the_catalogue_are_refused() -> None:
    rules = Rules(bans=(Ban("no reds", Selector(where={"colour": "red"})),), digest="d2")
    with pytest.raises(RulesError, match="no reds"):
        make_view().with_rules(rules)


def test_no_changes_give_the_same_view() -> None:
    view = make_view()
    assert view.after([]) is view
