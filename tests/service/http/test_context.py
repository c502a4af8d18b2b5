"""Tests of context: one service mounted at several prefixes."""

from __future__ import annotations

from flask import Flask

from vitrine.service import Catalogue, ServiceConfig, create_blueprint


def test_picture_urls_begin_with_the_prefix_of_the_request(catalogue: Catalogue) -> None:
    blueprint = create_blueprint(catalogue, ServiceConfig())
    app = Flask("host")
    app.register_blueprint(blueprint, url_prefix="/visual")
    app.register_blueprint(blueprint, url_prefix="/outlet/visual")
    client = app.test_client()
    for prefix in ("/visual", "/outlet/visual"):
        product = client.get(f"{prefix}/api/v1/products/p00").get_json()
        assert product["image_url"] == f"{prefix}/api/v1/products/p00/image"
        assert client.get(product["image_url"]).status_code == 200


def test_a_script_name_of_the_server_is_part_of_the_prefix(app: Flask) -> None:
    reply = app.test_client().get("/api/v1/products/p00", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert reply.get_json()["image_url"] == "/shop/api/v1/products/p00/image"


def test_two_services_share_nothing(catalogue: Catalogue) -> None:
    first, second = (create_blueprint(catalogue, ServiceConfig()).service for _ in range(2))
    assert first.catalogue is second.catalogue
    assert first.metrics is not second.metrics
    assert first.rates is not second.rates
    assert first.admission is not second.admission
