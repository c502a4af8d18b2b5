"""For everybody: axe on every page, the keyboard alone, no JavaScript, little data, less motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import axe_core_python
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.visitor import LAPTOP, PHONE, Visitor
from tests.paths import DEMO

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
PAGES = {
    "window": "/", "found": "/?q=tenis&category=Tênis", "nothing": "/?q=zzzzqqqq",
    "product": "/product/tenis_01", "compare": "/compare?a=tenis_01&b=bolsa_01", "photo": "/photo",
    "upload": "/upload", "trash": "/trash", "categories": "/categories?a=Bolsa&b=Boné", "map": "/map",
    "status": "/status", "quality": "/quality?kind=outlier", "embed": "/embed", "unknown": "/product/nothing",
}  # fmt: skip
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = {"serious", "critical"}


def _complaints(visitor: Visitor) -> list[str]:
    """Return what axe finds serious: the rule, and where."""
    page = visitor.page
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(f"axe.run(document, {{runOnly: {RULES}}})")
    return [
        f"{each['id']}: {each['help']}: {node['target']} {node.get('failureSummary', '')}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize(
    ("language", "size", "scheme"),
    [("pt", LAPTOP, "light"), ("en", PHONE, "dark")],
    ids=["pt-laptop-light", "en-phone-dark"],
)
def test_axe_finds_nothing_serious(visit: Visit, language: str, size: tuple[int, int], scheme: str) -> None:
    visitor = visit(language, size, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    visitor.expected = {404}
    visitor.api("/products/caneca_10", "DELETE")
    complaints = {}
    for name, path in PAGES.items():
        visitor.go(path)
        if found := _complaints(visitor):
            complaints[name] = found
    visitor.api("/products/caneca_10/restore", "POST")
    assert not complaints


def test_axe_finds_nothing_serious_in_what_opens(visit: Visit) -> None:
    """The states that a page takes while one works: dialogs, the tray, results, uploads, the map's card."""
    visitor = visit("pt", LAPTOP, reduced_motion="reduce", bypass_csp=True)
    page = visitor.page
    complaints = {}
    visitor.go("/product/tenis_01")
    page.locator(".reference [data-hold]").click()
    page.locator(".calls summary").click()
    page.locator(".more-places summary").click()
    complaints["product"] = _complaints(visitor)
    visitor.button("Delete").click()
    complaints["dialog"] = _complaints(visitor)
    visitor.go("/photo")
    page.set_input_files("#file", DEMO / "tenis_01.jpg")
    expect(page.locator("#photo-hits .card").first).to_be_visible()
    complaints["photo"] = _complaints(visitor)
    visitor.go("/upload")
    page.set_input_files("#files", DEMO / "tenis_01.jpg")
    expect(page.locator(".upload-proposal a")).to_be_visible()
    page.locator(".upload-details summary").click()
    complaints["upload"] = _complaints(visitor)
    page.locator("[data-drop]").click()
    visitor.go("/map?dimensions=3")
    page.locator("#map-points").focus()
    page.keyboard.press("ArrowRight")
    visitor.see("#map-card")
    page.keyboard.press("l")
    visitor.see("#map-selection .card")
    complaints["map"] = _complaints(visitor)
    assert not {name: found for name, found in complaints.items() if found}


def _focused(visitor: Visitor) -> str:
    """Return what the focused element says, and check that one sees where the focus is."""
    said, outline = visitor.page.evaluate(
        """() => {
          const at = document.activeElement;
          const label = at.closest("label")?.matches(":has(:focus-visible)");
          const outline = label ? "label" : getComputedStyle(at).outlineStyle;
          return [at.innerText || at.getAttribute("aria-label") || at.name || at.id, outline];
        }"""
    )
    assert outline != "none", said
    return str(said).strip()


def _tab_to(visitor: Visitor, text: str) -> None:
    for _ in range(120):
        visitor.page.keyboard.press("Tab")
        if visitor.say(text) in _focused(visitor):
            return
    raise AssertionError(f"{text!r} is not reached by the Tab key")


def test_the_keyboard_alone_searches_pivots_deletes_and_undoes(visit: Visit) -> None:
    visitor = visit("pt", LAPTOP)
    page = visitor.page
    visitor.go("/")
    page.keyboard.press("Tab")
    assert _focused(visitor) == visitor.say("Skip to the content")
    page.keyboard.press("/")
    page.keyboard.type("relogio")
    expect(page.locator("#found-count")).to_contain_text("relogio")
    first = visitor.names()[0]
    for _ in range(40):
        page.keyboard.press("Tab")
        if first in _focused(visitor):
            break
    page.keyboard.press("ArrowRight")
    assert visitor.names()[1] in _focused(visitor)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(first)
    _tab_to(visitor, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert _focused(visitor) == "Não"
    page.keyboard.press("Tab")
    assert _focused(visitor) == "Sim"
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_contain_text(first)
    _tab_to(visitor, "Undo")
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_have_count(0)
    assert visitor.api(f"/products?deleted=true&q={quote(first)}")["total"] == 0


def test_the_keyboard_alone_reaches_every_page_and_option(visit: Visit) -> None:
    visitor = visit("en", LAPTOP)
    page = visitor.page
    visitor.go("/")
    _tab_to(visitor, "Categories")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Category similarity")
    _tab_to(visitor, "CSV")
    for _ in range(3):
        page.keyboard.press("Tab")
    _tab_to(visitor, "0.")
    page.keyboard.press("Enter")
    visitor.see("#pairs .pair")
    visitor.go("/map")
    expect(page.locator("#map-said")).to_contain_text("products")
    _tab_to(visitor, "Map of the products")
    for key in ("ArrowRight", "ArrowDown", "+", "Shift+ArrowLeft", "0", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator("#map-card strong")).not_to_be_empty()
    page.keyboard.press("l")
    visitor.see("#map-selection .card")
    visitor.go("/")
    _tab_to(visitor, "More")
    page.keyboard.press("Enter")
    _tab_to(visitor, "Trash")
    page.keyboard.press("Escape")
    assert _focused(visitor) == "More"


@pytest.mark.parametrize(("language", "size"), [("pt", LAPTOP), ("en", PHONE)], ids=["pt-laptop", "en-phone"])
def test_without_javascript_one_searches_looks_and_compares(
    visit: Visit, language: str, size: tuple[int, int]
) -> None:
    visitor = visit(language, size, java_script_enabled=False)
    page = visitor.page
    visitor.go("/")
    page.get_by_role("searchbox").fill("oculos")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert visitor.names()
    assert all("Óculos" in name for name in visitor.names())
    visitor.go("/")
    with page.expect_navigation():
        page.get_by_role("link", name=visitor.say("Show more")).click()
    assert "offset=48" in page.url
    assert visitor.names()
    with page.expect_navigation():
        page.locator(".card-link").first.click()
    assert page.locator("#similar .card").count() == 12
    page.locator("[name=same_category]").check()
    with page.expect_navigation():
        page.get_by_role("button", name=visitor.say("Apply")).click()
    assert "same_category=1" in page.url
    visitor.go("/photo")
    page.set_input_files("#file", DEMO / "tenis_01.jpg")
    with page.expect_navigation():
        page.get_by_role("button", name=visitor.say("Search"), exact=True).click()
    assert visitor.names()[0] == "Tênis Corrida Azul-Marinho"
    visitor.go("/categories")
    with page.expect_navigation():
        page.locator(".nearest a").first.click()
    assert page.locator("#pairs .pair").count()
    for path in ("/map", "/status", "/trash", "/upload", "/embed"):
        visitor.go(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.locator("[data-script]:visible").count() == 0


def test_the_first_page_is_light(visit: Visit) -> None:
    """Under 300 KB besides pictures, nothing compressed; it shows 48 products however many there are."""
    visitor = visit("pt", LAPTOP)
    sizes: dict[str, int] = {}
    visitor.page.on(
        "response",
        lambda answer: sizes.update(
            {answer.url: int(answer.headers.get("content-length") or len(answer.body()))}
            if "/image" not in answer.url
            else {}
        ),
    )
    visitor.go("/")
    assert 20_000 < sum(sizes.values()) < 300_000, sizes


def test_nothing_is_wider_than_a_phone(visit: Visit) -> None:
    visitor = visit("pt", PHONE)
    visitor.expected = {404}
    wide = {}
    for name, path in PAGES.items():
        visitor.go(path)
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE[0]:
            wide[name] = width
    assert not wide


def test_the_api_can_be_read_in_a_browser(everybody: Visitor) -> None:
    everybody.go("/docs")
    everybody.see(".opblock-summary")
    assert everybody.page.locator(".opblock").count() > 20
    expect(everybody.page.locator("body")).not_to_contain_text("Unable to render")
