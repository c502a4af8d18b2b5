"""CSV responses for spreadsheets, with formulas escaped."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from flask import Response


def escape_formula(text: str) -> str:
    """Return a text that a spreadsheet shows instead of evaluating it as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def csv_response(name: str, rows: Iterable[Sequence[object]]) -> Response:
    """Return rows as a CSV download: comma separated, with decimal points."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([escape_formula(cell) if isinstance(cell, str) else cell for cell in row])
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response("\ufeff" + out.getvalue(), mimetype="text/csv", headers=headers)
