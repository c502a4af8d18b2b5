"""The queue of findings in a browser: dismissed, deleted and taken back, by mouse and by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.visitor import LAPTOP, PHONE

OUTLIERS = "/quality?kind=outlier"


@pytest.mark.parametrize(("language", "size"), [("pt", LAPTOP), ("en", PHONE)])
def test_a_finding_is_dismissed_and_taken_back(visit: Visit, language: str, size: tuple[int, int]) -> None:
    visitor = visit(language, size)
    page = visitor.page
    visitor.go(OUTLIERS)
    cards = page.locator(".finding:visible")
    before = cards.count()
    assert before >= 2
    first = cards.first.get_attribute("data-finding")
    cards.first.locator("[data-dismiss]").click()
    expect(page.locator(f'[data-finding="{first}"]')).to_be_hidden()
    expect(page.locator(".finding:focus")).to_have_count(1)
    visitor.go(OUTLIERS)
    expect(page.locator(".finding")).to_have_count(before - 1)
    visitor.api("/undo", "POST")
    visitor.go(OUTLIERS)
    expect(page.locator(".finding")).to_have_count(before)


def test_the_queue_is_worked_through_with_the_keyboard(visit: Visit) -> None:
    visitor = visit("en", LAPTOP)
    page = visitor.page
    visitor.go(OUTLIERS)
    first = page.locator(".finding").first
    name = first.get_attribute("data-product")
    page.keyboard.press("j")
    expect(first).to_be_focused()
    page.keyboard.press("d")
    expect(first).to_be_hidden()
    page.keyboard.press("u")
    expect(first).to_be_visible()
    expect(first).to_be_focused()
    visitor.go(f"/product/{name}")
    expect(page.locator("h1")).to_be_visible()


def test_findings_can_be_looked_at_without_javascript(visit: Visit) -> None:
    visitor = visit("en", LAPTOP, java_script_enabled=False)
    visitor.go(OUTLIERS)
    expect(visitor.page.locator(".finding img").first).to_be_visible()
    expect(visitor.page.locator(".finding [data-dismiss]").first).to_be_hidden()
