"""Shop rules in a running service: applied over HTTP and in Python, reloaded when their file changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.http_client import Client, make_client
from tests.indexes import GridEmbedder, SampleProduct, make_samples, publish_samples
from tests.pictures import jpeg
from tests.service.test_contract import Door, checked, door, ids
from tests.waiting import wait_until
from vitrine.indexer.errors import RulesError
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.api.schemas import AnswerShape, StatusShape

__all__ = ["door"]  # the fixture: every test that takes it runs over HTTP and in Python

RULES = """
[[pin]]
name = "spring"
when = {category = "tênis"}
show = {id = "p10"}
place = 2

[[ban]]
name = "sold out"
hide = {where = {in_stock = false, brand = "acme"}}

[[never_together]]
name = "rivals"
one = {id = "p01"}
other = {id = "p02"}
"""
URL = "/api/v1/products/p00/similar"


@pytest.fixture
def small_index(small_index: Path) -> Path:
    """The index folder of every catalogue here has rules."""
    write(small_index, RULES)
    return small_index


def write(index: Path, text: str) -> None:
    path = index / "rules.new"
    path.write_text(text, encoding="utf-8")
    path.replace(index / "rules.toml")


def rules_of(answer: dict) -> dict[str, str | None]:  # type: ignore[type-arg]
    return {hit["id"]: hit["rule"] for hit in answer["hits"]}


def test_only_hits_placed_by_a_rule_name_it(door: Door) -> None:
    answer = checked(door.ask("similar", "p00", limit=11), AnswerShape)
    assert answer["hits"][1]["id"] == "p10"
    assert {name: rule for name, rule in rules_of(answer).items() if rule} == {"p10": "spring"}
    assert not {"p09", "p11"} & set(ids(answer))
    assert len({"p01", "p02"} & set(ids(answer))) == 1
    assert ids(door.ask("similar", "p00", limit=3)) == ids(answer)[:3]
    assert ids(door.ask("similar", "p00", limit=2, offset=1)) == ids(answer)[1:3]


def test_rules_apply_to_their_category_only_and_never_together_to_both_sides(door: Door) -> None:
    assert "spring" not in rules_of(door.ask("similar", "p01", limit=11)).values()
    assert "p02" not in ids(door.ask("similar", "p01", limit=11))
    assert "p01" not in ids(door.ask("similar", "p02", limit=11))


def test_every_kind_of_search_applies_the_rules(door: Door) -> None:
    by_id = door.ask("search", product="p00", limit=4)
    batch = door.ask("search_batch", searches=[{"product": "p00", "limit": 4}])["answers"][0]
    by_text = door.ask("search", text="p00", limit=4)
    assert ids(by_id) == ids(batch) == ids(by_text)
    assert rules_of(by_id)["p10"] == rules_of(batch)["p10"] == rules_of(by_text)["p10"] == "spring"
    photo = door.ask("search", image=jpeg(48, 32, 9), limit=12)
    assert not {"p09", "p11"} & set(ids(photo))
    assert set(rules_of(photo).values()) == {None}


def test_a_pin_shows_neither_deleted_nor_filtered_products(door: Door) -> None:
    assert "p10" not in ids(door.ask("similar", "p00", limit=11, same_category=True))
    assert "p10" not in ids(door.ask("similar", "p00", limit=11, exclude="p10"))
    door.ask("delete", "p10")
    assert "p10" not in ids(door.ask("similar", "p00", limit=11))
    door.ask("restore", "p10")
    assert ids(door.ask("similar", "p00"))[1] == "p10"


def test_the_trace_and_the_status_contain_the_rules(door: Door) -> None:
    answer = door.ask("similar", "p00", trace=True)
    stages = [each["stage"] for each in answer["trace"]]
    assert {"bans", "pins", "never_together"} < set(stages)
    status = checked(door.ask("status"), StatusShape)["rules"]
    assert status["names"] == ["spring", "sold out", "rivals"]
    assert (status["idle"], status["problem"]) == ([], None)
    assert status["digest"]


def test_changed_rules_are_applied_by_themselves_and_change_the_etag(
    client: Client, small_index: Path
) -> None:
    before = client.get(URL)
    assert client.get(URL, headers={"If-None-Match": before.headers["ETag"]}).status_code == 304
    write(small_index, "[[ban]]\nname = 'none of these'\nhide = {id = ['p10', 'unknown']}\n")
    wait_until(lambda: "p10" not in ids(client.get(URL).json))
    after = client.get(URL, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]
    (small_index / "rules.toml").unlink()
    wait_until(lambda: client.get("/api/v1/status").json["rules"]["digest"] is None)
    assert client.get("/api/v1/status").json["rules"] == {
        "digest": None,
        "names": [],
        "idle": [],
        "problem": None,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[pin]", "is not TOML"),
        ("[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}", "rule 'no reds': where: no product"),
    ],
)
def test_a_broken_file_keeps_the_last_valid_rules_and_the_status_has_its_error(
    client: Client, small_index: Path, text: str, says: str
) -> None:
    before = client.get(URL)
    write(small_index, text)
    wait_until(lambda: client.get("/api/v1/status").json["rules"]["problem"])
    status = client.get("/api/v1/status").json["rules"]
    assert says in status["problem"]
    assert status["names"] == ["spring", "sold out", "rivals"]
    assert client.get(URL).headers["ETag"] == before.headers["ETag"]
    write(small_index, RULES)
    assert client.post("/api/v1/reload").json["rules"]["problem"] is None


@pytest.mark.parametrize("text", ["[[pin]", "[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}"])
def test_broken_rules_are_refused_at_the_start(small_index: Path, text: str) -> None:
    write(small_index, text)
    with pytest.raises(RulesError, match=r"rules\.toml"):
        Catalogue.open(small_index)


def test_rules_stay_when_the_journal_or_the_snapshot_moves_on(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    catalogue.add(jpeg(48, 32, 77), name="Novo", category="tênis", id="new")
    assert ids(catalogue.similar("new"))[1] == "p10"
    name = publish_samples(small_index, samples, small_source)
    wait_until(lambda: catalogue.status()["snapshot"] == name)
    assert ids(catalogue.similar("p00"))[1] == "p10"


def test_a_snapshot_that_does_not_fit_the_rules_is_not_opened_until_they_change(
    catalogue: Catalogue, small_index: Path, tmp_path: Path
) -> None:
    bare = [
        dataclasses.replace(each, product=dataclasses.replace(each.product, attributes={}))
        for each in make_samples(tmp_path / "bare", 4)
    ]
    before = catalogue.status()["snapshot"]
    name = publish_samples(small_index, bare, tmp_path / "bare")
    wait_until(lambda: catalogue.status()["problem"])
    status = catalogue.status()
    assert status["snapshot"] == before
    assert "rule 'sold out': where: no product has an attribute" in status["problem"]
    write(small_index, "[[ban]]\nname = 'one'\nhide = {id = 'p01'}\n")
    wait_until(lambda: catalogue.status()["snapshot"] == name)
    assert sorted(ids(catalogue.similar("p00"))) == ["p02", "p03"]


def test_rules_for_attributes_of_the_next_snapshot_apply_once_it_is_open(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    write(small_index, "[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}\n")
    wait_until(lambda: catalogue.status()["rules"]["problem"])
    coloured = [
        dataclasses.replace(
            each,
            product=dataclasses.replace(
                each.product, attributes={**each.product.attributes, "colour": "red" if at % 2 else "blue"}
            ),
        )
        for at, each in enumerate(samples)
    ]
    publish_samples(small_index, coloured, small_source)
    wait_until(lambda: catalogue.status()["rules"]["names"] == ["no reds"])
    assert all(int(each[1:]) % 2 == 0 for each in ids(catalogue.similar("p00", limit=11)))


def test_an_empty_folder_with_rules_waits_for_a_snapshot(
    tmp_path: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    index = tmp_path / "empty"
    index.mkdir()
    write(index, RULES)
    with Catalogue.open(index, embedder=GridEmbedder()) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        assert client.get("/readyz").status_code == 503
        publish_samples(index, samples, small_source)
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert ids(client.get(URL).json)[1] == "p10"
    assert IndexFolder(index).layout.rules == index / "rules.toml"


def test_a_file_written_in_place_is_reloaded(catalogue: Catalogue, small_index: Path) -> None:
    path = small_index / "rules.toml"
    kept = path.stat().st_ino
    path.write_text("# no rules today\n", encoding="utf-8")
    assert path.stat().st_ino == kept
    wait_until(lambda: catalogue.status()["rules"]["names"] == [])
    assert "p10" not in ids(catalogue.similar("p00", limit=1))
