"""Tests of the API over HTTP: strict parsing, statuses, headers, ETags, problems of the framework.

Covers the operations (images, products, searches, state, quality), their declaration in operations, their
views in routes, parsing in reading, and the routes of system.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.http_client import Client, Response, assert_problem, make_client
from tests.indexes import SampleProduct
from tests.pictures import huge_png, jpeg
from vitrine.service import Catalogue, ServiceConfig, create_app

API = "/api/v1"
SIMILAR = f"{API}/products/p00/similar"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", f"{API}/nothing", 404, "not-found"),
        ("GET", f"{API}/products/p00/nothing", 404, "not-found"),
        ("DELETE", f"{API}/status", 405, "method-not-allowed"),
        ("PUT", f"{API}/products/p00", 405, "method-not-allowed"),
        ("POST", "/healthz", 405, "method-not-allowed"),
        ("GET", f"{API}/products/..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("GET", "/docs/../cli.py", 404, "not-found"),
        ("GET", "/docs/index.html", 404, "not-found"),
    ],
)
def test_errors_of_the_framework_are_problems(
    client: Client, method: str, path: str, status: int, kind: str
) -> None:
    response = client.open(path, method=method)
    assert_problem(response, status, kind)
    if status == 405:
        assert response.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b'{"product": "p00"}', "text/plain", 415, "unsupported-body"),
        (b"", "application/json", 400, "malformed-request"),
        (b"[1]", "application/json", 400, "malformed-request"),
        (b'{"product": "p00"', "application/json", 400, "malformed-request"),
        (b'{"vector": [NaN]}', "application/json", 400, "malformed-request"),
        (b'{"min_score": Infinity, "product": "p00"}', "application/json", 400, "malformed-request"),
        (b'{"product": "p00", "product": "p01"}', "application/json", 400, "malformed-request"),
        (b'{"product": "\\ud800"}', "application/json", 400, "malformed-request"),
        (b'{"product": "\xff"}', "application/json", 400, "malformed-request"),
        (b"[" * 100_000, "application/json", 400, "malformed-request"),
        (b'{"vector": [' + b"9" * 5000 + b"]}", "application/json", 400, "malformed-request"),
    ],
)
def test_json_is_read_strictly(
    client: Client, body: bytes, content_type: str, status: int, kind: str
) -> None:
    assert_problem(client.post(f"{API}/search", data=body, content_type=content_type), status, kind)


def test_a_photo_must_be_multipart(client: Client) -> None:
    assert_problem(
        client.post(f"{API}/search/image", data=jpeg(), content_type="image/jpeg"), 415, "unsupported-body"
    )
    bare = client.post(f"{API}/search/image", data={"limit": "3"}, content_type="multipart/form-data")
    assert_problem(bare, 400, "malformed-request")
    two = {"image": [(io.BytesIO(jpeg()), "a.jpg"), (io.BytesIO(jpeg()), "b.jpg")]}
    assert_problem(client.post(f"{API}/search/image", data=two), 400, "malformed-request")
    other = {"image": (io.BytesIO(jpeg()), "a.jpg"), "more": (io.BytesIO(b"x"), "b.jpg")}
    assert_problem(client.post(f"{API}/search/image", data=other), 400, "malformed-request")
    cut = client.post(
        f"{API}/search/image", data=b"--x\r\nbroken", content_type="multipart/form-data; boundary=x"
    )
    assert_problem(cut, 400, "malformed-request")


def test_a_file_name_is_never_used(client: Client, small_index: Any) -> None:
    form = {
        "image": (io.BytesIO(jpeg(40, 40, 9)), '../../evil".jpg\r\nX-Bad: 1'),
        "name": "n",
        "category": "c",
    }
    response = client.post(f"{API}/products", data=form)
    assert response.status_code == 201
    assert "X-Bad" not in response.headers
    stored = [path.name for path in (small_index / "uploads").iterdir()]
    assert len(stored) == 1
    assert len(stored[0]) == 64 + len(".jpg")


@pytest.mark.parametrize("name", ["image", "request", "self", "id", "by", "crop", "options", "named"])
def test_parameter_names_are_never_python_arguments(client: Client, name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(jpeg())
    assert_problem(client.post(f"{API}/search", json={name: str(secret)}), 400, "malformed-request")
    assert_problem(client.get(f"{SIMILAR}?{name}=x"), 400, "malformed-request")
    assert_problem(client.get(f"{API}/products/p00/image?{name}=x"), 400, "malformed-request")
    assert_problem(client.get(f"{API}/products/p00?{name}=x"), 400, "malformed-request")
    assert_problem(client.post(f"{API}/search/batch", json={name: []}), 400, "malformed-request")


def test_options_lists_the_methods_of_a_path(client: Client) -> None:
    for path, allowed in (
        (SIMILAR, "GET, HEAD, OPTIONS"),
        (f"{API}/products/p00", "DELETE, GET, HEAD, OPTIONS"),
    ):
        response = client.options(path)
        assert (response.status_code, response.headers["Allow"]) == (204, allowed)
    assert_problem(client.options(f"{API}/nothing"), 404, "not-found")


def test_a_repeated_value_is_refused_and_an_empty_one_is_absent(client: Client) -> None:
    assert_problem(client.get(f"{SIMILAR}?limit=1&limit=2"), 400, "malformed-request")
    response = client.get(f"{API}/products?q=&category=&deleted=false&limit=&offset=")
    assert (response.status_code, response.json["total"]) == (200, 12)
    both = client.get(f"{SIMILAR}?category=bolsa&category=t%C3%AAnis&limit=20").json
    assert {hit["category"] for hit in both["hits"]} == {"bolsa", "tênis"}


def test_a_body_past_the_limit_is_413(catalogue: Catalogue) -> None:
    client = make_client(create_app(catalogue, ServiceConfig(max_body="2KB")))
    assert_problem(client.post(f"{API}/search", json={"text": "x" * 3000}), 413, "too-large")
    form = {"image": (io.BytesIO(b"x" * 3000), "a.jpg")}
    assert_problem(client.post(f"{API}/search/image", data=form), 413, "too-large")
    streamed = client.post(
        f"{API}/search",
        input_stream=io.BytesIO(b"{" * 5000),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert_problem(streamed, 413, "too-large")


def test_a_bomb_is_413(client: Client) -> None:

    form = {"image": (io.BytesIO(huge_png()), "a.png")}
    assert_problem(client.post(f"{API}/search/image", data=form), 413, "too-large")


def test_an_unexpected_error_is_500_without_details(
    app: Flask, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("vitrine.service.catalogue.catalogue.recommend", broken)
    with caplog.at_level(logging.ERROR, logger="vitrine.service"):
        response = make_client(app).get(SIMILAR)
    body = assert_problem(response, 500, "internal-error")
    assert "secret" not in str(body)
    assert "the secret inside" in caplog.text


def test_a_valid_request_id_is_kept(client: Client) -> None:
    assert client.get(SIMILAR, headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    assert client.get(SIMILAR, headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"] != "a b\tc"
    client.delete(f"{API}/products/p00", headers={"X-Request-ID": "who-did-it"})
    assert client.get(f"{API}/changes").json["changes"][0]["request"] == "who-did-it"


def test_every_answer_has_timing_and_security_headers(client: Client) -> None:
    for path in (SIMILAR, "/nothing", f"{API}/products/p00/image", "/docs"):
        headers = client.get(path).headers
        assert "total;dur=" in headers["Server-Timing"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
    assert "search;dur=" in client.get(SIMILAR).headers["Server-Timing"]


def test_an_etag_answers_304_until_something_changes(client: Client) -> None:
    first = client.get(SIMILAR)
    tag = first.headers["ETag"]
    again = client.get(SIMILAR, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag
    client.delete(f"{API}/products/p11")
    changed = client.get(SIMILAR, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_head_answers_like_get_without_a_body(client: Client) -> None:
    response = client.head(SIMILAR)
    assert (response.status_code, response.data) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100


def test_cors_is_off_unless_origins_are_named(client: Client, catalogue: Catalogue) -> None:
    origin = {"Origin": "https://shop.example"}
    assert "Access-Control-Allow-Origin" not in client.get(SIMILAR, headers=origin).headers
    shop = make_client(create_app(catalogue, ServiceConfig(cors_origins=("https://shop.example",))))
    assert shop.get(SIMILAR, headers=origin).headers["Access-Control-Allow-Origin"] == "https://shop.example"
    other = shop.get(SIMILAR, headers={"Origin": "https://evil.example"}).headers
    assert "Access-Control-Allow-Origin" not in other
    assert "Origin" in other["Vary"]
    preflight = shop.options(f"{API}/search", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204
    assert "DELETE" not in preflight.headers["Access-Control-Allow-Methods"]
    assert_problem(shop.delete(f"{API}/products/p00", headers=origin), 403, "write-forbidden")


def test_the_rate_limit_counts_each_client(catalogue: Catalogue) -> None:
    client = make_client(create_app(catalogue, ServiceConfig(rate_limit="2/hour")))
    assert [client.get(SIMILAR).status_code for _ in range(2)] == [200, 200]
    refused = client.get(SIMILAR)
    assert_problem(refused, 429, "too-many-requests")
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get(SIMILAR, environ_base={"REMOTE_ADDR": "127.0.0.2"}).status_code == 200


def test_health_readiness_and_metrics(client: Client) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json["status"] == "ready"
    client.get(SIMILAR)
    client.get(f"{API}/products/nope")
    text = client.get("/metrics").text
    for line in (
        'vitrine_request_seconds_count{method="GET",route="/api/v1/products/<id>/similar",status="200"} 1.0',
        'vitrine_stage_seconds_count{stage="search"} 1.0',
        'vitrine_problems_total{type="unknown-product"} 1.0',
        "vitrine_products_live 12.0",
        "vitrine_ready 1.0",
        "vitrine_journal_lag 0.0",
    ):
        assert line in text
    assert "vitrine_snapshot_age_seconds" in text


def test_two_services_in_one_process_count_apart(catalogue: Catalogue) -> None:
    one, other = (make_client(create_app(catalogue, ServiceConfig())) for _ in range(2))
    one.get(SIMILAR)
    assert "similar" in one.get("/metrics").text
    assert "similar" not in other.get("/metrics").text


def test_an_upload_answers_its_location(client: Client) -> None:
    form = {
        "image": (io.BytesIO(jpeg(40, 40, 3)), "a.jpg"),
        "name": "Novo",
        "category": "bolsa",
        "id": "a b?c",
    }
    response = client.post(f"{API}/products", data=form)
    assert response.status_code == 201
    assert response.headers["Location"] == f"{API}/products/a%20b%3Fc"
    assert client.get(response.headers["Location"]).json["id"] == "a b?c"
    assert client.get(response.json["image_url"]).status_code == 200


def test_names_with_markup_stay_text(client: Client) -> None:
    form = {
        "image": (io.BytesIO(jpeg(40, 40, 3)), "a.jpg"),
        "name": "<script>alert(1)</script>",
        "category": "c",
    }
    created = client.post(f"{API}/products", data=form)
    assert created.mimetype == "application/json"
    assert created.json["name"] == "<script>alert(1)</script>"


def test_the_same_idempotency_key_writes_once(client: Client, samples: list[SampleProduct]) -> None:
    def upload(key: str, name: str = "Novo") -> Response:
        form = {"image": (io.BytesIO(jpeg(40, 40, 3)), "a.jpg"), "name": name, "category": "bolsa"}
        return client.post(f"{API}/products", data=form, headers={"Idempotency-Key": key})

    first, again = upload("k1"), upload("k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert client.get(f"{API}/status").json["products"] == len(samples) + 1
    assert_problem(upload("k1", "Outro"), 409, "idempotency-key-reused")
    assert upload("k2").json["id"] != first.json["id"]
    assert_problem(upload("k" * 256), 400, "malformed-request")
    key = {"Idempotency-Key": "d1"}
    deleted = client.delete(f"{API}/products/p00", headers=key)
    assert client.delete(f"{API}/products/p00", headers=key).json == deleted.json
    assert_problem(client.delete(f"{API}/products/p00"), 410, "deleted-product")


def test_the_log_has_one_line_per_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="vitrine.service.requests"):
        client.get(SIMILAR, headers={"Authorization": "Bearer hidden-key", "X-Request-ID": "r1"})
    fields = caplog.records[-1].vitrine_fields  # type: ignore[attr-defined]
    assert (fields["request_id"], fields["status"], fields["path"]) == ("r1", 200, SIMILAR)
    assert "hidden-key" not in str(fields)
