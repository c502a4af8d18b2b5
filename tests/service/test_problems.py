"""Problem objects of errors: statuses, types and members.

Covers vitrine.service.problems and vitrine.service.errors.
"""

from __future__ import annotations

import datetime as dt

import pytest

from vitrine.indexer.errors import PictureError, QueryError, SnapshotCorrupt, StorageFull, VitrineError
from vitrine.service import errors
from vitrine.service.problems import problem, problem_of


@pytest.mark.parametrize(
    ("error", "status", "slug", "field"),
    [
        (errors.UnknownProduct("p1"), 404, "unknown-product", "id"),
        (errors.UnknownProduct("p1", field="product"), 404, "unknown-product", "product"),
        (errors.IdTaken("p1"), 409, "id-taken", "id"),
        (errors.UnknownFinding("k"), 404, "unknown-finding", "keys"),
        (errors.QualityNotAnalysed("run the report"), 503, "not-looked-through", None),
        (errors.IdempotencyKeyReused(), 409, "idempotency-key-reused", "Idempotency-Key"),
        (errors.KeyRequired("no key"), 401, "key-required", None),
        (errors.TooManyRequests("later"), 429, "too-many-requests", None),
        (QueryError("limit: too large", field="limit"), 422, "impossible-request", "limit"),
        (QueryError("limit: not a number", field="limit", malformed=True), 400, "malformed-request", "limit"),
        (PictureError("broken"), 415, "not-a-picture", "image"),
        (PictureError("huge", code="too-large"), 413, "too-large", "image"),
        (StorageFull("no space"), 507, "storage-full", None),
        (SnapshotCorrupt("broken"), 503, "snapshot-unusable", None),
    ],
)
def test_each_error_has_its_status_and_type(
    error: VitrineError, status: int, slug: str, field: str | None
) -> None:
    members = problem_of(error)
    assert (members["status"], members["type"], members.get("field")) == (status, f"/problems/{slug}", field)
    assert members["detail"] == str(error)


def test_a_deleted_product_has_the_time_of_its_deletion() -> None:
    deleted_at = dt.datetime(2025, 1, 2, tzinfo=dt.UTC)
    assert problem_of(errors.DeletedProduct("p1", deleted_at))["deleted_at"] == "2025-01-02T00:00:00+00:00"
    assert "deleted_at" not in problem_of(errors.DeletedProduct("p1", None))


def test_the_message_of_a_foreign_error_is_not_shown() -> None:
    members = problem_of(RuntimeError("secret path"))
    assert (members["status"], members["type"]) == (500, "/problems/internal-error")
    assert "secret" not in str(members)


def test_members_without_a_value_are_left_out() -> None:
    assert problem(404, "a", "A", "b", field=None, more=1) == {
        "type": "/problems/a",
        "title": "A",
        "status": 404,
        "detail": "b",
        "more": 1,
    }
