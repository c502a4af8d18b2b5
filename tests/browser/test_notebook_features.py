"""The notebook's features, line by line, as a person meets them: two languages, a laptop and a phone."""

from __future__ import annotations

import re
import time
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.pictures import jpeg

SHOE = "tenis_01"


def test_upload_photos_to_compose_the_catalogue(everybody: Visitor, tmp_path: Path) -> None:
    visitor = everybody
    page = visitor.page
    stamp = f"{time.time_ns():x}"
    files = []
    for number in range(2):
        path = tmp_path / f"caneca_nova_{stamp}_{number}.jpg"
        path.write_bytes(jpeg(300, 300, seed=time.time_ns() % 10**6 + number))
        files.append(path)
    visitor.go("/upload")
    page.set_input_files("#files", files)
    rows = visitor.see(".upload")
    expect(rows).to_have_count(2)
    for place in range(2):
        field = rows.nth(place).locator("[name=name]")
        expect(field).to_have_value(f"Caneca nova {stamp} {place}")
        expect(rows.nth(place).locator("[name=category]")).not_to_have_value("")
        rows.nth(place).locator("[name=category]").fill("Caneca")
    visitor.button("Add all").click()
    expect(page.locator('.upload[data-state="done"]')).to_have_count(2)
    assert visitor.api(f"/products?q={stamp}")["total"] == 2
    page.get_by_role("link", name=visitor.say("Show similar products")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(stamp)
    visitor.see("#similar .card")


def test_bit_features_or_whichever_model_is_named(everybody: Visitor) -> None:
    """The page names the network whose features are compared: BiT or the packaged one."""
    visitor = everybody
    visitor.go("/status")
    model = visitor.api("/status")["model"]
    expect(visitor.page.get_by_text(model, exact=True).first).to_be_visible()
    assert model == "efficientnet-lite2"


def test_search_by_name_or_category(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/")
    page.get_by_role("searchbox").fill("oculos")
    expect(page.locator("#found-count")).to_contain_text("oculos")
    expect(page.locator(".grid .card-name").first).to_contain_text("Óculos")
    assert all("Óculos" in name for name in visitor.names())
    page.get_by_role("searchbox").fill("tenis corida")
    expect(page.locator(".grid .card-name").first).to_contain_text("Tênis Corrida")
    assert "q=tenis+corida" in page.url
    page.get_by_role("searchbox").fill("")
    page.locator('[data-chip="Caneca"]').click()
    expect(page.locator(".grid .card-name").first).to_contain_text("Caneca")
    assert set(visitor.texts(".grid .facts span:first-child")) == {"Caneca"}
    page.get_by_role("searchbox").fill("zzzzqqqq")
    expect(page.locator(".empty")).to_be_visible()


def test_recommendations_with_pictures_side_by_side(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go(f"/product/{SHOE}")
    expect(page.locator(".reference img")).to_be_visible()
    cards = visitor.see("#similar .card")
    assert cards.count() == 12
    assert all(text.endswith("%") for text in visitor.texts("#similar .score-value"))
    expected = visitor.api(f"/products/{SHOE}/similar?limit=12")["hits"]
    assert visitor.names("#similar") == [hit["name"] for hit in expected]
    first = visitor.names("#similar")[0]
    page.locator("#similar .card-link").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(first)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tênis Corrida Azul-Marinho")


def test_delete(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/product/caneca_05")
    name = page.get_by_role("heading", level=1).inner_text()
    visitor.button("Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(name)
    dialog.get_by_role("button", name=visitor.say("No"), exact=True).click()
    assert visitor.api("/products/caneca_05")["deleted_at"] is None
    visitor.button("Delete").click()
    dialog.get_by_role("button", name=visitor.say("Yes"), exact=True).click()
    expect(page.get_by_role("status").filter(has_text=name)).to_be_visible()
    assert name not in visitor.names()
    assert visitor.api("/products?deleted=true&q=caneca_05")["total"] == 1
    visitor.button("Undo").click()
    expect(page.locator(".notice")).to_have_count(0)
    assert visitor.api("/products/caneca_05")["deleted_at"] is None


def test_restore(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    ids = ["bone_01", "bone_02", "bone_03", "bone_04"]
    visitor.api("/products/delete", "POST", {"ids": ids})
    visitor.go("/trash")
    row = page.locator('[data-product="bone_01"]')
    row.get_by_role("button").click()
    expect(row).to_have_count(0)
    assert visitor.api("/products/bone_01")["deleted_at"] is None
    for id in ids[1:3]:
        page.locator(f'[data-product="{id}"] input').check()
    page.locator("#restore-chosen").click()
    expect(page.locator('[data-product="bone_02"]')).to_have_count(0)
    page.locator("#restore-all").click()
    expect(page.locator(".empty")).to_be_visible()
    assert visitor.api("/products?deleted=true")["total"] == 0


def test_category_similarity_heatmap(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/categories")
    visitor.see("#heat .heatmaplayer image, #heat .heatmaplayer path")
    for name in ("Tênis", "Óculos", "Relógio"):
        expect(page.locator("#heat .ytick text", has_text=name)).to_be_visible()
    box = page.locator("#heat .nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.05, box["y"] + box["height"] * 0.15)
    expect(page.locator("#heat .hovertext")).to_contain_text(re.compile(r"[01][.,]\d\d"))
    page.mouse.click(box["x"] + box["width"] * 0.05, box["y"] + box["height"] * 0.15)
    visitor.see("#pairs .pair")
    page.locator("select[name=linkage]").select_option("mean")
    page.locator("select[name=order]").select_option("name")
    expect(page.locator("#heat .ytick text").first).to_have_text("Bolsa")
    with page.expect_download() as csv:
        page.locator("#heat-csv").click()
    lines = Path(csv.value.path()).read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("category,products,Bolsa,")
    with page.expect_download() as png:
        page.locator("#heat-png").click()
    assert Path(png.value.path()).read_bytes().startswith(b"\x89PNG")


def _points_shown(visitor: Visitor) -> int:
    said = visitor.page.locator("#map-said")
    expect(said).to_have_text(re.compile(r"\d"))
    return int(re.sub(r"\D", "", said.inner_text()))


def test_pca_in_2d(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/map")
    assert _points_shown(visitor) == len(visitor.api("/projection?limit=1000")["points"])
    ratio = visitor.api("/projection")["explained_variance_ratio"][0]
    expect(page.locator("#axis-x")).to_contain_text(f"{round(100 * ratio)}%")
    page.locator("#map-points").focus()
    page.keyboard.press("ArrowRight")
    card = visitor.see("#map-card")
    expect(card.locator("img")).to_be_visible()
    name = card.locator("strong").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "/product/" in page.url
    assert name


def test_pca_in_3d(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/map")
    page.locator(".map-switch label", has_text="3D").click()
    expect(page.locator("#axis-z")).to_be_visible()
    ratio = visitor.api("/projection?dimensions=3")["explained_variance_ratio"][2]
    expect(page.locator("#axis-z")).to_contain_text(f"{round(100 * ratio)}%")
    assert "dimensions=3" in page.url


def test_pca_filtered_by_category(everybody: Visitor) -> None:
    visitor = everybody
    page = visitor.page
    visitor.go("/map")
    everything = _points_shown(visitor)
    page.get_by_role("checkbox", name=re.compile("^Tênis")).check()
    page.get_by_role("checkbox", name=re.compile("^Caneca")).check()
    live = {each["name"]: each["live"] for each in visitor.api("/categories")["categories"]}
    expect(page.locator("#map-said")).to_contain_text(str(live["Tênis"] + live["Caneca"]))
    axis = page.locator("#axis-x").inner_text()
    page.locator("[name=fit]").check()
    expect(page.locator("#axis-x")).not_to_have_text(axis)
    page.locator("#map-all").click()
    expect(page.locator("#map-said")).to_contain_text(str(everything))
