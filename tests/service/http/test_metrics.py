"""Tests of metrics: counts of requests and problems, gauges of the catalogue."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.http_client import Client, make_client
from vitrine.service import Catalogue, ServiceConfig, create_app


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample by its name and sorted labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in families
        for each in family.samples
    }


def test_requests_are_counted_by_route_not_by_path(client: Client) -> None:
    for product_id in ("p00", "p01", "p02"):
        client.get(f"/api/v1/products/{product_id}")
    labels = (("method", "GET"), ("route", "/api/v1/products/<id>"), ("status", "200"))
    assert samples(client)["vitrine_request_seconds_count", labels] == 3


def test_problems_are_counted_by_type(client: Client) -> None:
    client.get("/api/v1/products/unknown")
    client.get("/api/v1/products/unknown/similar")
    assert samples(client)["vitrine_problems_total", (("type", "unknown-product"),)] == 2


def test_the_state_of_the_catalogue_is_read_at_the_scrape(catalogue: Catalogue) -> None:
    client = make_client(create_app(catalogue, ServiceConfig()))
    before = samples(client)
    assert before["vitrine_ready", ()] == 1
    assert client.delete("/api/v1/products/p00").status_code == 200
    after = samples(client)
    assert after["vitrine_products_live", ()] == before["vitrine_products_live", ()] - 1
    assert after["vitrine_products_deleted", ()] == before["vitrine_products_deleted", ()] + 1
    assert after["vitrine_journal_lag", ()] == before["vitrine_journal_lag", ()] + 1
