"""Contract of the catalogue: every test runs over HTTP and on the Python Catalogue."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Set
from typing import Any, Protocol

import numpy as np
import pytest
from pydantic import BaseModel

from tests.http_client import Client, Response
from tests.indexes import DIMENSION, SampleProduct
from tests.pictures import jpeg
from vitrine.indexer.errors import VitrineError
from vitrine.service import Catalogue
from vitrine.service.api.schemas import (
    AnswerShape,
    BatchShape,
    CategoriesShape,
    ChangesShape,
    MatrixShape,
    PairsShape,
    ProblemShape,
    ProductShape,
    ProductsShape,
    ProjectionShape,
    SeveralShape,
    StatusShape,
    UndoneShape,
)
from vitrine.service.problems import problem_of

Json = dict[str, Any]
API = "/api/v1"


Id = str | list[str]


class Door(Protocol):
    def ask(self, what: str, id: Id = "", **values: Any) -> Json: ...


class PythonDoor:
    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def ask(self, what: str, id: Id = "", **values: Any) -> Json:
        call: Callable[..., Json] = getattr(self.catalogue, what)
        if what == "add" and id:
            values["id"], id = id, ""
        try:
            if what == "search_batch":
                return call(values["searches"])
            return call(id, **values) if id else call(**values)
        except VitrineError as error:
            return problem_of(error)


class HttpDoor:
    def __init__(self, client: Client) -> None:
        self.client = client

    def ask(self, what: str, id: Id = "", **values: Any) -> Json:
        return self._sent(what, id, values).json  # type: ignore[no-any-return]

    def _sent(self, what: str, id: Id, values: Json) -> Response:
        image = values.pop("image", None)
        if image is not None:
            path = "/products" if what == "add" else "/search/image"
            form: Json = {"image": (io.BytesIO(image), "picture.jpg")}
            form |= {name: _as_text(value) for name, value in values.items()}
            if id:
                form["id"] = id
            return self.client.post(API + path, data=form)
        method, path = _ROUTES[what]
        if isinstance(id, list):
            return self.client.post(f"{API}/products/{what}", json={"ids": id})
        url = API + path.format(id=id)
        if method == "POST" and what.startswith("search"):
            return self.client.post(url, json=values)
        query = {name: _as_text(value) for name, value in values.items()}
        return self.client.open(url, method=method, query_string=query)


_ROUTES = {
    "similar": ("GET", "/products/{id}/similar"),
    "search": ("POST", "/search"),
    "search_batch": ("POST", "/search/batch"),
    "products": ("GET", "/products"),
    "product": ("GET", "/products/{id}"),
    "delete": ("DELETE", "/products/{id}"),
    "restore": ("POST", "/products/{id}/restore"),
    "undo": ("POST", "/undo"),
    "changes": ("GET", "/changes"),
    "categories": ("GET", "/categories"),
    "matrix": ("GET", "/categories/matrix"),
    "pairs": ("GET", "/categories/matrix/pairs"),
    "projection": ("GET", "/projection"),
    "status": ("GET", "/status"),
    "reload": ("POST", "/reload"),
}


def _as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return value


@pytest.fixture(params=["python", "http"])
def door(request: pytest.FixtureRequest, catalogue: Catalogue, client: Client) -> Door:
    return PythonDoor(catalogue) if request.param == "python" else HttpDoor(client)


def checked(answer: Json, shape: type[BaseModel]) -> Json:
    shape.model_validate(answer, strict=True)
    return answer


def problem(answer: Json, status: int, kind: str, field: str | None = None) -> Json:
    ProblemShape.model_validate(answer)
    assert (answer["status"], answer["type"]) == (status, f"/problems/{kind}"), answer
    assert answer.get("field") == field, answer
    return answer


def oracle(
    samples: list[SampleProduct], query: Any, *, without: Set[str] = frozenset(), category: str = ""
) -> list[str]:
    """Ids by cosine, then id, computed the slow way."""
    scored = [
        (-float(np.clip(each.vector @ query, -1, 1)), each.product.id)
        for each in samples
        if each.product.id not in without and category in ("", each.product.category)
    ]
    return [name for _, name in sorted(scored)]


def ids(answer: Json) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def test_similar_gives_the_nearest_and_never_itself(door: Door, samples: list[SampleProduct]) -> None:
    answer = checked(door.ask("similar", "p03", limit=11), AnswerShape)
    assert ids(answer) == oracle(samples, samples[3].vector, without={"p03"})
    assert answer["reference"]["id"] == "p03"
    assert (answer["requested"], answer["returned"], answer["reason"]) == (11, 11, None)
    assert [hit["score"] for hit in answer["hits"]] == sorted(
        (hit["score"] for hit in answer["hits"]), reverse=True
    )


def test_similar_defaults_to_five(door: Door) -> None:
    assert door.ask("similar", "p00")["returned"] == 5


def test_similar_within_the_same_category_says_why_it_is_short(
    door: Door, samples: list[SampleProduct]
) -> None:
    answer = checked(door.ask("similar", "p03", limit=10, same_category=True), AnswerShape)
    assert ids(answer) == oracle(samples, samples[3].vector, without={"p03"}, category="tênis")
    assert answer["returned"] == 3
    assert "same category" in answer["reason"]


def test_every_option_is_understood(door: Door) -> None:
    answer = door.ask(
        "similar",
        "p00",
        limit=3,
        offset=1,
        category=["tênis", "bolsa"],
        where={"price": {"lt": 90}, "brand": ["acme", "zeta"], "in_stock": True},
        min_score=-1,
        min_confidence=0,
        exclude=["p03"],
        one_per_group=True,
        collapse_duplicates=0.999,
        diversity=0.3,
        exact=True,
        trace=True,
    )
    checked(answer, AnswerShape)
    assert {hit["category"] for hit in answer["hits"]} <= {"tênis", "bolsa"}
    assert "p03" not in ids(answer)
    assert [each["stage"] for each in answer["trace"]]


@pytest.mark.parametrize(
    ("options", "status", "kind", "field"),
    [
        ({"limit": 0}, 422, "impossible-request", "limit"),
        ({"limit": 1001}, 422, "impossible-request", "limit"),
        ({"limit": "abc"}, 400, "malformed-request", "limit"),
        ({"offset": -1}, 422, "impossible-request", "offset"),
        ({"min_score": 2}, 422, "impossible-request", "min_score"),
        ({"min_confidence": 1.5}, 422, "impossible-request", "min_confidence"),
        ({"diversity": "much"}, 400, "malformed-request", "diversity"),
        ({"wehre": {"price": 3}}, 400, "malformed-request", "wehre"),
        ({"where": {"colour": "red"}}, 422, "impossible-request", "where"),
        ({"where": {"price": {"lt": "cheap"}}}, 422, "impossible-request", "where"),
    ],
)
def test_a_wrong_option_is_named(door: Door, options: Json, status: int, kind: str, field: str) -> None:
    problem(door.ask("similar", "p00", **options), status, kind, field)


def test_an_unknown_product_is_404_and_a_deleted_one_410(door: Door) -> None:
    problem(door.ask("similar", "nope"), 404, "unknown-product", "id")
    problem(door.ask("product", "nope"), 404, "unknown-product", "id")
    door.ask("delete", "p01")
    problem(door.ask("similar", "p01"), 410, "deleted-product", "id")
    problem(door.ask("product", "p01"), 410, "deleted-product", "id")
    problem(door.ask("delete", "p01"), 410, "deleted-product", "id")
    problem(door.ask("search", product="p01"), 410, "deleted-product", "product")
    problem(door.ask("search", products={"like": ["p01"]}), 410, "deleted-product", "products")
    problem(door.ask("search", products={"like": ["nope"]}), 404, "unknown-product", "products")


def test_search_by_product_equals_similar(door: Door) -> None:
    assert door.ask("search", product="p03", limit=4)["hits"] == door.ask("similar", "p03", limit=4)["hits"]


def test_search_by_vector(door: Door, samples: list[SampleProduct]) -> None:
    answer = checked(door.ask("search", vector=(7 * samples[5].vector).tolist(), limit=12), AnswerShape)
    assert ids(answer) == oracle(samples, samples[5].vector)
    assert answer["reference"] is None
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("vector", "status"),
    [
        ([0.0] * DIMENSION, 422),
        ([1.0] * (DIMENSION - 1), 422),
        ([], 422),
        (["x"] * DIMENSION, 400),
        ("1,2,3", 400),
        ([1e308, 1e308] * (DIMENSION // 2), None),
    ],
)
def test_a_vector_that_is_none_is_refused(door: Door, vector: Any, status: int | None) -> None:
    answer = door.ask("search", vector=vector)
    assert answer.get("status") == status, answer
    if status:
        assert answer["field"] == "vector"


def test_search_by_text_uses_its_best_product(door: Door) -> None:
    answer = checked(door.ask("search", text="relogio 05", limit=3), AnswerShape)
    assert answer["reference"]["id"] == "p05"
    problem(door.ask("search", text="zebra"), 422, "impossible-request", "text")


def test_search_by_several_products(door: Door) -> None:
    answer = checked(door.ask("search", products={"like": ["p00", "p03"], "unlike": ["p01"]}), AnswerShape)
    assert not {"p00", "p03", "p01"} & set(ids(answer))


@pytest.mark.parametrize("request_", [{}, {"product": "p00", "text": "tenis"}, {"limit": 3}])
def test_search_wants_exactly_one_reference(door: Door, request_: Json) -> None:
    assert door.ask("search", **request_)["status"] == 422


def test_search_by_photo_finds_the_product_it_shows(door: Door, samples: list[SampleProduct]) -> None:
    answer = checked(door.ask("search", image=samples[7].picture, limit=3), AnswerShape)
    assert ids(answer)[0] == "p07"
    assert answer["reference"] is None


def test_search_by_a_part_of_a_photo(door: Door, samples: list[SampleProduct]) -> None:
    whole = door.ask("search", image=samples[7].picture, crop="0,0,1,1", limit=3)
    part = door.ask("search", image=samples[7].picture, crop="0.5,0.5,0.5,0.5", limit=3)
    assert ids(whole)[0] == "p07"
    assert part["hits"] != whole["hits"]


@pytest.mark.parametrize(
    ("crop", "status"),
    [("0,0,1", 400), ("a,b,c,d", 400), ("0,0,0,1", 422), ("0.5,0,0.6,1", 422), ("2,0,1,1", 422)],
)
def test_a_wrong_crop_is_refused(door: Door, samples: list[SampleProduct], crop: str, status: int) -> None:
    answer = door.ask("search", image=samples[0].picture, crop=crop)
    assert (answer["status"], answer["field"]) == (status, "crop")


def test_a_batch_answers_in_order_and_one_bad_search_spoils_no_other(door: Door) -> None:
    searches = [
        {"product": "p00", "limit": 2},
        {"product": "nope"},
        {"text": "bolsa", "limit": 1},
        {"limit": 0},
    ]
    answer = checked(door.ask("search_batch", searches=searches), BatchShape)["answers"]
    assert [each.get("status", 200) for each in answer] == [200, 404, 200, 422]
    assert answer[0]["reference"]["id"] == "p00"


def test_a_batch_has_a_bound(door: Door) -> None:
    problem(door.ask("search_batch", searches=[{}] * 257), 422, "impossible-request", "searches")
    assert door.ask("search_batch", searches=[]) == {"answers": []}


def test_products_are_found_by_words(door: Door) -> None:
    answer = checked(door.ask("products", q="TENIS", limit=2), ProductsShape)
    assert (answer["total"], len(answer["products"]), answer["facets"]["category"]) == (4, 2, {"tênis": 4})
    assert checked(door.ask("products", q="relogoi"), ProductsShape)["total"] == 4
    assert door.ask("products", category="bolsa", offset=3)["products"][0]["category"] == "bolsa"
    assert door.ask("products", q="zebra")["total"] == 0


def test_one_product_has_every_field(door: Door) -> None:
    answer = checked(door.ask("product", "p02"), ProductShape)
    assert answer["attributes"] == {"price": 20.0, "brand": "zeta", "in_stock": True}
    assert answer["image_url"] == "/api/v1/products/p02/image"
    assert (answer["group"], answer["deleted_at"]) == ("g1", None)


def test_a_deleted_product_is_gone_at_once_and_comes_back(door: Door) -> None:
    nearest = ids(door.ask("similar", "p00", limit=11))
    gone = checked(door.ask("delete", nearest[0]), ProductShape)
    assert gone["id"] == nearest[0]
    assert gone["deleted_at"] is not None
    answer = door.ask("similar", "p00", limit=10)
    assert ids(answer) == nearest[1:]
    assert door.ask("products", deleted=True)["products"][0]["id"] == nearest[0]
    assert door.ask("products")["total"] == 11
    assert checked(door.ask("restore", nearest[0]), ProductShape)["deleted_at"] is None
    assert ids(door.ask("similar", "p00", limit=11)) == nearest


def test_restoring_a_live_product_changes_nothing(door: Door) -> None:
    assert door.ask("restore", "p00")["deleted_at"] is None
    assert door.ask("changes")["changes"] == []
    problem(door.ask("restore", "nope"), 404, "unknown-product", "id")


def test_several_are_deleted_and_undone_as_one_change(door: Door) -> None:
    deleted = checked(door.ask("delete", ["p00", "p01"]), SeveralShape)["products"]
    assert [each["id"] for each in deleted] == ["p00", "p01"]
    undone = checked(door.ask("undo"), UndoneShape)
    assert sorted(change["id"] for change in undone["changes"]) == ["p00", "p01"]
    assert door.ask("products")["total"] == 12
    door.ask("delete", ["p00", "p01"])
    back = checked(door.ask("restore", ["p00", "p01"]), SeveralShape)
    assert len(back["products"]) == 2


def test_undo_takes_back_the_last_change_until_none_is_left(door: Door) -> None:
    door.ask("delete", "p00")
    door.ask("delete", "p01")
    assert checked(door.ask("undo"), UndoneShape)["undone"]["id"] == "p01"
    assert door.ask("undo")["undone"]["id"] == "p00"
    problem(door.ask("undo"), 409, "nothing-to-undo")
    changes = checked(door.ask("changes"), ChangesShape)["changes"]
    assert [(each["kind"], each["id"], each["undone"]) for each in changes] == [
        ("restore", "p00", False),
        ("restore", "p01", False),
        ("delete", "p01", True),
        ("delete", "p00", True),
    ]
    assert door.ask("changes", limit=1)["changes"] == changes[:1]


def test_an_upload_is_found_by_the_next_question(door: Door) -> None:
    picture = jpeg(40, 40, 1234)
    fields: Json = {"name": "Bota nova", "category": "botas", "attributes": {"price": 5, "brand": "acme"}}
    added = checked(door.ask("add", image=picture, **fields), ProductShape)
    assert added["id"].startswith("bota-nova-")
    assert added["attributes"] == {"price": 5.0, "brand": "acme"}
    assert ids(door.ask("search", image=picture, limit=1)) == [added["id"]]
    assert door.ask("products", q="botas")["products"][0]["id"] == added["id"]
    assert door.ask("similar", added["id"], limit=11)["returned"] == 11
    assert door.ask("similar", "p00", limit=50, where={"price": {"lt": 6}})["returned"] == 1
    assert door.ask("status")["uploaded"] == 1
    assert "botas" in {each["name"] for each in door.ask("categories")["categories"]}
    assert door.ask("undo")["undone"]["kind"] == "upload"
    problem(door.ask("product", added["id"]), 410, "deleted-product", "id")


def test_an_upload_with_an_id_that_is_taken_is_409(door: Door) -> None:
    fields: Json = {"image": jpeg(40, 40, 77), "name": "X", "category": "bolsa"}
    assert door.ask("add", id="mine", **fields)["id"] == "mine"
    problem(door.ask("add", id="mine", **fields), 409, "id-taken", "id")
    problem(door.ask("add", id="p00", **fields), 409, "id-taken", "id")
    door.ask("delete", "p00")
    problem(door.ask("add", id="p00", **fields), 409, "id-taken", "id")


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"category": "bolsa"}, 400, "name"),
        ({"name": "  ", "category": "bolsa"}, 422, "name"),
        ({"name": "x", "category": "bolsa", "id": "a/b"}, 422, "id"),
        ({"name": "x", "category": "bolsa", "id": "x" * 201}, 422, "id"),
        ({"name": "x\x07", "category": "bolsa"}, 422, "name"),
        ({"name": "x", "category": "bolsa", "attributes": {"price": "cheap"}}, 422, "attributes"),
        ({"name": "x", "category": "bolsa", "attributes": {"name": "y"}}, 422, "attributes"),
        ({"name": "x", "category": "bolsa", "attributes": {"new": [1]}}, 422, "attributes"),
        ({"name": "x", "category": "bolsa", "colour": "red"}, 400, "colour"),
    ],
)
def test_a_wrong_upload_is_refused_and_leaves_nothing(
    door: Door, fields: Json, status: int, field: str
) -> None:
    answer = door.ask("add", image=jpeg(40, 40, 5), **fields)
    assert (answer["status"], answer["field"]) == (status, field), answer
    assert door.ask("changes")["changes"] == []


@pytest.mark.parametrize(("data", "status"), [(b"hello", 415), (b"", 415), (jpeg()[:300], 415)])
def test_what_is_no_picture_is_refused(door: Door, data: bytes, status: int) -> None:
    problem(door.ask("search", image=data), status, "not-a-picture", "image")
    problem(door.ask("add", image=data, name="x", category="y"), status, "not-a-picture", "image")


def test_categories(door: Door) -> None:
    door.ask("delete", "p01")
    answer = checked(door.ask("categories"), CategoriesShape)["categories"]
    assert [(each["name"], each["live"], each["deleted"]) for each in answer] == [
        ("bolsa", 3, 1),
        ("relógio", 4, 0),
        ("tênis", 4, 0),
    ]
    assert answer[0]["sample"] == ["p04", "p07", "p10"]


def test_the_matrix_compares_centroids(door: Door, samples: list[SampleProduct]) -> None:
    answer = checked(door.ask("matrix"), MatrixShape)
    matrix = np.array(answer["matrix"])
    assert answer["categories"] == ["bolsa", "relógio", "tênis"]
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1)
    means = [
        np.mean([each.vector for each in samples if each.product.category == name], axis=0)
        for name in answer["categories"]
    ]
    unit = np.array([mean / np.linalg.norm(mean) for mean in means])
    assert np.allclose(matrix, unit @ unit.T, atol=1e-5)
    assert door.ask("matrix", category=["bolsa", "tênis"], linkage="mean")["counts"] == [4, 4]
    problem(door.ask("matrix", linkage="ward"), 422, "impossible-request", "linkage")
    problem(door.ask("matrix", category="carro"), 422, "impossible-request", "category")


def test_the_closest_pairs_of_two_categories(door: Door, samples: list[SampleProduct]) -> None:
    answer = checked(door.ask("pairs", a="bolsa", b="tênis", limit=3), PairsShape)["pairs"]
    best = max(
        (float(a.vector @ b.vector), a.product.id, b.product.id)
        for a in samples
        for b in samples
        if (a.product.category, b.product.category) == ("bolsa", "tênis")
    )
    assert (answer[0]["a"]["id"], answer[0]["b"]["id"]) == best[1:]
    assert answer[0]["score"] == pytest.approx(best[0], abs=1e-5)
    assert door.ask("pairs", a="bolsa")["field"] == "b"
    assert door.ask("pairs", a="bolsa", b="carro")["status"] == 422


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_projection(door: Door, dimensions: int) -> None:
    answer = checked(door.ask("projection", dimensions=dimensions), ProjectionShape)
    assert len(answer["points"]) == 12
    assert ("z" in answer["points"][0]) == (dimensions == 3)
    assert len(answer["explained_variance_ratio"]) == dimensions
    assert answer["sampled"] is False
    assert door.ask("projection", dimensions=dimensions) == answer
    shown = door.ask("projection", category="bolsa", fit="selection", limit=2)
    assert (len(shown["points"]), shown["sampled"]) == (2, True)
    assert door.ask("projection", dimensions=4)["status"] == 422
    assert door.ask("projection", fit="some")["field"] == "fit"


def test_the_status_says_what_is_served(door: Door) -> None:
    answer = checked(door.ask("status"), StatusShape)
    assert (answer["products"], answer["live"], answer["deleted"], answer["categories"]) == (12, 12, 0, 3)
    assert (answer["model"], answer["dimension"], answer["store"]) == ("grid", DIMENSION, "faiss")
    assert door.ask("reload") == answer


def test_top_five_begins_top_ten(door: Door) -> None:
    assert ids(door.ask("similar", "p04", limit=10))[:5] == ids(door.ask("similar", "p04", limit=5))
