"""The queue of findings in a browser: dismissed, deleted and taken back, by mouse and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CATALOGUE, Visit, running_service
from tests.browser.visitor import LAPTOP, PHONE
from tests.catalogues import build_folder
from vitrine.service import Catalogue

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
    cards.first.locator("[data-decision=dismiss]").click()
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


@pytest.fixture
def mistaken(demo_index: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a service whose catalogue has a bag among the mugs and a cap among the perfumes."""
    index = Path(shutil.copytree(demo_index, tmp_path / "index"))
    with Catalogue.open(index) as catalogue:
        catalogue.move("bolsa_01", "Caneca")
        catalogue.move("bone_02", "Perfume")
    build_folder(CATALOGUE, index)
    with running_service(index) as address:
        yield address


@pytest.mark.parametrize(("language", "size"), [("pt", LAPTOP), ("en", PHONE)])
def test_a_product_goes_to_the_category_that_it_looks_like(
    visit: Visit, mistaken: str, language: str, size: tuple[int, int]
) -> None:
    visitor = visit(language, size, address=mistaken)
    page = visitor.page
    visitor.go("/quality?kind=wrong-category")
    bag, cap = (page.locator(f'[data-product="{name}"]') for name in ("bolsa_01", "bone_02"))
    bag.get_by_role("button", name={"pt": "Mover para Bolsa", "en": "Move to Bolsa"}[language]).click()
    expect(bag).to_be_hidden()
    expect(cap).to_be_focused()
    page.keyboard.press("m")
    expect(cap).to_be_hidden()
    assert [visitor.api(f"/products/{name}")["category"] for name in ("bolsa_01", "bone_02")] == [
        "Bolsa",
        "Boné",
    ]
    page.keyboard.press("u")
    expect(cap).to_be_focused()
    assert visitor.api("/products/bone_02")["category"] == "Perfume"
    visitor.go("/quality?kind=wrong-category")
    expect(bag).to_have_count(0)
    expect(cap).to_be_visible()


def test_findings_can_be_looked_at_without_javascript(visit: Visit) -> None:
    visitor = visit("en", LAPTOP, java_script_enabled=False)
    visitor.go(OUTLIERS)
    expect(visitor.page.locator(".finding img").first).to_be_visible()
    expect(visitor.page.locator(".finding [data-decision=dismiss]").first).to_be_hidden()
