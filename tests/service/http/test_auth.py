"""Tests of auth: keys; without keys only this machine, no other site's pages, no rebound names, no proxy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Request, Response

from tests.http_client import Client, assert_problem, make_client
from vitrine.indexer.errors import InputError
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.http.auth import Keys

PRODUCT = "/api/v1/products/p00"
WRITES = (
    ("DELETE", PRODUCT),
    ("POST", f"{PRODUCT}/restore"),
    ("POST", "/api/v1/products"),
    ("POST", "/api/v1/products/delete"),
    ("POST", "/api/v1/products/restore"),
    ("POST", "/api/v1/undo"),
    ("POST", "/api/v1/reload"),
)
KEY = "correct-horse-battery"


def client_with(catalogue: Catalogue, **settings: Any) -> Client:
    return make_client(create_app(catalogue, ServiceConfig(**settings)))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_needs_a_key_once_there_are_keys(catalogue: Catalogue, method: str, path: str) -> None:
    client = client_with(catalogue, api_keys=(KEY, "another-key-of-theirs"))
    response = client.open(path, method=method)
    assert_problem(response, 401, "key-required")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    for wrong in (bearer("wrong"), bearer(""), {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}):
        assert_problem(client.open(path, method=method, headers=wrong), 401, "key-required")
    assert client.open(path, method=method, headers=bearer(KEY)).status_code not in (401, 403)


def test_the_journal_names_the_key_and_never_holds_it(catalogue: Catalogue) -> None:
    client = client_with(catalogue, api_keys=("another-key-of-theirs", KEY))
    assert client.delete(PRODUCT, headers=bearer(KEY)).status_code == 200
    change = client.get("/api/v1/changes").json["changes"][0]
    assert change["actor"] == "key-2"
    assert KEY.encode() not in b"".join(
        path.read_bytes() for path in catalogue.follower.folder.root.glob("journal.sqlite*")
    )


def test_reading_needs_no_key(catalogue: Catalogue) -> None:
    client = client_with(catalogue, api_keys=(KEY,))
    assert client.get(f"{PRODUCT}/similar", headers={"Host": "shop.example"}).status_code == 200
    assert client.post("/api/v1/search", json={"product": "p00"}).status_code == 200


def test_wrong_keys_are_counted_and_then_refused(catalogue: Catalogue) -> None:
    client = client_with(catalogue, api_keys=(KEY,))
    statuses = [client.delete(PRODUCT, headers=bearer(f"guess-{n}")).status_code for n in range(40)]
    assert statuses.count(401) == 30
    assert set(statuses[30:]) == {429}
    assert client.delete(PRODUCT, headers=bearer(KEY)).status_code == 429
    elsewhere = client.delete(PRODUCT, headers=bearer(KEY), environ_base={"REMOTE_ADDR": "10.0.0.9"})
    assert elsewhere.status_code == 200


def test_keys_are_kept_as_digests_only() -> None:
    keys = Keys([KEY])
    assert KEY not in repr(vars(keys))
    assert keys.actor_of(KEY) == "key-1"
    assert keys.actor_of(KEY + " ") is None
    assert not Keys([])


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("one\ntwo\n\n")
    assert ServiceConfig(api_keys=("zero",), api_keys_file=str(path)).keys() == ("zero", "one", "two")
    with pytest.raises(InputError, match="cannot be read"):
        ServiceConfig(api_keys_file=str(tmp_path / "none")).keys()


def test_without_keys_only_this_machine_may_write(catalogue: Catalogue) -> None:
    client = client_with(catalogue)
    assert_problem(client.delete(PRODUCT, environ_base={"REMOTE_ADDR": "10.0.0.9"}), 401, "key-required")
    assert client.delete(PRODUCT, environ_base={"REMOTE_ADDR": "::1"}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_without_keys_nothing_is_written_through_a_proxy(catalogue: Catalogue, header: str) -> None:
    assert_problem(client_with(catalogue).delete(PRODUCT, headers={header: "1.2.3.4"}), 401, "key-required")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "0.0.0.0"]
)
def test_without_keys_a_rebound_name_gets_nothing(catalogue: Catalogue, host: str) -> None:
    client = client_with(catalogue)
    assert_problem(client.get(f"{PRODUCT}/similar", headers={"Host": host}), 421, "host-forbidden")
    assert_problem(client.delete(PRODUCT, headers={"Host": host}), 421, "host-forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:80", "v.localhost", "shop.lan"]
)
def test_without_keys_own_names_are_answered(catalogue: Catalogue, host: str) -> None:
    client = client_with(catalogue, allowed_hosts=("shop.lan",))
    assert client.get(f"{PRODUCT}/similar", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
    ],
)
@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_pages_of_other_sites_cannot_write(
    catalogue: Catalogue, headers: dict[str, str], keys: tuple[str, ...]
) -> None:
    client = client_with(catalogue, api_keys=keys)
    assert_problem(client.delete(PRODUCT, headers={**headers, **bearer(KEY)}), 403, "write-forbidden")


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}, {}],
)
def test_own_pages_and_programs_can_write(catalogue: Catalogue, headers: dict[str, str]) -> None:
    assert client_with(catalogue).delete(PRODUCT, headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_read_only_refuses_every_write(catalogue: Catalogue, method: str, path: str) -> None:
    client = client_with(catalogue, read_only=True, api_keys=(KEY,))
    assert_problem(client.open(path, method=method, headers=bearer(KEY)), 403, "write-forbidden")
    assert client.get(f"{PRODUCT}/similar", headers={"Host": "any.example"}).status_code == 200


def test_the_hosts_own_rule_takes_the_place_of_keys(catalogue: Catalogue) -> None:
    def rule(request: Request) -> str | Response | None:
        if request.headers.get("X-User") == "ana":
            return "ana"
        return (
            Response("log in first", 302, {"Location": "/login"}) if "X-User" not in request.headers else None
        )

    client = make_client(create_app(catalogue, ServiceConfig(), before_write=rule))
    assert client.delete(PRODUCT).status_code == 302
    ana = {"X-User": "ana", "Host": "shop.example"}
    assert client.delete(PRODUCT, headers=ana, environ_base={"REMOTE_ADDR": "10.0.0.9"}).status_code == 200
    assert client.delete("/api/v1/products/p01", headers={"X-User": "bob"}).status_code == 200
    assert [each["actor"] for each in client.get("/api/v1/changes").json["changes"]] == ["host", "ana"]


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "192.168.1.5"}, True),
        ({"host": "shop.example"}, True),
        ({"host": "0.0.0.0", "read_only": True}, False),
        ({"host": "0.0.0.0", "api_keys": (KEY,)}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
    ],
)
def test_writes_are_never_open_to_other_machines(settings: dict[str, Any], is_refused: bool) -> None:
    config = ServiceConfig(**settings)
    if is_refused:
        with pytest.raises(InputError, match="--read-only"):
            config.check_exposure()
    else:
        config.check_exposure()


def test_keys_never_reach_the_log(catalogue: Catalogue, caplog: pytest.LogCaptureFixture) -> None:
    client = client_with(catalogue, api_keys=(KEY,))
    with caplog.at_level(logging.DEBUG):
        client.delete(PRODUCT, headers=bearer(KEY))
        client.delete(PRODUCT, headers=bearer("a-wrong-guess"))
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert KEY not in logged
    assert "a-wrong-guess" not in logged
