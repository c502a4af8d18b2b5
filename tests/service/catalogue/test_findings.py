"""Quality findings over HTTP and in Python: listed, settled, dismissed, undone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http_client import Client, assert_problem, make_client
from tests.indexer.quality.catalogues import encode_jpeg, publish_catalogue, random_image
from tests.indexes import GridEmbedder
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.quality.findings import FINDING_TYPES
from vitrine.indexer.report import write_report
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.api.schemas import QualityShape
from vitrine.service.catalogue import findings as quality_findings
from vitrine.service.errors import QualityNotAnalysed

API = "/api/v1/quality"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue of twelve faultless products, a copy in another category, and a tiny picture."""
    pictures = {f"p{seed:02}": (f"c{seed % 2}", encode_jpeg(random_image(seed))) for seed in range(12)}
    pictures["q-same"] = ("c0", pictures["p03"][1])
    pictures["=1+1"] = ("c0", encode_jpeg(random_image(90).resize((40, 40))))
    folder = publish_catalogue(tmp_path, pictures)
    with Catalogue.open(folder.root, embedder=GridEmbedder()) as catalogue:
        yield catalogue


@pytest.fixture
def web(shop: Catalogue) -> Client:
    return make_client(create_app(shop, ServiceConfig()))


def listed(web: Client, query: str = "?kind=exact-duplicate&kind=tiny") -> list[dict[str, Any]]:
    answer = web.get(API + query)
    assert answer.status_code == 200, answer.text
    QualityShape.model_validate(answer.json)
    found: list[dict[str, Any]] = answer.json["findings"]
    return found


def test_findings_are_listed_with_their_products_and_counts(web: Client) -> None:
    copy, tiny = listed(web)
    assert (copy["kind"], copy["ids"], copy["evidence"]) == ("exact-duplicate", ["q-same"], ["p03"])
    assert [product["id"] for product in copy["products"]] == ["q-same", "p03"]
    assert tiny["ids"] == ["=1+1"]
    whole = web.get(API).json
    assert list(whole["counts"]) == list(FINDING_TYPES)
    assert whole["counts"]["tiny"] == 1
    assert whole["missing"] == ["too-few-of-a-category"]
    assert listed(web, "?kind=exact-duplicate&kind=tiny&limit=1&offset=1") == [tiny]


def test_a_finding_about_a_deleted_copy_is_settled_until_undo(web: Client) -> None:
    assert web.delete("/api/v1/products/q-same").status_code == 200
    assert [each["kind"] for each in listed(web)] == ["tiny"]
    assert web.post("/api/v1/undo").status_code == 200
    assert [each["kind"] for each in listed(web)] == ["exact-duplicate", "tiny"]
    assert web.delete("/api/v1/products/p03").status_code == 200
    assert [each["kind"] for each in listed(web)] == ["tiny"]


def test_findings_follow_moves_since_the_snapshot(web: Client, shop: Catalogue) -> None:
    def small() -> dict[str, list[str]]:
        return {each["reason"]["category"]: each["ids"] for each in listed(web, "?kind=small-category")}

    shop.move("q-same", "c1")
    assert listed(web, "?kind=exact-duplicate")[0]["reason"]["same_category"] is True
    assert web.get(API).json["missing"] == ["too-few-of-a-category", "changed-since"]
    for language in ("pt", "en"):
        page = web.get("/quality?kind=exact-duplicate", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert "q-same" in page.text
    assert small() == {}
    report = write_report(shop.follower.folder, shop.follower.folder.root / "report.html", SilentProgress())
    assert report.missing == ["too-few-of-a-category", "changed-since"]
    shop.undo()
    assert listed(web, "?kind=exact-duplicate")[0]["reason"]["same_category"] is False
    assert "changed-since" not in web.get(API).json["missing"]


def test_a_dismissed_finding_is_not_listed_until_undo(web: Client, shop: Catalogue) -> None:
    tag = web.get(API).headers["ETag"]
    copy, tiny = listed(web)
    answer = web.post(f"{API}/dismiss", json={"keys": [copy["key"], tiny["key"]]})
    assert answer.status_code == 200
    assert [change["kind"] for change in answer.json["changes"]] == ["dismiss", "dismiss"]
    assert listed(web) == []
    assert web.get(API).headers["ETag"] != tag
    gone = listed(web, "?kind=exact-duplicate&kind=tiny&dismissed=true")
    assert [each["key"] for each in gone] == [copy["key"], tiny["key"]]
    assert all(each["dismissed"] for each in gone)
    assert shop.products()["total"] == 14
    assert web.post("/api/v1/undo").json["undone"]["kind"] == "dismiss"
    assert listed(web) == [copy, tiny]
    assert web.get("/api/v1/changes").json["changes"][0]["kind"] == "reopen"


def test_a_dismissal_outlives_the_snapshot(shop: Catalogue, web: Client) -> None:
    from vitrine.indexer.operations.compact import compact_snapshot

    (key,) = [each["key"] for each in listed(web, "?kind=tiny")]
    shop.dismiss([key])
    shop.delete("p00")
    compact_snapshot(shop.follower.folder, keep=2)
    shop.reload()
    assert listed(web, "?kind=tiny") == []
    assert [each["key"] for each in listed(web, "?kind=tiny&dismissed=true")] == [key]


def test_csv_cells_cannot_be_formulas(web: Client) -> None:
    by_query = web.get(f"{API}?format=csv&kind=tiny&kind=exact-duplicate")
    by_header = web.get(f"{API}?kind=tiny&kind=exact-duplicate", headers={"Accept": "text/csv"})
    assert by_query.text == by_header.text
    assert by_query.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(by_query.text.removeprefix("\ufeff"))))
    assert [row["id"] for row in rows] == ["q-same", "'=1+1"]
    assert rows[0]["evidence"] == "p03"


def test_a_wrong_query_is_answered_with_a_problem(web: Client) -> None:
    assert_problem(web.get(f"{API}?kind=ugly"), 422, "impossible-request")
    assert_problem(web.post(f"{API}/dismiss", json={"keys": ["nobody"]}), 404, "unknown-finding")
    assert_problem(web.post(f"{API}/dismiss", json={"keys": []}), 422, "impossible-request")


def test_a_large_catalogue_is_not_analysed_during_a_request(
    shop: Catalogue, web: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_findings, "MAX_ANALYSED_PRODUCTS", 5)
    assert_problem(web.get(API), 503, "not-looked-through")
    with pytest.raises(QualityNotAnalysed, match="vitrine-indexer report"):
        shop.quality()
    write_report(shop.follower.folder, shop.follower.folder.root / "report.html", SilentProgress())
    assert len(listed(web)) == 2
