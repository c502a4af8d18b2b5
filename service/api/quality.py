"""Operations on what may be wrong in the catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from flask import Response, request

from vitrine.service.api.operations import Call, Operations
from vitrine.service.api.schemas import DismissedShape, QualityShape
from vitrine.service.catalogue.request_models import DismissRequest, QualityQuery
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.http.csv import csv_reply

operation = Operations()
_COLUMNS = ("kind", "id", "name", "category", "strength", "evidence", "ids", "reason", "key")


@operation(
    "GET /quality", QualityShape, query=QualityQuery, tagged=True, media=("text/csv",), problems=(422,)
)
def quality(call: Call) -> Json | Response:
    """What may be wrong in the catalogue, with evidence; as CSV for spreadsheets too."""
    wants_csv = request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
    if call.asked.format == "csv" or wants_csv:
        asked = call.asked.model_copy(update={"format": "csv"})
        return csv_reply("vitrine-quality.csv", _rows(call.catalogue.quality(asked)["findings"]))
    return call.catalogue.quality(call.asked)


@operation(
    "POST /quality/dismiss", DismissedShape, body=DismissRequest, writes=True, problems=(404, 422, 507)
)
def dismiss_findings(call: Call) -> Json:
    """Record that findings are no mistakes; undo takes it back."""
    return call.catalogue.dismiss(call.asked.keys, by=call.caller)


def _rows(findings: Sequence[Json]) -> Iterator[Sequence[object]]:
    yield _COLUMNS
    for each in findings:
        about = each["products"][0]
        reason = json.dumps(each["reason"], ensure_ascii=False)
        yield (
            each["kind"], about["id"], about["name"], about["category"], each["strength"],
            " ".join(each["evidence"]), " ".join(each["ids"]), reason, each["key"],
        )  # fmt: skip
