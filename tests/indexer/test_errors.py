"""Tests of vitrine.indexer.errors and vitrine.indexer.progress: exit codes, attributes, the error tree."""

import inspect
import re

from vitrine.indexer import errors
from vitrine.indexer.errors import (
    InputError,
    ModelError,
    PictureError,
    QueryError,
    SnapshotError,
    VitrineError,
)
from vitrine.indexer.progress import Progress, SilentProgress


def error_classes() -> list[type[VitrineError]]:
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    return [value for value in classes if issubclass(value, VitrineError)]


def test_the_docstring_lists_every_error_below_its_base() -> None:
    listed = re.findall(r"^(?:[│├└─ ]*)(\w+)", errors.__doc__ or "", re.MULTILINE)
    for error in error_classes():
        assert error.__name__ in listed
        if error is not VitrineError:
            assert listed.index(error.__bases__[0].__name__) < listed.index(error.__name__)


def test_the_exit_code_depends_on_the_base_class() -> None:
    codes = {InputError: 2, SnapshotError: 3, ModelError: 4}
    for error in error_classes():
        expected = [code for base, code in codes.items() if issubclass(error, base)] or [1]
        assert [error.exit_code] == expected


def test_errors_carry_what_their_handlers_need() -> None:
    picture = PictureError("the file is missing", code="missing")
    assert (str(picture), picture.reason, picture.code) == (
        "the file is missing",
        "the file is missing",
        "missing",
    )
    query = QueryError("k must be positive", field="k", malformed=True)
    assert (query.field, query.malformed, query.exit_code) == ("k", True, 2)


def test_silent_progress_accepts_every_report() -> None:
    progress: Progress = SilentProgress()
    progress.start(None, "pictures")
    progress.advance(3)
    progress.note("done")
    progress.done()
