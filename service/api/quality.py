"""Operations on quality findings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from flask import Response, request

from vitrine.service.api.operations import Call, Operations
from vitrine.service.api.schemas import DismissedShape, QualityShape
from vitrine.service.catalogue.request_models import DismissRequest, QualityQuery
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.http.csv import csv_response

operation = Operations()
_COLUMNS = ("kind", "id", "name", "category", "strength", "evidence", "ids", "reason", "key")


@operation(
    "GET /quality", QualityShape, query=QualityQuery, tagged=True, media=("text/csv",), problems=(422,)
)
def quality(call: Call) -> Json | Response:
    """List possible mistakes in the catalogue, with evidence; also as CSV."""
    wants_csv = request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
    if call.arguments.format == "csv" or wants_csv:
        every_page = call.arguments.model_copy(update={"format": "csv"})
        return csv_response("vitrine-quality.csv", _rows(call.catalogue.quality(every_page)["findings"]))
    return call.catalogue.quality(call.arguments)


@operation(
    "POST /quality/dismiss", DismissedShape, body=DismissRequest, writes=True, problems=(404, 422, 507)
)
def dismiss_findings(call: Call) -> Json:
    """Dismiss findings that are no mistakes; can be undone."""
    return call.catalogue.dismiss(call.arguments.keys, by=call.caller)


def _rows(findings: Sequence[Json]) -> Iterator[Sequence[object]]:
    yield _COLUMNS
    for finding in findings:
        product = finding["products"][0]
        reason = json.dumps(finding["reason"], ensure_ascii=False)
        yield (
            finding["kind"], product["id"], product["name"], product["category"], finding["strength"],
            " ".join(finding["evidence"]), " ".join(finding["ids"]), reason, finding["key"],
        )  # fmt: skip
