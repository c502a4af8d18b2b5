"""JSON responses and their headers."""

from __future__ import annotations

import json

from flask import Flask

from vitrine.service.http.responses import add_headers, json_response


def test_json_may_contain_numbers_past_64_bits() -> None:
    with Flask("tests").test_request_context():
        assert json.loads(json_response({"a": 2**70, "é": [1.5, None]}).get_data()) == {
            "a": 2**70,
            "é": [1.5, None],
        }


def test_headers_are_set_once_and_an_own_policy_is_kept() -> None:
    with Flask("tests").test_request_context():
        response = json_response({})
        response.headers["x-request-id"] = "old"
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        add_headers(response, ("X-Request-ID", "new"))
    assert response.headers.getlist("X-Request-ID") == ["new"]
    assert response.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
