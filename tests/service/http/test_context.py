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


def test_a_prefix_may_have_variables(catalogue: Catalogue) -> None:
    app = Flask("host")
    app.register_blueprint(create_blueprint(catalogue, ServiceConfig()), url_prefix="/<tenant>/<int:shop>/v")
    client = app.test_client()
    for prefix in ("/acme/1/v", "/zeta/22/v"):
        product = client.get(f"{prefix}/api/v1/products/p00").get_json()
        assert product["image_url"] == f"{prefix}/api/v1/products/p00/image"
        similar = client.get(f"{prefix}/api/v1/products/p00/similar").get_json()
        assert all(hit["image_url"].startswith(f"{prefix}/api/v1/") for hit in similar["hits"])
        page = client.get(f"{prefix}/product/p00")
        assert page.status_code == 200
        assert f'href="{prefix}/static/' in page.text
        assert f'src="{prefix}/static/' in page.text
        with client.get(f"{prefix}/static/js/core.js") as script:
            assert script.status_code == 200
        assert client.get(f"{prefix}/api/v1/nothing").status_code == 404
        assert client.get(f"{prefix}/openapi.json").get_json()["servers"] == [{"url": prefix}]
        assert client.delete(f"{prefix}/api/v1/products/p03").status_code == 200
        assert client.post(f"{prefix}/api/v1/undo").status_code == 200
        for path in (
            "/",
            "/categories",
            "/map",
            "/trash",
            "/status",
            "/quality",
            "/photo",
            "/upload",
            "/embed",
        ):
            assert client.get(prefix + path).status_code == 200, path
