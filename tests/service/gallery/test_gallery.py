"""Tests of the gallery without a browser: contents, mount points, refused requests.

Covers the pages in assets, categories, maps, photos, quality, shop and state, their views in routes, and the
texts of confidence, messages and snippets.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask_babel import Babel

from tests.http_client import Client, make_client
from tests.indexes import SampleProduct
from tests.paths import ROOT
from vitrine.service import Catalogue, ServiceConfig, create_app, create_blueprint
from vitrine.service.gallery.categories import arrange
from vitrine.service.gallery.confidence import verdict
from vitrine.service.gallery.languages import use_language
from vitrine.service.gallery.maps import encode_points
from vitrine.service.gallery.photos import propose_name, vote
from vitrine.service.gallery.shop import interleave_categories
from vitrine.service.gallery.snippets import snippets_for

PAGES = (
    "/", "/grid", "/product/p00", "/product/p00/similar", "/compare?a=p00&b=p01", "/photo", "/upload",
    "/trash", "/categories", "/categories/pairs?a=bolsa&b=relógio", "/map", "/status", "/embed",
)  # fmt: skip
ENGLISH = {"Accept-Language": "en-GB,en;q=0.9,pt;q=0.5"}
PORTUGUESE = {"Accept-Language": "pt-BR,pt;q=0.9"}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_exists_in_both_languages(client: Client, path: str) -> None:
    english, portuguese = client.get(path, headers=ENGLISH), client.get(path, headers=PORTUGUESE)
    assert english.status_code == portuguese.status_code == 200
    assert english.headers["Content-Language"] == "en"
    assert portuguese.headers["Content-Language"] == "pt-BR"
    assert english.text != portuguese.text
    assert "Accept-Language" in english.headers["Vary"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_a_lax_policy_or_another_host(client: Client, path: str) -> None:
    page = client.get(path)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"\sstyle=|\son\w+=|<style", page.text)
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//(?!localhost)""", page.text)
    scripts = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", page.text)
    assert all('type="application/json"' in attributes for attributes in scripts)


def test_the_language_is_that_of_the_switch_then_of_the_browser(client: Client) -> None:
    assert 'lang="en"' in client.get("/", headers={"Accept-Language": "fr"}).text
    switched = client.get("/?q=bolsa&lang=pt", headers=ENGLISH)
    assert switched.status_code == 302
    assert switched.headers["Location"] == "/?q=bolsa"
    assert 'lang="pt-BR"' in client.get("/", headers=ENGLISH).text
    assert client.get("/?lang=xx", headers=ENGLISH).status_code == 302


def test_the_switch_never_leads_to_another_host(client: Client) -> None:
    for path in ("//evil.example/?lang=pt", "/product//evil.example?lang=pt"):
        answer = client.get(path)
        assert not answer.headers.get("Location", "/").startswith("//")


def test_the_window_filters_and_pages(client: Client) -> None:
    page = client.get("/?category=bolsa&category=relógio", headers=ENGLISH).text
    assert page.count('class="card"') == 8
    assert "8 products" in page
    assert client.get("/grid?offset=8").text.count('class="card"') == 4
    assert client.get("/grid?offset=-3").text.count('class="card"') == 12
    assert "Nothing found for “&lt;b&gt;zzz”" in client.get("/?q=<b>zzz", headers=ENGLISH).text


def test_the_window_mixes_the_categories_in_turn(client: Client) -> None:
    shown = re.findall(r'data-product="(p\d+)"', client.get("/").text)
    assert shown == ["p01", "p02", "p00", "p04", "p05", "p03", "p07", "p08", "p06", "p10", "p11", "p09"]
    codes, rows = np.array([1, 0, 0, 0, 1, 2]), np.array([0, 1, 2, 4, 5])
    assert interleave_categories(codes, rows).tolist() == [1, 0, 5, 2, 4]
    assert interleave_categories(codes, rows[:0]).tolist() == []


def test_a_product_page_answers_what_the_api_answers(client: Client) -> None:
    query = "same_category=true&where=%7B%22in_stock%22%3Atrue%7D&diversity=0.5&limit=12"
    expected = [hit["id"] for hit in client.get(f"/api/v1/products/p00/similar?{query}").json["hits"]]
    page = client.get("/product/p00/similar?same_category=1&in_stock=1&diversity=0.5").text
    assert re.findall(r'data-product="(p\d+)"', page) == expected
    assert "same_category=true" in page
    odd = client.get("/product/p00/similar?diversity=lots&limit=-7")
    assert odd.text.count('class="card"') == 1


def test_a_recommendation_names_the_rule_that_placed_it(small_index: Path) -> None:
    rule = "[[pin]]\nname = '<b>Natal</b>'\nshow = {id = 'p11'}\nplace = 1\n"
    (small_index / "rules.toml").write_text(rule)
    with Catalogue.open(small_index) as catalogue:
        page = (
            make_client(create_app(catalogue, ServiceConfig())).get("/product/p00", headers=PORTUGUESE).text
        )
    assert page.count("Colocado aqui pela regra") == 1
    assert "“&lt;b&gt;Natal&lt;/b&gt;”" in page


def test_products_without_a_category_have_a_label_and_a_filter(catalogue: Catalogue) -> None:
    catalogue.move(["p00", "p01"], "")
    web = make_client(create_app(catalogue, ServiceConfig()))
    shop = web.get("/", headers=PORTUGUESE).text
    assert re.search(r'href="/\?category="[^>]*>sem categoria <span class="count">2<', shop)
    chosen = web.get("/grid?category=").text
    assert set(re.findall(r'class="card" data-product="(\w+)"', chosen)) == {"p00", "p01"}
    for path in ("/map", "/compare?a=p00&b=p02", "/categories", "/product/p00"):
        assert "sem categoria" in web.get(path, headers=PORTUGUESE).text, path
    assert "p01" in web.get("/categories/pairs?a=&b=").text
    assert web.get("/api/v1/categories/matrix/pairs?a=&b=bolsa").json["pairs"][0]["a"]["category"] == ""
    assert web.get("/map/points?category=&fit=selection").status_code == 200
    assert web.get("/api/v1/status").json["categories"] == 3


def test_an_unexpected_error_is_a_page(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Catalogue, "quality", fail)
    page = client.get("/quality", headers=PORTUGUESE)
    assert (page.status_code, page.mimetype) == (500, "text/html")
    assert "Algo deu errado" in page.text
    assert "secret" not in page.text
    assert "secret" in caplog.text


def test_unknown_and_deleted_products_have_pages_of_their_own(client: Client) -> None:
    unknown = client.get("/product/nobody", headers=ENGLISH)
    assert unknown.status_code == 404
    assert "This product does not exist" in unknown.text
    assert client.get("/product/nobody", headers={"X-Requested-With": "fetch"}).json["status"] == 404
    client.delete("/api/v1/products/p03")
    deleted = client.get("/product/p03", headers=ENGLISH)
    assert deleted.status_code == 410
    assert "is in the trash" in deleted.text
    assert "p03" in client.get("/trash").text
    assert "was deleted" in client.get("/trash", headers=ENGLISH).text


def test_photo_search_works_without_scripts(client: Client, samples: list[SampleProduct]) -> None:
    def photo(**fields: str) -> dict[str, object]:
        return {"image": (io.BytesIO(samples[4].picture), "x.jpg"), **fields}

    page = client.post("/photo", data=photo(category="bolsa")).text
    assert re.findall(r'data-product="(p\d+)"', page)[0] == "p04"
    part = client.post("/photo/hits", data=photo(crop="0,0,0.5,0.5")).text
    assert part.count('class="card"') == 12
    assert client.post("/photo", data={}).status_code == 422
    bad = {"image": (io.BytesIO(b"no picture"), "x.jpg")}
    assert client.post("/photo", data=bad, headers=ENGLISH).status_code == 415


def test_a_proposal_has_a_name_and_warns_of_a_known_picture(
    client: Client, samples: list[SampleProduct]
) -> None:
    data = {"image": (io.BytesIO(samples[4].picture), "x.jpg"), "filename": "bolsa_couro-02.jpg"}
    found = client.post("/upload/proposal", data=data).json
    assert found["name"] == "Bolsa couro 02"
    assert found["categories"][0]["name"] == "bolsa"
    assert found["is_known"]
    assert found["nearest"]["id"] == "p04"
    assert sum(each["share"] for each in found["categories"]) <= 1.001


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("tenis_azul-01.jpg", "Tenis azul 01"),
        (r"C:\fotos\Óculos redondo.png", "Óculos redondo"),
        ("IMG_20240101.jpg", "Boné"),
        ("DSC00012.JPG", "Boné"),
        ("WhatsApp Image 2024.jpeg", "Boné"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e.png", "Boné"),
        ("123.jpg", "Boné"),
        ("", "Boné"),
    ],
)
def test_a_name_comes_from_the_file_or_from_the_category(filename: str, name: str) -> None:
    assert propose_name(filename, "Boné") == name


def test_votes_of_more_similar_neighbours_weigh_more() -> None:
    hits = [{"category": "a", "score": 0.9}, {"category": "b", "score": 0.6}, {"category": "b", "score": 0.6}]
    votes = vote(hits)
    assert [each.category for each in votes] == ["a", "b"]
    assert sum(each.share for each in votes) == pytest.approx(1)
    assert votes[0].share == pytest.approx(1 / (1 + 2 * np.exp(-3)), rel=1e-6)
    assert vote([]) == []


def test_a_score_has_a_verdict_in_words(app: Flask) -> None:
    with app.test_request_context("/"), use_language("en"):
        assert verdict({"score": 0.97}).word == "almost identical"
        assert verdict({"score": 0.97}).level == 5
        assert verdict({"score": -0.2}).share == 0
        assert verdict({"score": -0.2}).word == "not very similar"
        assert verdict({"score": 0.2, "confidence": 0.95}).word == "almost identical"
        assert verdict({"score": 0.97, "confidence": 0.01}).level == 1


def test_similar_categories_are_neighbours_in_the_heatmap() -> None:
    values = np.array([[1, 0.1, 0.9, 0.2], [0.1, 1, 0.2, 0.8], [0.9, 0.2, 1, 0.1], [0.2, 0.8, 0.1, 1]])
    counts = np.array([3, 9, 1, 5])
    order = arrange(values, counts, "likeness").tolist()
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1
    assert arrange(values, counts, "size").tolist() == [1, 3, 0, 2]
    assert arrange(values, counts, "name").tolist() == [0, 1, 2, 3]
    lonely = values.copy()
    lonely[2, 2] = np.nan
    assert sorted(arrange(lonely, counts, "likeness").tolist()) == [0, 1, 2, 3]


def test_the_heatmap_is_the_matrix_in_another_order(client: Client) -> None:
    matrix = client.get("/api/v1/categories/matrix?linkage=mean").json
    shown = client.get("/categories/heatmap?linkage=mean&order=size").json
    place = {name: number for number, name in enumerate(matrix["categories"])}
    for i, a in enumerate(shown["categories"]):
        for j, b in enumerate(shown["categories"]):
            assert shown["matrix"][i][j] == pytest.approx(matrix["matrix"][place[a]][place[b]], abs=1e-4)
    assert "<table" in shown["table"]
    lines = client.get("/categories/heatmap.csv?order=name").data.decode("utf-8-sig").splitlines()
    assert lines[0] == "category,products,bolsa,relógio,tênis"
    assert lines[1].startswith("bolsa,4,1.0000,")


def test_points_are_the_projection(client: Client, catalogue: Catalogue) -> None:
    points = client.get("/map/points?category=bolsa&fit=selection")
    head, positions, kinds, ids = _decoded(points.data)
    expected = catalogue.projection(dimensions=3, category=["bolsa"], fit="selection")
    assert head["categories"] == ["bolsa"]
    assert ids == [each["id"] for each in expected["points"]]
    assert np.allclose(positions, [[each[axis] for axis in "xyz"] for each in expected["points"]], atol=1e-5)
    assert set(kinds) == {0}
    head, _, kinds, ids = _decoded(encode_points(catalogue.view(), (), "all"))
    assert [head["categories"][kind] for kind in kinds] == [catalogue.product(id)["category"] for id in ids]
    tag = client.get("/map/points").headers["ETag"]
    assert client.get("/map/points", headers={"If-None-Match": tag}).status_code == 304


def _decoded(body: bytes) -> tuple[dict[str, Any], Any, list[int], list[str]]:
    length = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + length])
    count, at = head["count"], 4 + length
    positions = np.frombuffer(body, "<f4", 3 * count, at).reshape(count, 3)
    kinds = np.frombuffer(body, "<u2", count, at + 12 * count)
    at += 12 * count + 2 * count + 2 * (count % 2)
    return head, positions, kinds.tolist(), json.loads(body[at:])


def test_a_selection_shows_live_products_only(client: Client) -> None:
    client.delete("/api/v1/products/p01")
    page = client.post("/map/selection", json={"ids": ["p00", "p01", "nobody", 7, "p02"]})
    assert re.findall(r'data-product="(p\d+)"', page.text) == ["p00", "p02"]
    assert client.post("/map/selection", json={"ids": "p00"}).status_code == 400


def test_rollback_needs_the_right_to_write(catalogue: Catalogue) -> None:
    guarded = make_client(create_app(catalogue, ServiceConfig(api_keys=("key",))))
    name = catalogue.view().state.snapshot.name
    fetch = {"X-Requested-With": "fetch"}
    assert guarded.post("/status/rollback", json={"snapshot": name}, headers=fetch).status_code == 401
    with_key = {**fetch, "Authorization": "Bearer key"}
    assert (
        guarded.post("/status/rollback", json={"snapshot": name}, headers=with_key).json["snapshot"] == name
    )
    assert guarded.post("/status/rollback", json={}, headers=with_key).status_code == 400
    nowhere = guarded.post("/status/rollback", json={"snapshot": "../../etc"}, headers=with_key)
    assert nowhere.status_code == 503
    cross = {**with_key, "Origin": "https://evil.example"}
    assert guarded.post("/status/rollback", json={"snapshot": name}, headers=cross).status_code == 403


def test_a_read_only_service_offers_no_changes(catalogue: Catalogue) -> None:
    client = make_client(create_app(catalogue, ServiceConfig(read_only=True)))
    for path in PAGES:
        page = client.get(path).text
        assert "data-delete" not in page
        assert "data-restore" not in page
    assert 'id="files"' not in client.get("/upload").text


def test_pages_work_where_the_blueprint_is_mounted(catalogue: Catalogue) -> None:
    app = Flask("shop")
    blueprint = create_blueprint(catalogue, ServiceConfig())
    app.register_blueprint(blueprint, url_prefix="/visual")
    client = make_client(app)
    for path in PAGES:
        page = client.get(f"/visual{path}")
        assert page.status_code == 200
        links = re.findall(r'(?:href|src|action|data-address|data-image)="(/[^"]*)"', page.text)
        assert all(f"{link}/".startswith("/visual/") for link in links), path
    assert client.get("/visual/?lang=pt").headers["Location"] == "/visual/"
    assert client.get("/").status_code == 404


def test_a_host_application_with_babel_keeps_its_language(catalogue: Catalogue) -> None:
    from flask_babel import get_locale

    app = Flask("shop")
    Babel(app, locale_selector=lambda: "de")
    app.register_blueprint(create_blueprint(catalogue, ServiceConfig()), url_prefix="/visual")
    app.add_url_rule("/own", view_func=lambda: str(get_locale()))
    client = make_client(app)
    assert "Vitrine" in client.get("/visual/", headers=PORTUGUESE).text
    assert 'lang="pt-BR"' in client.get("/visual/", headers=PORTUGUESE).text
    assert client.get("/own").text == "de"


def test_an_empty_window_explains_what_to_do(client: Client) -> None:
    ids = [each["id"] for each in client.get("/api/v1/products?limit=50").json["products"]]
    client.post("/api/v1/products/delete", json={"ids": ids})
    assert "The shop window is empty" in client.get("/", headers=ENGLISH).text
    assert "nothing to compare yet" in client.get("/categories", headers=ENGLISH).text
    assert client.get("/map/points").status_code == 200
    for path in ("/map", "/trash", "/status", "/embed", "/photo", "/upload"):
        assert client.get(path).status_code == 200


def test_package_scripts_are_served_by_this_host(client: Client) -> None:
    plain = client.get("/plotly.js")
    packed = client.get("/plotly.js", headers={"Accept-Encoding": "gzip"})
    assert "plotly.js v" in plain.text[:200]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) / 2
    etag = {"If-None-Match": plain.headers["ETag"]}
    assert client.get("/plotly.js", headers=etag).status_code == 304
    component = client.get("/similar-products.js")
    assert component.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert len(component.data) < 6000


def test_code_snippets_run(client: Client) -> None:
    calls = snippets_for(
        "http://localhost/api/v1/products/p'00/similar", {"limit": 3, "where": '{"in_stock": true}'}, "p'00"
    )
    assert calls["curl"].startswith("curl ")
    assert "catalogue.similar(\"p'00\", limit=3, where={'in_stock': True})" in calls["python"]
    compile(calls["python"], "snippet", "exec")


def test_every_icon_that_is_used_exists() -> None:
    service = ROOT / "service"
    sprite = (service / "static" / "icons.svg").read_text()
    there = set(re.findall(r'<symbol id="([\w-]+)"', sprite))
    used = set()
    for path in [*service.glob("templates/vitrine/*.html"), *service.glob("static/js/*.js")]:
        used |= set(re.findall(r'\bicon\("([\w-]+)"', path.read_text()))
    assert used <= there
