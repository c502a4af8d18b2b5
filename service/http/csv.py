"""Tables for spreadsheets: CSV that says what it is and computes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from flask import Response


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows instead of computing it."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def csv_reply(name: str, rows: Iterable[Sequence[object]]) -> Response:
    """Return rows as a file to keep: comma separated, numbers with dots, as programs read it."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in row])
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response("\ufeff" + out.getvalue(), mimetype="text/csv", headers=headers)
