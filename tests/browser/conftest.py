"""A real service on the demo catalogue, and visitors in a real Chromium, who notice mistakes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

from tests.browser.visitor import LAPTOP, PHONE, Visitor
from tests.catalogues import build_folder
from tests.paths import ROOT
from tests.waiting import LIMIT_MS, LIMIT_S, wait_until

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, expect, sync_playwright

CATALOGUE = ROOT / "data" / "demo" / "catalogue.csv"
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--enable-unsafe-swiftshader",
]  # fmt: skip
Visit = Callable[..., Visitor]
expect.set_options(timeout=LIMIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, and skip it, saying so, where there is none."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no chromium on PATH: apt-get install chromium"))


@pytest.fixture(scope="session")
def demo_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo catalogue, built once for all processes of a test run; each has a copy of its own."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo-index"
    with FileLock(f"{shared}.lock"):
        if not (shared / "current").exists():
            build_folder(CATALOGUE, shared)
    return Path(shutil.copytree(shared, tmp_path_factory.mktemp("demo") / "index"))


@pytest.fixture(scope="session")
def service(demo_index: Path) -> Iterator[str]:
    """The address of a service as people start it."""
    with running_service(demo_index) as address:
        yield address


class running_service:
    """`vitrine-service` in a process of its own, on a free port."""

    def __init__(self, index: Path, *flags: str, **variables: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "service", "--index", str(index), "--port", str(port)]
        self._command = [*command, "--no-access-log", "--threads", "4", *flags]
        self._environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **variables}

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment)
        wait_until(self._is_ready)
        return self.address

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "the service did not start"
        with suppress(OSError), urllib.request.urlopen(f"{self.address}/readyz", timeout=LIMIT_S):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LIMIT_S)
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, service: str) -> Iterator[Visit]:
    """Make visitors; at the end none may have met an error, a foreign host, or a failed request."""
    visitors: list[Visitor] = []

    def make(language: str = "pt", size: tuple[int, int] = LAPTOP, **more: object) -> Visitor:
        address = more.pop("address", service)
        visitors.append(Visitor(browser, str(address), language, size, **more))
        return visitors[-1]

    yield make
    for each in visitors:
        each.leave()


@pytest.fixture(
    params=[("pt", LAPTOP), ("pt", PHONE), ("en", LAPTOP), ("en", PHONE)],
    ids=["pt-laptop", "pt-phone", "en-laptop", "en-phone"],
)
def everybody(request: pytest.FixtureRequest, visit: Visit) -> Visitor:
    """A visitor of each language with each size."""
    return visit(*request.param)


@pytest.fixture(params=[("pt", LAPTOP), ("en", PHONE)], ids=["pt-laptop", "en-phone"])
def visitor(request: pytest.FixtureRequest, visit: Visit) -> Visitor:
    """A visitor of each language and of each size."""
    return visit(*request.param)
