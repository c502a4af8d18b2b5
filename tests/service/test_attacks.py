"""Tests of hostile clients and full disks: clear refusals, never a 500, nothing outside the folder."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st

from tests.disks import fill_disk
from tests.fuzzing import FUZZED
from tests.http_client import Client, assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct
from tests.pictures import huge_png, jpeg, png
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.errors import Refused
from vitrine.service.http.auth import Guard

API = "/api/v1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "product",
        "products",
        "vector",
        "text",
        "limit",
        "offset",
        "where",
        "category",
        "exclude",
        "min_score",
        "image",
    ]
)


def svg() -> bytes:
    return b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def gif_that_is_script() -> bytes:
    return b"GIF89a/*" + b"\x00" * 20 + b"*/=1;alert(1)//"


def tiff_of_a_gigapixel() -> bytes:
    header = b"II*\x00\x08\x00\x00\x00\x02\x00"
    width = b"\x00\x01\x04\x00\x01\x00\x00\x00\x00\x80\x00\x00"
    height = b"\x01\x01\x04\x00\x01\x00\x00\x00\x00\x80\x00\x00"
    return header + width + height + b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (svg(), {415}),
        (gif_that_is_script(), {415}),
        (huge_png(), {413}),
        (tiff_of_a_gigapixel(), {413, 415}),
        (b"%PDF-1.7\n" + jpeg(), {415}),
        (b"<html><script>1</script></html>", {415}),
        (jpeg()[:-40] + b"\xff" * 40, {200, 415}),
    ],
)
def test_what_pretends_to_be_a_picture_is_refused(client: Client, data: bytes, statuses: set[int]) -> None:
    form = {"image": (io.BytesIO(data), "a.jpg", "image/jpeg")}
    assert client.post(f"{API}/search/image", data=form).status_code in statuses


def test_a_polyglot_is_sent_back_as_a_picture_only(client: Client) -> None:
    polyglot = jpeg(40, 40, 1) + b"<script>alert(1)</script>"
    form = {"image": (io.BytesIO(polyglot), "x.html", "text/html"), "name": "n", "category": "c"}
    sent = client.get(client.post(f"{API}/products", data=form).json["image_url"])
    assert sent.mimetype == "image/jpeg"
    assert sent.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in sent.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name", ["../p00", "..%2fp00", "%2e%2e", "p00%00", "p00%0d%0aX-Bad:1", "C:%5cp00", "%ff"]
)
def test_strange_ids_reach_no_file(client: Client, name: str) -> None:
    for path in (f"/products/{name}", f"/products/{name}/image", f"/products/{name}/similar"):
        response = client.get(API + path)
        assert response.status_code == 404
        assert "X-Bad" not in response.headers


@FUZZED
@given(data=st.binary(max_size=200), cut=st.integers(0, 3000), at=st.integers(0, 3000))
def test_no_picture_makes_the_service_fail(client: Client, data: bytes, cut: int, at: int) -> None:
    for whole in (jpeg(40, 40, 1), png(40, 40, 1)):
        damaged = whole[: at % len(whole)] + data + whole[cut % len(whole) :]
        response = client.post(f"{API}/search/image", data={"image": (io.BytesIO(damaged), "a")})
        assert response.status_code in (200, 400, 413, 415)


@FUZZED
@given(body=st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=4))
def test_no_body_makes_the_service_fail(client: Client, body: dict[str, Any]) -> None:
    for path in ("/search", "/search/batch", "/products/delete"):
        assert client.post(API + path, json=body).status_code < 500
    response = client.post(f"{API}/search/batch", json={"searches": [body]})
    assert response.status_code in (200, 400, 422)


@FUZZED
@given(body=st.binary(max_size=300))
def test_no_bytes_make_the_service_fail(client: Client, body: bytes) -> None:
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        for path in ("/search", "/search/image", "/products"):
            assert client.post(API + path, data=body, content_type=kind).status_code in (400, 413, 415, 422)


@FUZZED
@given(
    query=st.dictionaries(
        NAMES | st.sampled_from(["q", "deleted", "a", "b", "fit", "size"]), st.text(), max_size=4
    )
)
def test_no_query_makes_the_service_fail(client: Client, query: dict[str, str]) -> None:
    for path in ("/products", "/products/p00/similar", "/categories/matrix/pairs", "/projection", "/changes"):
        assert client.get(API + path, query_string=query).status_code < 500


@FUZZED
@given(name=st.text(max_size=40), category=st.text(max_size=40), id=st.text(max_size=12), attributes=JSON)
def test_no_upload_makes_the_service_fail(
    client: Client, name: str, category: str, id: str, attributes: Any
) -> None:
    form = {"name": name, "category": category, "id": id, "attributes": json.dumps(attributes)}
    response = client.post(f"{API}/products", data={**form, "image": (io.BytesIO(jpeg(40, 40, 1)), "a")})
    assert response.status_code in (201, 400, 409, 422)
    if response.status_code == 201:
        assert client.get(response.json["image_url"]).status_code == 200
        assert client.get(response.headers["Location"]).json == response.json


def test_ten_thousand_wrong_keys_open_nothing() -> None:
    guard = Guard.from_config(ServiceConfig(api_keys=("the-right-key",)))
    refusals: Counter[str] = Counter()
    for number in range(10_000):
        environ = {
            "REMOTE_ADDR": f"10.0.0.{number % 250}",
            "HTTP_AUTHORIZATION": f"Bearer the-right-ke{number}",
        }
        try:
            guard.check_write(Request(environ))
        except Refused as error:
            refusals[type(error).__name__] += 1
    assert refusals == {"KeyRequired": 250 * 30, "TooManyRequests": 250 * 10}
    right = {"REMOTE_ADDR": "10.0.1.1", "HTTP_AUTHORIZATION": "Bearer the-right-key"}
    assert guard.check_write(Request(right)) == "key-1"


def test_a_full_disk_refuses_writes_and_loses_nothing(
    small_disk: Path, small_index: Path, samples: list[SampleProduct]
) -> None:
    index = Path(shutil.copytree(small_index, small_disk / "index"))
    with Catalogue.open(index, embedder=GridEmbedder()) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        assert client.delete(f"{API}/products/p00").status_code == 200
        filler = small_disk / "filler"
        fill_disk(filler)
        form = {"image": (io.BytesIO(jpeg(200, 200, 5)), "a.jpg"), "name": "n", "category": "c"}
        assert_problem(client.post(f"{API}/products", data=form), 507, "storage-full")
        full = [client.delete(f"{API}/products/p{number:02d}").status_code for number in range(1, 12)]
        assert set(full) <= {200, 507}
        assert client.get(f"{API}/products/p03/image?size=64").status_code == 200
        deleted = {f"p{number:02d}" for number, status in enumerate(full, 1) if status == 200} | {"p00"}
        filler.unlink()
        form = {"image": (io.BytesIO(jpeg(200, 200, 5)), "a.jpg"), "name": "n", "category": "c"}
        assert client.post(f"{API}/products", data=form).status_code == 201
    with Catalogue.open(index, embedder=GridEmbedder()) as catalogue:
        found = {each["id"] for each in catalogue.products(deleted=True)["products"]}
        assert found == deleted
        assert catalogue.products()["total"] == 13 - len(deleted)
