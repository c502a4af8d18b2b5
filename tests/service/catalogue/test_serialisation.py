"""Values of every kind as JSON, and log lines in both forms."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import logging
from pathlib import Path

import pytest
from flask import Flask

from tests.http_client import client_of
from tests.indexes import GridEmbedder, Made, publish_made
from vitrine.indexer.errors import InputError
from vitrine.indexer.products.table import Product
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.catalogue.new_product import NewProduct, generate_id
from vitrine.service.catalogue.serialisation import attributes_json, image_url_builder, product_json
from vitrine.service.config import ServiceConfig as Config
from vitrine.service.http.rates import Rates
from vitrine.service.http.responses import add_headers, json_response
from vitrine.service.logs import FORMATTERS, JsonFormatter, configure, fields, log_event
from vitrine.service.server import (
    StartReports,
    _check_folder,
    _failure,
    _granian_log,
    _shared_metrics,
    _show_address,
    _wait_until_listening,
)


def test_attributes_of_every_kind_become_json() -> None:
    noon = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    given = {
        "text": "a",
        "number": 1.5,
        "nothing": float("nan"),
        "far": float("inf"),
        "at": noon,
        "day": noon.date(),
        "span": dt.timedelta(seconds=90),
        "price": decimal.Decimal("9.90"),
        "unknown": decimal.Decimal("NaN"),
        "bytes": b"\x01\xff",
        "list": [1, decimal.Decimal(2), None],
        "object": {"a": noon, 3: True},
        "other": complex(1, 2),
    }
    assert json.loads(json.dumps(attributes_json(given), allow_nan=False)) == {
        "text": "a",
        "number": 1.5,
        "nothing": None,
        "far": None,
        "at": "2024-05-01T12:00:00+00:00",
        "day": "2024-05-01",
        "span": 90.0,
        "price": 9.9,
        "unknown": None,
        "bytes": "01ff",
        "list": [1, 2.0, None],
        "object": {"a": "2024-05-01T12:00:00+00:00", "3": True},
        "other": "(1+2j)",
    }


def test_picture_urls_quote_what_ids_may_hold() -> None:
    url = image_url_builder("/shop")
    assert url("shoes:red-01") == "/shop/api/v1/products/shoes:red-01/image"
    assert url("a b?#%é") == "/shop/api/v1/products/a%20b%3F%23%25%C3%A9/image"
    product = Product("x", "n", "c", None, "i", "s", 1, 2, dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    assert product_json(product, url)["deleted_at"] == "2024-01-01T00:00:00Z"


def test_log_lines_hold_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    log = logging.getLogger("vitrine.service.tests")
    log_event(log, logging.INFO, "request", {"path": "/a", "status": 200})
    log.warning("odd %s", "thing", extra=fields(request_id="r1"))
    try:
        raise RuntimeError("inside")
    except RuntimeError:
        log.exception("failed")
    configure("text", "warning")
    log.info("not shown")
    log.warning("shown", extra=fields(name="é"))
    log.error("bad", exc_info=(ValueError, ValueError("why"), None))
    lines = capsys.readouterr().err.splitlines()
    first, second, third = (json.loads(line) for line in lines[:3])
    assert (first["message"], first["path"], first["level"]) == ("request", "/a", "info")
    assert (second["message"], second["request_id"]) == ("odd thing", "r1")
    assert "RuntimeError: inside" in third["traceback"]
    assert lines[3].endswith('warning shown name="\\u00e9"')
    assert "ValueError: why" in "\n".join(lines[4:])
    root = logging.getLogger("vitrine")
    root.handlers.clear()
    root.propagate = True
    root.setLevel(logging.NOTSET)


def test_log_lines_of_every_text_are_ascii_json(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"path": "/tênis\n\u2028", "count": 2**70, "at": dt.date(2024, 5, 1)}
    form = JsonFormatter()
    line = form.line(0.0, "INFO", "vitrine.service.requests", "request", event)
    assert line.isascii()
    assert "\n" not in line
    read = json.loads(line)
    assert (read["path"], read["count"], read["at"]) == (event["path"], 2**70, "2024-05-01")
    assert read["time"] == "1970-01-01T00:00:00.000+00:00"


def test_an_answer_may_hold_numbers_past_64_bits() -> None:
    with Flask("tests").test_request_context():
        assert json.loads(json_response({"a": 2**70, "é": [1.5, None]}).get_data()) == {
            "a": 2**70,
            "é": [1.5, None],
        }


def test_headers_are_put_once_and_a_policy_of_its_own_stays() -> None:
    with Flask("tests").test_request_context():
        response = json_response({})
        response.headers["x-request-id"] = "old"
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        add_headers(response, ("X-Request-ID", "new"))
    assert response.headers.getlist("X-Request-ID") == ["new"]
    assert response.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_server_says_where_it_listens(capsys: pytest.CaptureFixture[str]) -> None:
    message = {"snapshot": "s1", "products": 1651}
    _show_address(message, "::1", 8000, as_json=False)
    _show_address({"snapshot": None, "products": 0}, "127.0.0.1", 8000, as_json=False)
    _show_address(message, "127.0.0.1", 8000, as_json=True)
    served, waiting, described = capsys.readouterr().out.splitlines()
    assert "1,651 products" in served
    assert "http://[::1]:8000" in served
    assert "no snapshot yet" in waiting
    assert json.loads(described)["products"] == 1651
    assert set(_granian_log("json")["handlers"]) == {"console", "access"}
    assert set(FORMATTERS) == {"json", "text"}


def test_the_server_turns_a_workers_failure_into_its_exit_code(tmp_path: Path) -> None:
    error = _failure({"error": "broken", "exit_code": 3})
    assert (str(error), error.exit_code) == ("broken", 3)
    with pytest.raises(Exception, match="no index folder"):
        _check_folder(Config(index=str(tmp_path / "none")))
    _check_folder(Config(index=str(tmp_path)))
    assert StartReports().failure is None


def test_several_workers_share_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    with _shared_metrics(1):
        assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    with _shared_metrics(2):
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        assert folder.is_dir()
    assert not folder.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_waiting_for_a_port_ends_when_it_listens() -> None:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        _wait_until_listening("0.0.0.0", listening.getsockname()[1])


def test_a_wrong_rate_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not a rate"):
        Rates("many/often")
    Rates("").hit("anybody")


def test_proxies_are_believed_only_as_far_as_told(catalogue: Catalogue) -> None:
    headers = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Prefix": "/visual",
        "X-Forwarded-Host": "shop.example",
    }
    path = "/api/v1/products/p00"
    behind = client_of(create_app(catalogue, ServiceConfig(proxies=1, read_only=True)))
    assert behind.get(path, headers=headers).json["image_url"].startswith("/visual/api/")
    alone = client_of(create_app(catalogue, ServiceConfig(read_only=True)))
    assert alone.get(path, headers=headers).json["image_url"].startswith("/api/")


def test_attributes_keep_the_kinds_of_their_columns(
    tmp_path: Path, made: list[Made], small_source: Path
) -> None:
    import dataclasses

    kinds = {
        "stock": 3,
        "price": 1.5,
        "brand": "a",
        "new": True,
        "seen": dt.datetime(2024, 1, 1),
        "odd": None,
    }
    first = dataclasses.replace(made[0], product=dataclasses.replace(made[0].product, attributes=kinds))
    publish_made(tmp_path / "index", [first], small_source)
    with Catalogue.open(tmp_path / "index", embedder=GridEmbedder()) as catalogue:
        view = catalogue.view()

        def checked(**attributes: object) -> dict[str, object]:
            return dict(NewProduct("n", "c", attributes=attributes).validated(view).attributes)

        assert checked(stock=4, price=2, brand="b", new=False) == {
            "stock": 4,
            "price": 2.0,
            "brand": "b",
            "new": False,
        }
        assert checked(stock=4.0, other="x", brand=None) == {"stock": 4, "other": "x", "brand": None}
        for wrong in (
            {"stock": 1.5},
            {"stock": True},
            {"price": "2"},
            {"brand": 2},
            {"new": 1},
            {"seen": "today"},
        ):
            with pytest.raises(InputError, match="is of type"):
                checked(**wrong)
        for unusable in (
            {"id": "x"},
            {"": 1},
            {"a\n": 1},
            {"list": [1]},
            {"stock": 2.0**70},
            {"price": 10**400},
        ):
            with pytest.raises(InputError):
                checked(**unusable)
        for infinite in (float("inf"), float("-inf"), float("nan")):
            with pytest.raises(InputError, match="beyond"):
                checked(stock=infinite)
        with pytest.raises(InputError, match="at most 100"):
            checked(**{f"a{number}": 1 for number in range(101)})
        with pytest.raises(InputError, match="at most 500"):
            NewProduct("x" * 501, "c").validated(view)


def test_ids_are_made_of_the_name_and_what_is_free() -> None:
    taken = {"tenis-azul-abcdef01", "tenis-azul-abcdef01-2"}
    assert (
        generate_id(NewProduct("Tênis Azul!", "c"), "abcdef0123", taken.__contains__)
        == "tenis-azul-abcdef01-3"
    )
    assert generate_id(NewProduct("靴", "c"), "abcdef0123", taken.__contains__).endswith("abcdef01")
