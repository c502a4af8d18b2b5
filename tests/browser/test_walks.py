"""What goes from page to page: comparing, the trail, the API call, the lasso, keys, other sites."""

from __future__ import annotations

import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import CATALOGUE, Visit, running_service
from tests.browser.visitor import LAPTOP, Visitor
from tests.catalogues import build_folder


def test_more_products_come_as_one_scrolls(visitor: Visitor) -> None:
    visitor.go("/")
    before = len(visitor.names())
    visitor.page.locator(".card").last.scroll_into_view_if_needed()
    expect(visitor.page.locator(".card").nth(before + 20)).to_be_attached()
    names = visitor.names()
    assert len(names) > before
    assert len(
        visitor.page.locator(".card").evaluate_all("all => [...new Set(all.map(c => c.dataset.product))]")
    ) == len(names)


def test_the_language_is_switched_and_kept(visitor: Visitor) -> None:
    page = visitor.page
    other = {"pt": "en", "en": "pt"}[visitor.language]
    visitor.go("/product/tenis_01?same_category=1")
    title = page.locator("#similar-title").inner_text()
    page.locator(f'.languages a[hreflang^="{other}"]').click()
    expect(page.locator("#similar-title")).not_to_have_text(title)
    assert page.locator("html").get_attribute("lang") == {"pt": "pt-BR", "en": "en"}[other]
    assert "same_category=1" in page.url
    assert "lang=" not in page.url
    visitor.go("/")
    expect(page.locator("html")).to_have_attribute("lang", {"pt": "pt-BR", "en": "en"}[other])


def test_two_products_are_held_and_compared(visitor: Visitor) -> None:
    page = visitor.page
    for product in ("tenis_01", "tenis_02"):
        visitor.go(f"/product/{product}")
        page.locator(".reference [data-hold]").click()
    expect(page.locator("#tray li")).to_have_count(2)
    page.locator("#tray a").click()
    expect(page.get_by_role("columnheader")).to_have_count(2)
    expect(page.get_by_role("row", name=re.compile("^brand"))).to_contain_text("Veloz")
    expect(page.locator(".score-value")).to_contain_text("%")


def test_the_trail_and_the_back_button_lead_back(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/product/tenis_01")
    seen = [page.get_by_role("heading", level=1).inner_text()]
    for _ in range(2):
        page.locator("#similar .card-link").first.click()
        expect(page.get_by_role("heading", level=1)).not_to_have_text(seen[-1])
        seen.append(page.get_by_role("heading", level=1).inner_text())
        if seen[-1] in seen[:-1]:
            break
    shown = [text for text in visitor.texts("#trail li") if text in seen]
    assert shown == list(dict.fromkeys(seen))[: seen.index(seen[-1]) + 1]
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text(seen[-2])


def test_the_toggles_change_the_recommendations_and_the_call(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/product/tenis_01")
    page.locator("[name=in_stock]").check()
    page.locator("[name=one_per_group]").check()
    expect(page.locator("#similar code").first).to_contain_text("one_per_group=true")
    page.locator("[name=diversity]").fill("0.5")
    expect(page.locator("#similar code").first).to_contain_text("diversity=0.5")
    options = "limit=12&where=%7B%22in_stock%22%3Atrue%7D&one_per_group=true&diversity=0.5"
    expected = [hit["name"] for hit in visitor.api(f"/products/tenis_01/similar?{options}")["hits"]]
    expect(page.locator("#similar .card-name").first).to_have_text(expected[0])
    assert visitor.names("#similar") == expected
    page.locator(".calls summary").click()
    page.locator(".call button").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "one_per_group=true" in copied
    page.reload()
    assert visitor.names("#similar") == expected


def test_a_lasso_gives_a_gallery(visit: Visit) -> None:
    visitor = visit("pt", LAPTOP)
    page = visitor.page
    visitor.go("/map")
    expect(page.locator("#map-said")).to_have_text(re.compile(r"\d"))
    page.locator("#map-lasso").click()
    box = page.locator("#map-points").bounding_box()
    assert box
    corners = [(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)]
    page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + box["height"] * 0.05)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=3)
    page.mouse.up()
    visitor.see("#map-selection .card")
    number = re.sub(r"\D", "", page.locator("#map-selection h2").inner_text())
    assert int(number) > 50
    page.locator("#map-selection .card-link").first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_a_point_is_hovered_and_clicked(visit: Visit) -> None:
    visitor = visit("en", LAPTOP)
    page = visitor.page
    visitor.go("/map")
    expect(page.locator("#map-said")).to_have_text(re.compile(r"\d"))
    page.locator("#map-points").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#map-card strong")).not_to_be_empty()
    box = page.locator("#map-card").bounding_box()
    assert box
    found = None
    stage = page.locator("#map-points").bounding_box()
    assert stage
    page.keyboard.press("Tab")
    for step in range(400):
        page.mouse.move(
            stage["x"] + 8 + (step % 40) * stage["width"] / 41,
            stage["y"] + 8 + (step // 40) * stage["height"] / 11,
        )
        if page.locator("#map-card").is_visible():
            found = page.locator("#map-card strong").inner_text()
            break
    assert found
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "/product/" in page.url


def test_the_last_change_is_undone(visitor: Visitor) -> None:
    visitor.api("/products/perfume_03", "DELETE")
    visitor.go("/trash")
    visitor.page.locator("#undo-last").click()
    expect(visitor.page.locator('[data-product="perfume_03"]')).to_have_count(0)
    assert visitor.api("/products/perfume_03")["deleted_at"] is None


def test_a_card_is_deleted_and_comes_back(visit: Visit) -> None:
    visitor = visit("pt", LAPTOP)
    page = visitor.page
    visitor.go("/?q=bone")
    card = page.locator(".card").first
    name = card.locator(".card-name").inner_text()
    card.hover()
    card.locator("[data-delete]").click()
    page.get_by_role("dialog").get_by_role("button", name="Sim", exact=True).click()
    expect(card).to_be_hidden()
    assert name not in visitor.names()
    visitor.button("Undo").click()
    expect(page.locator(".card").first).to_be_visible()


def test_a_product_is_put_into_another_category_and_back(visitor: Visitor) -> None:
    page, field = visitor.page, visitor.page.locator("#move-category")
    undo = {"pt": "Desfazer", "en": "Undo"}[visitor.language]
    visitor.go("/product/caneca_02")
    page.locator("[data-move]").focus()
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    field.fill("Porcelana")
    page.keyboard.press("Escape")
    assert visitor.api("/products/caneca_02")["category"] == "Caneca"
    page.locator("[data-move]").click()
    expect(field).to_have_value("Caneca")
    field.fill(" Porcelana ")
    page.keyboard.press("Enter")
    expect(page.locator(".reference .facts")).to_contain_text("Porcelana")
    expect(page.locator("#notices")).to_contain_text("Porcelana")
    visitor.go("/?category=Porcelana")
    expect(page.locator(".card")).to_have_count(1)
    page.go_back()
    visitor.api("/undo", "POST")
    visitor.go("/product/caneca_02")
    page.locator("[data-move]").click()
    field.fill("Porcelana")
    page.get_by_role("dialog").locator("button[value=yes]").click()
    page.locator("#notices").get_by_role("button", name=undo).click()
    expect(page.locator(".reference .facts")).to_contain_text("Caneca")
    assert visitor.api("/products/caneca_02")["category"] == "Caneca"


def test_a_deleted_product_is_found_in_the_trash_and_brought_back(visitor: Visitor) -> None:
    visitor.expected = {410}
    visitor.api("/products/perfume_02", "DELETE")
    visitor.go("/product/perfume_02")
    visitor.button("Restore").click()
    expect(visitor.page.locator("#similar .card").first).to_be_visible()


def test_an_unknown_product_is_told_in_words(visitor: Visitor) -> None:
    visitor.expected = {404}
    visitor.go("/product/nothing-of-the-kind")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text(
        visitor.say("This product does not exist")
    )


def test_the_status_tells_what_is_served(visitor: Visitor) -> None:
    page = visitor.page
    visitor.go("/status")
    state = visitor.api("/status")
    expect(page.locator(".figures")).to_contain_text(str(state["live"]))
    expect(page.get_by_text(state["snapshot"]).first).to_be_visible()
    expect(page.locator("#snapshots tr.live")).to_contain_text(visitor.say("current"))


@pytest.fixture
def guarded(demo_index: Path, tmp_path: Path) -> Iterator[str]:
    """A service whose writes need a key, with an older snapshot to go back to."""
    index = shutil.copytree(demo_index, tmp_path / "index")
    build_folder(CATALOGUE, index)
    with running_service(index, VITRINE_API_KEYS="open sesame") as address:
        yield address


def test_an_earlier_snapshot_is_gone_back_to_with_a_key(visit: Visit, guarded: str) -> None:
    visitor = visit("pt", LAPTOP, address=guarded)
    visitor.expected = {401}
    page = visitor.page
    visitor.go("/status")
    newest = visitor.api("/status")["snapshot"]
    page.locator("[data-rollback]").first.click()
    page.get_by_role("dialog").get_by_label(visitor.say("Key")).fill("open sesame")
    visitor.button("Use this key").click()
    expect(page.locator("#snapshots tr.live th")).not_to_have_text(newest)
    assert visitor.api("/status")["snapshot"] != newest


def test_a_change_asks_for_the_key_once(visit: Visit, guarded: str) -> None:
    visitor = visit("en", LAPTOP, address=guarded)
    visitor.expected = {401}
    page = visitor.page
    visitor.go("/product/tenis_03")
    visitor.button("Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_contain_text("Tênis Corrida Cinza")
    visitor.button("Undo").click()
    expect(page.locator(".notice")).to_have_count(0)


def test_recommendations_stand_on_a_page_of_another_site(
    visit: Visit, demo_index: Path, tmp_path: Path
) -> None:
    """A shop on another origin, with a strict policy of its own, loads the element and its pictures."""
    index = shutil.copytree(demo_index, tmp_path / "index")
    shop = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{shop.server_address[1]}"
    try:
        with running_service(index, "--cors-origins", origin) as address:
            _Shop.service = address
            visitor = visit("pt", LAPTOP, address=origin)
            visitor.page.goto("/")
            expect(visitor.page.locator("similar-products li")).to_have_count(4)
            expect(visitor.page.locator("similar-products h2")).to_have_text("Veja também")
            link = visitor.page.locator("similar-products a").first
            assert re.fullmatch(r"/p/[\w-]+", link.get_attribute("href") or "")
            widths = "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
            assert all(visitor.page.locator("similar-products img").evaluate_all(widths))
            assert visitor.mistakes
            assert all(each.startswith(f"another host: {address}") for each in visitor.mistakes)
            visitor.mistakes.clear()
    finally:
        shop.shutdown()
        shop.server_close()


class _Shop(http.server.BaseHTTPRequestHandler):
    service = ""

    def do_GET(self) -> None:
        body = (
            "<!doctype html><html lang=pt><title>Loja</title><link rel=icon href=data:,>"
            f'<script type=module src="{self.service}/similar-products.js"></script><h1>Tênis</h1>'
            f'<similar-products src="{self.service}" product="tenis_01" limit="4" href="/p/{{id}}" '
            'heading="Veja também"></similar-products>'
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src {self.service}; connect-src {self.service}; "
            f"img-src {self.service} data:",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
