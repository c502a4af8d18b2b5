"""Tests of csv: downloads for spreadsheets."""

from __future__ import annotations

import csv
import io

import pytest
from flask import Flask

from vitrine.service.http.csv import csv_response, escape_formula


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_formula_is_shown_as_text(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Tênis", "a=b", "1+1"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert escape_formula(text) == text


def test_rows_are_a_download_that_spreadsheets_read(app: Flask) -> None:
    with app.test_request_context("/"):
        response = csv_response("table.csv", [("name", "price"), ('says "=1"; ç', 1.5), ("=2+2", -3)])
    assert response.mimetype == "text/csv"
    assert response.headers["Content-Disposition"] == "attachment; filename=table.csv"
    text = response.get_data(as_text=True)
    assert text.startswith("\ufeff")  # Excel reads UTF-8 only with a byte order mark
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert rows == [["name", "price"], ['says "=1"; ç', "1.5"], ["'=2+2", "-3"]]
