"""Benchmark of the gallery in Chromium: size and load time of the first page, time to draw the map."""

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
VIEWPORT = {"width": 1366, "height": 768}
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
VISITS = 5


def run(quick: bool) -> Section:
    """Measure with 10,000 and 100,000 products; quick: 1,000 and 5,000."""
    from playwright.sync_api import sync_playwright

    few, many = (1_000, 5_000) if quick else (10_000, 100_000)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        rows = [*_first_page(browser, Path(folder) / "few", few), *_map(browser, Path(folder) / "many", many)]
        browser.close()
    about = (
        f"Chromium, {VIEWPORT['width']} x {VIEWPORT['height']}, without a GPU, on the machine of the "
        f"service; the pictures of the demo as {few:,} and {many:,} products of {DIMENSION}."
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
    """Load the home page several times with an empty browser cache."""
    _make_index(index, products)
    load_times_s, sizes = [], []
    with served(index, "--no-access-log") as (_, port):
        for _ in range(VISITS):
            page = browser.new_page(viewport=VIEWPORT)
            responses: list[Any] = []
            page.on("response", lambda response, into=responses: into.append(response))
            start_s = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/", wait_until="load")
            page.locator(".card img").first.evaluate("image => image.decode()")
            load_times_s.append(time.perf_counter() - start_s)
            page.wait_for_load_state("networkidle")
            others = [item for item in responses if "image/" not in item.headers.get("content-type", "")]
            sizes.append(sum(int(item.request.sizes()["responseBodySize"]) for item in others))
            page.close()
    size_kb, median_s = max(sizes) / 1000, sorted(load_times_s)[VISITS // 2]
    return [
        Row(f"first page of {products:,}, without pictures", f"{size_kb:.0f} KB", "under 300", size_kb < 300),
        Row(
            "time until it is loaded and its first picture is decoded",
            f"{median_s:.2f} s; the first time {load_times_s[0]:.2f} s",
            "1 s",
            median_s <= 1,
        ),
    ]


def _map(browser: Any, index: Path, products: int) -> list[Row]:
    """Open the map of all products, for the first time after the start of the service, then again."""
    _make_index(index, products)
    durations_s = []
    with served(index, "--no-access-log") as (_, port):
        for _ in range(2):
            page = browser.new_page(viewport=VIEWPORT)
            start_s = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/map")
            page.wait_for_function("() => /\\d/.test(document.querySelector('#map-said').textContent)")
            durations_s.append(time.perf_counter() - start_s)
            caption = page.locator("#map-said").inner_text()
            page.close()
    drawn = re.sub(r"\s+", " ", caption)
    return [
        Row(
            f"the map of {products:,} ({drawn})",
            f"{durations_s[0]:.1f} s the first time, {durations_s[1]:.1f} s again",
            "4 s",
            durations_s[0] <= 4,
        )
    ]
