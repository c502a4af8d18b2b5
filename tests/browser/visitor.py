"""Somebody with a browser: reads one language, has one size of screen, and complains of what goes wrong."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.waiting import LIMIT_MS, LIMIT_S
from vitrine.service.gallery.languages import catalogue_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Request, Response

LAPTOP = (1366, 768)
PHONE = (390, 844)
LOCALES = {"pt": "pt-BR", "en": "en-US"}
# What a software WebGL says about itself is no mistake of a page.
HARMLESS = re.compile(r"GPU stall due to ReadPixels|WebGL|Automatic fallback to software")


class Visitor:
    """One browser context with one page. `expected` are statuses that the test provokes."""

    def __init__(
        self, browser: Browser, address: str, language: str, size: tuple[int, int], **context: Any
    ) -> None:
        """Open a context; `context` is passed on to the browser."""
        width, height = size
        phone = size == PHONE
        self.language, self.address, self.is_phone = language, address, phone
        self.host = urlsplit(address).netloc
        self.mistakes: list[str] = []
        self.expected: set[int] = set()
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            locale=LOCALES[language],
            has_touch=phone,
            is_mobile=phone,
            base_url=address,
            **context,
        )
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        self.page = self.context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.mistakes.append(f"script: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)

    def _on_console(self, message: Any) -> None:
        is_provoked = "Failed to load resource" in message.text and self.expected
        if message.type in ("error", "warning") and not HARMLESS.search(message.text) and not is_provoked:
            self.mistakes.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.mistakes.append(f"another host: {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.mistakes.append(f"{response.status}: {response.url}")
        if response.headers.get("content-type", "").startswith("text/html"):
            policy = response.headers.get("content-security-policy", "")
            if "'unsafe-" in policy or "default-src 'none'" not in policy:
                self.mistakes.append(f"lax policy: {response.url}: {policy}")

    def say(self, text: str, **values: Any) -> str:
        """Return a text of the gallery in this visitor's language."""
        said = text if self.language == "en" else str(catalogue_of(self.language).ugettext(text))
        return said % values if values else said

    def go(self, path: str = "/") -> None:
        """Open a page and wait until its scripts have run."""
        self.page.goto(path)
        self.page.wait_for_load_state("networkidle")

    def see(self, selector: str) -> Locator:
        """Return what is on the page, waited for."""
        found = self.page.locator(selector)
        found.first.wait_for()
        return found

    def button(self, text: str, **values: Any) -> Locator:
        """Return a button by what it says."""
        return self.page.get_by_role("button", name=self.say(text, **values), exact=True)

    def names(self, place: str = ".grid") -> list[str]:
        """Return the names of the products shown in a place."""
        return self.texts(f"{place} .card:not([hidden]) .card-name")

    def texts(self, selector: str) -> list[str]:
        """Return the texts of elements, those too that are not painted yet."""
        return [text.strip() for text in self.page.locator(selector).all_text_contents()]

    def api(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the service beside the browser."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/v1{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    def leave(self) -> None:
        """Close, and fail for what went wrong."""
        self.context.close()
        assert not self.mistakes, "\n".join(self.mistakes)
