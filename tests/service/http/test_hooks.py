"""Tests of hooks: request ids, timing, security headers, CORS."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.http_client import Client, make_client
from vitrine.service import Catalogue, ServiceConfig, create_app

ORIGIN = "https://shop.example"


@pytest.fixture
def cors_client(catalogue: Catalogue) -> Client:
    return make_client(create_app(catalogue, ServiceConfig(cors_origins=(ORIGIN,))))


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
def test_a_clients_request_id_is_kept(client: Client, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a b", "ã", "x" * 65, "<script>"])
def test_an_unsafe_request_id_is_replaced(client: Client, given: str) -> None:
    replaced = client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", replaced)


def test_the_time_of_each_stage_is_told(client: Client) -> None:
    timing = client.get("/api/v1/products/p00/similar").headers["Server-Timing"]
    assert re.search(r"\bsearch;dur=[0-9.]+", timing)
    assert re.search(r"\btotal;dur=[0-9.]+$", timing)


def test_pages_of_configured_origins_may_read(cors_client: Client) -> None:
    reply = cors_client.get("/api/v1/status", headers={"Origin": ORIGIN})
    assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Origin" in reply.headers["Vary"]


def test_other_origins_may_not_read(cors_client: Client) -> None:
    reply = cors_client.get("/api/v1/status", headers={"Origin": "https://other.example"})
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert "Origin" in reply.headers["Vary"]


def test_a_preflight_is_answered_without_a_body(cors_client: Client) -> None:
    reply = cors_client.options("/api/v1/status", headers={"Origin": ORIGIN})
    assert (reply.status_code, reply.data) == (204, b"")
    assert reply.headers["Access-Control-Max-Age"] == "600"


def test_requests_outside_the_blueprint_get_the_same_headers(app: Flask) -> None:
    reply = app.test_client().get("/nothing-here")
    assert reply.status_code == 404
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Request-ID" in reply.headers
