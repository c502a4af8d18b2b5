"""Searching by photo and adding products: every way in, every hand, every error."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.visitor import PHONE, Visitor
from tests.paths import DEMO

SHOE = DEMO / "tenis_01.jpg"
SHOE_NAME = "Tênis Corrida Azul-Marinho"
GIVE = """([base64, how]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  const event = how === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
    : new DragEvent(how, { dataTransfer: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
}"""

WATCH_CROPS = """() => {
  window.crops = [];
  const append = FormData.prototype.append;
  FormData.prototype.append = function (name, ...value) {
    if (name === "crop") window.crops.push(value[0]);
    append.call(this, name, ...value);
  };
}"""


def _finds_the_shoe(visitor: Visitor) -> None:
    first = visitor.page.locator("#photo-hits .card-name").first
    expect(first).to_have_text(SHOE_NAME)


def test_a_photo_is_chosen_and_its_category_narrowed(visitor: Visitor) -> None:
    visitor.go("/photo")
    visitor.page.set_input_files("#file", SHOE)
    _finds_the_shoe(visitor)
    expect(visitor.page.locator("#photo-hits .score-value").first).to_have_text("100%")
    visitor.page.locator("#photo-category").select_option("Caneca")
    expect(visitor.page.locator("#photo-hits .facts").first).to_contain_text("Caneca")


def test_a_photo_is_dropped_or_pasted(visit: Visit) -> None:
    visitor = visit("en")
    photo = base64.b64encode(SHOE.read_bytes()).decode()
    for how in ("drop", "paste"):
        visitor.go("/photo")
        if how == "drop":
            visitor.page.evaluate(GIVE, [photo, "dragenter"])
            expect(visitor.page.locator("#drop.over")).to_have_count(1)
        visitor.page.evaluate(GIVE, [photo, how])
        _finds_the_shoe(visitor)


def test_a_photo_is_taken_with_the_camera(visit: Visit) -> None:
    visitor = visit("pt")
    visitor.context.grant_permissions(["camera", "clipboard-read", "clipboard-write"])
    visitor.go("/photo")
    visitor.button("Use the camera").click()
    visitor.button("Take the photo").click()
    expect(visitor.page.locator("#photo-hits .card").first).to_be_visible()


def _framed(visitor: Visitor, *expected: float) -> None:
    """Wait until the frame is x, y, w, h, to the hundredth."""
    visitor.page.wait_for_function(
        """expected => {
          const { style } = document.getElementById("crop-stage");
          const sides = ["x", "y", "w", "h"].map((side) => Number(style.getPropertyValue("--" + side)));
          return sides.every((side, place) => Math.abs(side - expected[place]) < 0.006);
        }""",
        arg=list(expected),
    )


def test_the_frame_is_moved_by_mouse(visit: Visit) -> None:
    visitor = visit("en")
    page = visitor.page
    visitor.go("/photo")
    page.set_input_files("#file", SHOE)
    _finds_the_shoe(visitor)
    box = page.locator("#crop-stage").bounding_box()
    assert box
    page.evaluate(WATCH_CROPS)
    with page.expect_response("**/photo/hits"):
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=4)
        page.mouse.up()
    assert page.evaluate("crops")[0].startswith("0.2")
    _framed(visitor, 0.25, 0.25, 0.35, 0.45)
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4, steps=3)
    page.mouse.up()
    _framed(visitor, 0.35, 0.25, 0.35, 0.45)
    visitor.button("Whole photo").click()
    _framed(visitor, 0, 0, 1, 1)


def test_the_frame_is_moved_by_touch(visit: Visit) -> None:
    visitor = visit("pt", PHONE)
    page = visitor.page
    visitor.go("/photo")
    page.set_input_files("#file", SHOE)
    _finds_the_shoe(visitor)
    box = page.locator("#crop-stage").bounding_box()
    assert box
    session = visitor.context.new_cdp_session(page)

    def touch(kind: str, *point: float) -> None:
        points = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
            for x, y in zip(point[::2], point[1::2], strict=True)
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.99, 0.99)
    touch("touchMove", 0.8, 0.8)
    touch("touchMove", 0.6, 0.7)
    touch("touchEnd")
    _framed(visitor, 0, 0, 0.6, 0.7)


def test_the_frame_is_moved_by_keyboard(visit: Visit) -> None:
    visitor = visit("pt")
    page = visitor.page
    visitor.go("/photo")
    page.set_input_files("#file", SHOE)
    _finds_the_shoe(visitor)
    page.locator("#crop-box").focus()
    for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    _framed(visitor, 0.02, 0.02, 0.96, 0.98)
    expect(page.locator("#announcer")).to_contain_text("96%")
    with page.expect_response("**/photo/hits"):
        page.keyboard.press("Enter")
    page.keyboard.press("Home")
    _framed(visitor, 0, 0, 1, 1)


def test_a_file_that_is_no_photo_is_refused_in_words(visitor: Visitor, tmp_path: Path) -> None:
    visitor.expected = {415}
    fake = tmp_path / "letter.jpg"
    fake.write_text("dear all")
    visitor.go("/photo")
    visitor.page.set_input_files("#file", fake)
    expect(visitor.page.locator(".notice.error")).to_contain_text(
        visitor.say("This is not a readable picture.")
    )


def test_an_upload_tells_what_is_there_already_and_what_is_wrong(visitor: Visitor, tmp_path: Path) -> None:
    visitor.expected = {415, 409}
    page = visitor.page
    fake = tmp_path / "fake.png"
    fake.write_bytes(b"\x89PNG but not really")
    visitor.go("/upload")
    page.set_input_files("#files", [SHOE, fake])
    known, broken = page.locator(".upload").nth(0), page.locator(".upload").nth(1)
    expect(known.locator(".upload-proposal a")).to_have_text(SHOE_NAME)
    expect(known.locator("[name=category]")).to_have_value("Tênis")
    expect(broken).to_contain_text(visitor.say("This is not a readable picture."))
    known.locator("summary").click()
    known.locator("[name=id]").fill("tenis_01")
    known.locator("[data-add]").click()
    expect(known).to_contain_text(visitor.say("This id is already taken. Choose another one."))
    for row in (broken, known):
        row.locator("[data-drop]").click()
    expect(page.locator(".upload")).to_have_count(0)


def test_an_upload_carries_attributes(visit: Visit) -> None:
    visitor = visit("en")
    page = visitor.page
    visitor.go("/upload")
    page.set_input_files("#files", DEMO / "caneca_01.jpg")
    row = page.locator(".upload")
    expect(row.locator("[name=category]")).to_have_value("Caneca")
    row.locator("[name=name]").fill("Caneca de prova")
    row.locator("summary").click()
    row.locator("[name=price]").fill("12.5")
    row.locator("[name=in_stock]").select_option("true")
    row.locator("[name=brand]").fill("Prova")
    row.locator("[data-add]").click()
    expect(row.locator(".upload-said")).to_contain_text("Caneca de prova")
    found = visitor.api("/products?q=caneca+de+prova")["products"][0]
    assert found["attributes"]["price"] == 12.5
    assert found["attributes"]["in_stock"] is True
    assert found["attributes"]["brand"] == "Prova"
    visitor.api(f"/products/{found['id']}", "DELETE")
    visitor.api(f"/products/{found['id']}/restore", "POST")
    visitor.api(f"/products/{found['id']}", "DELETE")
