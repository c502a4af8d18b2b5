"""Uploaded products that follow the products of a source."""

from pathlib import Path

import numpy as np
import pytest

from tests.indexer.source.folders import column_values, make_folder
from vitrine.indexer.errors import PictureError
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.source.source import open_source
from vitrine.indexer.source.uploads import add_uploads


def upload(product_id: str, **attributes: object) -> Upload:
    product = {
        "id": product_id, "name": "New", "category": "bags", "group": None,
        "image": f"uploads/{product_id}.jpg", "sha256": "00", "width_px": 3, "height_px": 4,
        "attributes": attributes,
    }  # fmt: skip
    return Upload(product, "model", np.zeros(2, np.float32))


def test_uploads_follow_the_products_of_the_source(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path / "photos", "shoes/1.jpg"))
    index = make_folder(tmp_path / "index", "uploads/new.jpg")
    combined = add_uploads(source, {"new": upload("new", price=3)}, index)
    assert column_values(combined, "id") == ["shoes:1", "new"]
    assert column_values(combined, "price") == [None, 3]
    assert [combined.read(row) for row in (0, 1)] == [b"shoes/1.jpg", b"uploads/new.jpg"]
    assert combined.resolve_image(0) == str(tmp_path / "photos/shoes/1.jpg")
    assert combined.resolve_image(1) == "uploads/new.jpg"
    assert combined.fingerprint(0) is not None
    assert combined.fingerprint(1) is None


def test_an_upload_with_an_id_of_the_source_is_ignored(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path, "shoes/1.jpg"))
    assert add_uploads(source, {"shoes:1": upload("shoes:1")}, tmp_path) is source
    assert add_uploads(source, {}, tmp_path) is source


def test_a_missing_uploaded_picture_is_a_picture_error(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path / "photos", "shoes/1.jpg"))
    combined = add_uploads(source, {"new": upload("new")}, tmp_path)
    with pytest.raises(PictureError, match="the uploaded picture is gone") as error:
        combined.read(1)
    assert error.value.code == "missing"
