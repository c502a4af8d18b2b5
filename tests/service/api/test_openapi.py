"""The OpenAPI document says what is served, and what is served keeps to it (schemathesis, all checks)."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.http_client import Client
from tests.waiting import LIMIT_S
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.api import OPERATIONS
from vitrine.service.api.openapi import openapi_document
from vitrine.service.catalogue.serialisation import API

KEY = "a-key-for-schemathesis"
RULES = Path(__file__).with_name("schemathesis.toml")


def test_every_route_is_in_the_document(app: Flask, client: Client) -> None:
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(API) and "fallback" not in rule.endpoint
    }
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert routes <= described
    assert {"/healthz", "/readyz", "/metrics"} <= {path for path, _ in described}


def test_every_operation_is_summed_up_and_named_once() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(operation.summary.endswith(".") for operation in OPERATIONS)


def test_every_reference_in_the_document_leads_somewhere() -> None:
    document = openapi_document("", has_keys=True)
    schemas = document["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/(\w+)", str(document)):
        assert name in schemas
    assert openapi_document("", has_keys=False)["components"]["securitySchemes"] == {}


def test_the_docs_page_needs_no_other_host(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for address in re.findall(r'(?:src|href|data-document)="([^"]+)"', page.text):
        assert address.startswith("/")
        with client.get(address) as found:
            assert found.status_code == 200
    assert "<script>" not in page.text
    assert "http" not in page.text


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an application on a free port of this machine; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("keys", "phases"), [((), "coverage,stateful"), ((KEY,), "fuzzing")])
def test_schemathesis_finds_nothing(catalogue: Catalogue, keys: tuple[str, ...], phases: str) -> None:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with served(create_app(catalogue, ServiceConfig(api_keys=keys, access_log=False))) as url:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(RULES), "run"),
            *(f"{url}/openapi.json", "--max-examples", "4", "--seed", "1"),
            *("--phases", phases, "--max-failures", "20", "--no-color"),
            *("--header", f"Authorization: Bearer {KEY}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
