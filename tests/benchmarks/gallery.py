"""The gallery in Chromium: what its first page weighs, when it can be used, and how soon the map is drawn."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Row, Section
from tests.benchmarks.service import served
from tests.indexes import publish
from tests.paths import DEMO
from tests.vectors import clustered
from vitrine.indexer.products.schema import Product

DIMENSION = 2048
SIZE = {"width": 1366, "height": 768}
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
VISITS = 5


def run(quick: bool) -> Section:
    """Measure with 10,000 and 100,000 products (1,000 and 5,000 when quick)."""
    from playwright.sync_api import sync_playwright

    few, many = (1_000, 5_000) if quick else (10_000, 100_000)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        rows = [*_first_page(browser, Path(folder) / "few", few), *_map(browser, Path(folder) / "many", many)]
        browser.close()
    about = (
        f"Chromium, {SIZE['width']} x {SIZE['height']}, without a GPU, on the machine that serves; the "
        f"pictures of the demo as {few:,} and {many:,} products of {DIMENSION}."
    )
    return Section("Gallery", about, rows)


def _make_index(index: Path, count: int) -> None:
    pictures = sorted(DEMO.rglob("*.jpg"))
    products = [
        Product(f"p{n:07d}", f"Produto {n}", f"c{n % 40}", None, str(pictures[n % len(pictures)].absolute()),
                f"{n:064x}", 320, 320)
        for n in range(count)
    ]  # fmt: skip
    publish(index, products, clustered(count, DIMENSION), DEMO, recipe="auto")


def _first_page(browser: Any, index: Path, products: int) -> list[Row]:
    """Visit the shop window with an empty cache, several times."""
    _make_index(index, products)
    seconds, weights = [], []
    with served(index, "--no-access-log") as (_, port):
        for _ in range(VISITS):
            page = browser.new_page(viewport=SIZE)
            answers: list[Any] = []
            page.on("response", lambda answer, seen=answers: seen.append(answer))
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/", wait_until="load")
            page.locator(".card img").first.evaluate("image => image.decode()")
            seconds.append(time.perf_counter() - began)
            page.wait_for_load_state("networkidle")
            texts = [answer for answer in answers if "image/" not in answer.headers.get("content-type", "")]
            weights.append(sum(int(answer.request.sizes()["responseBodySize"]) for answer in texts))
            page.close()
    weight, usual = max(weights) / 1000, sorted(seconds)[VISITS // 2]
    return [
        Row(f"first page of {products:,}, without pictures", f"{weight:.0f} KB", "under 300", weight < 300),
        Row(
            "until it is loaded and its first picture is seen",
            f"{usual:.2f} s; the first time {seconds[0]:.2f} s",
            "1 s",
            usual <= 1,
        ),
    ]


def _map(browser: Any, index: Path, products: int) -> list[Row]:
    """Open the map of all products, the first time since the service started, then again."""
    _make_index(index, products)
    seconds = []
    with served(index, "--no-access-log") as (_, port):
        for _ in range(2):
            page = browser.new_page(viewport=SIZE)
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/map")
            page.wait_for_function("() => /\\d/.test(document.querySelector('#map-said').textContent)")
            seconds.append(time.perf_counter() - began)
            said = page.locator("#map-said").inner_text()
            page.close()
    drawn = re.sub(r"\s+", " ", said)
    return [
        Row(
            f"the map of {products:,} ({drawn})",
            f"{seconds[0]:.1f} s the first time, {seconds[1]:.1f} s again",
            "4 s",
            seconds[0] <= 4,
        )
    ]
