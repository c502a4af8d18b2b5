"""Tests of app: the blueprint in a host application, at any prefix, several times, behind a login."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, Request, Response, abort, request

from tests.http_client import assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct, publish_samples
from vitrine.service import Catalogue, ServiceConfig, create_app, create_blueprint

CONFIG = ServiceConfig()


def test_two_catalogues_live_in_one_application(
    catalogue: Catalogue, tmp_path: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    publish_samples(tmp_path / "other", samples[:4], small_source)
    with Catalogue.open(tmp_path / "other", embedder=GridEmbedder()) as other:
        app = Flask("shop")
        app.register_blueprint(create_blueprint(catalogue, CONFIG), url_prefix="/visual")
        app.register_blueprint(create_blueprint(other, CONFIG), url_prefix="/outlet/visual")
        client = make_client(app)
        one = client.get("/visual/api/v1/products/p00/similar?limit=50").json
        two = client.get("/outlet/visual/api/v1/products/p00/similar?limit=50").json
        assert (one["returned"], two["returned"]) == (11, 3)
        assert one["hits"][0]["image_url"].startswith("/visual/api/v1/products/p")
        assert client.get(two["hits"][0]["image_url"]).status_code == 200
        client.delete("/visual/api/v1/products/p01")
        assert client.get("/outlet/visual/api/v1/products/p01").status_code == 200
        assert client.get("/outlet/visual/openapi.json").json["servers"] == [{"url": "/outlet/visual"}]
        assert {"vitrine", "vitrine-2"} <= set(app.blueprints)


def test_one_blueprint_can_be_mounted_twice(catalogue: Catalogue) -> None:
    app, blueprint = Flask("shop"), create_blueprint(catalogue, CONFIG)
    app.register_blueprint(blueprint, url_prefix="/a")
    app.register_blueprint(blueprint, url_prefix="/b")
    client = make_client(app)
    for prefix in ("/a", "/b"):
        hits = client.get(f"{prefix}/api/v1/products/p00/similar").json["hits"]
        assert hits[0]["image_url"].startswith(f"{prefix}/api/")


def test_the_hosts_own_prefix_is_part_of_every_url(catalogue: Catalogue) -> None:
    app = Flask("shop")
    app.register_blueprint(create_blueprint(catalogue, CONFIG), url_prefix="/visual")
    answer = make_client(app).get("/visual/api/v1/products/p00", base_url="http://localhost/shop").json
    assert answer["image_url"] == "/shop/visual/api/v1/products/p00/image"


def test_the_hosts_errors_stay_the_hosts(catalogue: Catalogue) -> None:
    app = Flask("shop")

    @app.get("/mine")
    def mine() -> str:
        abort(404)

    app.register_blueprint(create_blueprint(catalogue, CONFIG), url_prefix="/visual")
    client = make_client(app)
    assert client.get("/mine").mimetype == "text/html"
    assert client.get("/nothing").mimetype == "text/html"
    assert "X-Request-ID" not in client.get("/nothing").headers
    assert_problem(client.get("/visual/api/v1/nothing"), 404, "not-found")
    assert_problem(client.delete("/visual/api/v1/status"), 405, "method-not-allowed")


def test_the_hosts_login_stands_in_front(catalogue: Catalogue) -> None:
    app = Flask("shop")
    blueprint = create_blueprint(catalogue, CONFIG, before_write=lambda request: request.headers["X-User"])

    @blueprint.before_request
    def log_in() -> Response | None:
        return None if "X-User" in request.headers else Response("log in", 401)

    app.register_blueprint(blueprint, url_prefix="/visual")
    client = make_client(app)
    assert client.get("/visual/api/v1/status").status_code == 401
    user = {"X-User": "ana", "Host": "shop.example"}
    assert client.get("/visual/api/v1/status", headers=user).status_code == 200
    assert client.delete("/visual/api/v1/products/p00", headers=user).status_code == 200
    changes = client.get("/visual/api/v1/changes", headers=user).json["changes"]
    assert changes[0]["actor"] == "ana"


def test_a_hook_of_the_host_that_comes_first_is_answered_safely(catalogue: Catalogue) -> None:
    app = Flask("shop")

    @app.before_request
    def refuse() -> Response:
        return Response("closed", 503)

    app.register_blueprint(create_blueprint(catalogue, CONFIG))
    response = make_client(app).get("/api/v1/status")
    assert (response.status_code, response.data) == (503, b"closed")
    assert response.headers["X-Request-ID"]


def test_a_blueprint_opens_its_folder_itself(small_index: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VITRINE_INDEX", str(small_index))
    app = Flask("shop")
    blueprint = create_blueprint()
    app.register_blueprint(blueprint)
    with blueprint.catalogue as catalogue:
        assert make_client(app).get("/api/v1/status").json["products"] == 12
        assert catalogue.follower.folder.root == small_index


def test_a_rule_for_writes_sees_the_request(catalogue: Catalogue) -> None:
    seen: list[str] = []

    def rule(asked: Request) -> str:
        seen.append(f"{asked.method} {asked.path}")
        return "host"

    app = Flask("shop")
    app.register_blueprint(create_blueprint(catalogue, CONFIG, before_write=rule), url_prefix="/v")
    client = make_client(app)
    client.get("/v/api/v1/products/p00")
    client.delete("/v/api/v1/products/p00")
    assert seen == ["DELETE /v/api/v1/products/p00"]


def test_forwarded_headers_are_trusted_only_from_configured_proxies(catalogue: Catalogue) -> None:
    headers = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Prefix": "/visual",
        "X-Forwarded-Host": "shop.example",
    }
    path = "/api/v1/products/p00"
    behind = make_client(create_app(catalogue, ServiceConfig(proxies=1, read_only=True)))
    assert behind.get(path, headers=headers).json["image_url"].startswith("/visual/api/")
    alone = make_client(create_app(catalogue, ServiceConfig(read_only=True)))
    assert alone.get(path, headers=headers).json["image_url"].startswith("/api/")
