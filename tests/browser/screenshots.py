"""`python -m tests.browser.screenshots FOLDER`: every page, light and dark, laptop and phone, to look at.

With --best, the three that README shows are written to data/screenshots instead, as WebP.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CATALOGUE, CHROMIUM, FLAGS, running_service
from tests.browser.visitor import LAPTOP, LOCALES, PHONE
from tests.catalogues import build_folder
from tests.paths import ROOT
from tests.waiting import LIMIT_MS

BEST = ROOT / "data" / "screenshots"
MAX_BYTES = 250_000
Prepare = Callable[[Page], None]


def _nothing(page: Page) -> None:
    del page


def _with_photo(page: Page) -> None:
    page.set_input_files("#file", CATALOGUE.parent / "bolsa_03.jpg")
    page.locator("#photo-hits .card").first.wait_for()


def _with_uploads(page: Page) -> None:
    page.set_input_files("#files", [CATALOGUE.parent / "tenis_05.jpg", CATALOGUE.parent / "caneca_02.jpg"])
    page.locator(".upload-proposal button").first.wait_for()
    page.wait_for_timeout(1500)


def _with_pairs(page: Page) -> None:
    page.locator("#heat .heatmaplayer").wait_for()


def _with_pictures(page: Page) -> None:
    page.wait_for_timeout(1500)


def _with_trash(page: Page) -> None:
    for product in ("tenis_04", "bolsa_07", "caneca_03", "relogio_02"):
        page.request.delete(f"/api/v1/products/{product}")
    page.reload()
    page.wait_for_load_state("networkidle")


def _restored(page: Page) -> None:
    for product in ("tenis_04", "bolsa_07", "caneca_03", "relogio_02"):
        page.request.post(f"/api/v1/products/{product}/restore")


def _asked_to_delete(page: Page) -> None:
    page.locator(".reference [data-delete]").click()


def _asked_to_move(page: Page) -> None:
    page.locator("[data-move]").click()


PAGES: dict[str, tuple[str, Prepare]] = {
    "window": ("/", _nothing),
    "search": ("/?q=tenis", _nothing),
    "nothing": ("/?q=zzzzqqqq", _nothing),
    "product": ("/product/tenis_01", _nothing),
    "delete": ("/product/tenis_01", _asked_to_delete),
    "compare": ("/compare?a=tenis_01&b=tenis_12", _nothing),
    "photo": ("/photo", _nothing),
    "photo-found": ("/photo", _with_photo),
    "upload": ("/upload", _with_uploads),
    "trash": ("/trash", _with_trash),
    "categories": ("/categories?a=Bolsa&b=Caneca", _with_pairs),
    "map": ("/map", _with_pictures),
    "map-3d": ("/map?dimensions=3", _with_pictures),
    "status": ("/status", _restored),
    "quality": ("/quality", _nothing),
    "move": ("/product/tenis_01", _asked_to_move),
    "embed": ("/embed", _nothing),
}
README_SHOWS = (("window", "pt", "light"), ("product", "en", "light"), ("map", "pt", "dark"))


@contextmanager
def _demo_service(index: Path | None) -> Iterator[str]:
    """Serve a copy of an index, or of a fresh one of the demo catalogue."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "index"
        if index is None:
            build_folder(CATALOGUE, folder)
        else:
            shutil.copytree(index, folder)
        yield stack.enter_context(running_service(folder))


def _take(
    browser: Browser, address: str, name: str, how: tuple[str, str, tuple[int, int]], full: bool
) -> bytes:
    """Return one screenshot as PNG. how: language, colour scheme, size."""
    language, scheme, (width, height) = how
    path, prepare = PAGES[name]
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=LOCALES[language], base_url=address,
        color_scheme="dark" if scheme == "dark" else "light", has_touch=width == PHONE[0],
        is_mobile=width == PHONE[0], reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(LIMIT_MS)
    page.goto(path)
    page.wait_for_load_state("networkidle")
    prepare(page)
    page.wait_for_timeout(400)
    png = page.screenshot(full_page=full)
    context.close()
    return png


def _save_small(png: bytes, path: Path) -> None:
    """Write a screenshot as WebP of at most MAX_BYTES."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (90, 84, 78, 70, 60):
        image.save(path, "WEBP", quality=quality, method=6)
        if path.stat().st_size <= MAX_BYTES:
            return


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--best", is_flag=True, help="Write the three of README to data/screenshots.")
@click.option(
    "--index", type=click.Path(exists=True, path_type=Path), help="An index, instead of the demo's."
)
@click.option("--only", multiple=True, help="Only these pages.")
@click.option("--language", type=click.Choice(list(LOCALES)), default="pt", show_default=True)
@click.option("--full", is_flag=True, help="The whole page, not only what a screen shows.")
def main(
    folder: Path | None, best: bool, index: Path | None, only: tuple[str, ...], language: str, full: bool
) -> None:
    """Take screenshots of every page into FOLDER, or the best three for README."""
    with _demo_service(index) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        if best:
            BEST.mkdir(parents=True, exist_ok=True)
            for name, spoken, scheme in README_SHOWS:
                _save_small(
                    _take(browser, address, name, (spoken, scheme, LAPTOP), False), BEST / f"{name}.webp"
                )
            return
        target = folder or Path(tempfile.mkdtemp(prefix="vitrine-screenshots-"))
        target.mkdir(parents=True, exist_ok=True)
        for name in only or PAGES:
            for size, device in ((LAPTOP, "laptop"), (PHONE, "phone")):
                for scheme in ("light", "dark"):
                    png = _take(browser, address, name, (language, scheme, size), full)
                    (target / f"{name}-{device}-{scheme}-{language}.png").write_bytes(png)
        click.echo(f"{target}")


if __name__ == "__main__":
    main()
