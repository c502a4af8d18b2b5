"""Tests of picture decoding against Chromium: damaged files are decoded alike, or refused as incomplete."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.pictures import VALID_PICTURES
from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures.preprocessing import open_picture

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "avif")
NAMES = [name for name in VALID_PICTURES if name.split("-")[0] in FORMATS]
SAMPLE = 200
MIN_AGREEMENT = 0.97
# Draws a picture on white and returns its pixels; null if Chromium cannot decode it.
DRAW = """async (address) => {
  const image = new Image(), canvas = document.createElement("canvas");
  image.src = address;
  try { await image.decode(); } catch { return null; }
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  if (!canvas.width || canvas.width * canvas.height > 1e6) return null;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return [canvas.width, canvas.height, btoa(text)];
}"""
Pixels = NDArray[np.float64]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


def damage(data: bytes, numbers: random.Random) -> bytes:
    """Return a file with bits flipped, bytes changed, zeroed, repeated, inserted or removed, or cut off."""
    damaged, size = bytearray(data), len(data)
    start = numbers.randrange(1, size)
    match numbers.choice(["flip", "change", "zero", "repeat", "insert", "remove", "cut"]):
        case "flip":
            damaged[start] ^= 1 << numbers.randrange(8)
        case "change":
            damaged[start] = numbers.randrange(256)
        case "zero":
            damaged[start : start + 16] = bytes(len(damaged[start : start + 16]))
        case "repeat":
            damaged[start:start] = damaged[start : start + numbers.randrange(1, 64)]
        case "insert":
            damaged[start:start] = numbers.randbytes(numbers.randrange(1, 16))
        case "remove":
            del damaged[start : start + numbers.randrange(1, 16)]
        case _:
            del damaged[start:]
    return bytes(damaged)


def drawn(page: Page, name: str, data: bytes) -> Pixels | None:
    """Return (H, W, 3) as Chromium shows a file, None if it shows nothing."""
    address = f"data:image/{name.split('-')[0]};base64,{base64.b64encode(data).decode()}"
    answer = page.evaluate(DRAW, address)
    if answer is None:
        return None
    width, height, text = answer
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
    return pixels[..., :3].astype(np.float64)


def decoded(data: bytes) -> Pixels | None:
    try:
        return np.asarray(open_picture(data)).astype(np.float64)
    except PictureError:
        return None


def are_alike(one: Pixels | None, other: Pixels | None, tolerance: float) -> bool:
    if one is None or other is None:
        return False
    return one.shape == other.shape and float(np.abs(one - other).mean()) < tolerance


def test_whole_pictures_look_as_in_chromium(page: Page) -> None:
    for name in NAMES:
        data = VALID_PICTURES[name]()
        assert are_alike(decoded(data), drawn(page, name, data), 16), name


def test_damaged_pictures_are_shown_as_in_chromium_or_are_incomplete_there(page: Page) -> None:
    """What is decoded looks as in Chromium; what is refused is not the whole picture in Chromium either."""
    numbers = random.Random(7)
    whole: dict[str, Pixels | None] = {}
    disagreements = []
    for _ in range(SAMPLE):
        name = numbers.choice(NAMES)
        if name not in whole:
            whole[name] = drawn(page, name, VALID_PICTURES[name]())
        data = damage(VALID_PICTURES[name](), numbers)
        ours, theirs = decoded(data), drawn(page, name, data)
        agrees = are_alike(ours, theirs, 16) if ours is not None else not are_alike(theirs, whole[name], 1)
        if not agrees:
            disagreements.append(name)
    assert len(disagreements) <= SAMPLE * (1 - MIN_AGREEMENT), disagreements
