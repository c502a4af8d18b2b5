"""Fuzz tests of manifests, pictures and requests: only documented errors, no file written elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import FUZZED, damaged
from tests.http_client import Client
from tests.pictures import VALID_PICTURES, jpeg
from vitrine.indexer.errors import PictureError, SourceError
from vitrine.indexer.pictures.preprocessing import make_thumbnail, open_picture
from vitrine.indexer.source.manifest import parse_manifest

API = "/api/v1"
PICTURES = [make() for make in VALID_PICTURES.values()]
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "image": "a.jpg",
        "category": "tênis",
        "price": 1.5,
        "tags": ["x", None],
        "since": "2024-05-01",
    },
    {"id": "b", "image": "b.jpg", "category": "bolsa", "price": None, "tags": [], "more": {"n": 1}},
]
CSV = (
    b"id;image;category;price\n1;a.jpg;t\xc3\xaanis;1,5\n2;b.jpg;bolsa;\n",
    'id,image,name\na,a.jpg,"um, dois"\n'.encode("utf-16"),
    b"image\tcategory\na.jpg\trel\xf3gio\n",
)


def _parquet() -> bytes:
    out = io.BytesIO()
    columns = {"id": ["a", "b"], "image": ["a.jpg", "b.jpg"], "price": [1.5, None], "at": [1, 2]}
    pa_parquet.write_table(pa.table(columns), out)
    return out.getvalue()


VALID_MANIFESTS: dict[str, list[bytes]] = {
    "csv": list(CSV),
    "jsonl": [
        "\n".join(json.dumps(row) for row in ROWS).encode(),
        b'{"image": "a.jpg"}\n\n{"image": "b.jpg"}',
    ],
    "parquet": [_parquet()],
}
# Lines of a JSONL file other than a product, and line separators.
VALUES = (b"null", b"[]", b"1", b'""', b"{}", b"[{}]", b"\x00", b'{"image": null}', b'{"image": "a"}', b"")
LINES = st.builds(
    bytes.join, st.sampled_from([b"\n", b"\r\n", b"\r", b" "]), st.lists(st.sampled_from(VALUES), max_size=5)
)
FILE_NAMES = ("../../a.jpg", "/etc/passwd", "a\x00.jpg", "C:\\a.exe", "..", "")
INDEX_FILES = {
    "build.lock",
    "current",
    "snapshots",
    "cache",
    "uploads",
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite-shm",
}
DISPOSITIONS = (b"", b'; filename="a.jpg"', b'; filename="\xff\r\nX: 1"', b"; filename*=utf-8''%ff")


@pytest.mark.parametrize("format", VALID_MANIFESTS)
@FUZZED
@given(data=st.data())
def test_damaged_manifests_raise_only_source_errors(format: str, data: st.DataObject) -> None:
    manifest = data.draw(damaged(VALID_MANIFESTS[format]) | st.binary(max_size=200) | LINES)
    with contextlib.suppress(SourceError):
        assert isinstance(parse_manifest(manifest, f"shop.{format}", {}), pa.Table)


@FUZZED
@given(data=damaged(PICTURES))
def test_damaged_pictures_raise_only_picture_errors(data: bytes) -> None:
    with contextlib.suppress(PictureError):
        assert open_picture(data).mode == "RGB"
    with contextlib.suppress(PictureError):
        assert make_thumbnail(data, 32)


@FUZZED
@given(data=damaged(PICTURES), crop=st.text("0123456789.,-e", max_size=20) | st.just("0,0,1,1"))
def test_a_damaged_photo_is_answered_with_a_documented_status(client: Client, data: bytes, crop: str) -> None:
    form = {"image": (io.BytesIO(data), "a"), "crop": crop}
    assert client.post(f"{API}/search/image", data=form).status_code in (200, 400, 413, 415, 422)


@FUZZED
@given(
    data=damaged(PICTURES) | st.just(jpeg(40, 40, 1)),
    file_name=st.sampled_from(FILE_NAMES) | st.text(max_size=20),
    id=st.none() | st.sampled_from(["..", ".", "%2e%2e", "a\\b", "~"]) | st.text(max_size=9),
)
def test_no_upload_writes_outside_the_index_folder(
    client: Client, tmp_path: Path, small_index: Path, data: bytes, file_name: str, id: str | None
) -> None:
    form: dict[str, Any] = {"name": "n", "category": "c", "image": (io.BytesIO(data), file_name)}
    if id is not None:
        form["id"] = id
    assert client.post(f"{API}/products", data=form).status_code in (201, 400, 409, 413, 415, 422)
    assert [path for path in tmp_path.iterdir() if path != small_index] == []
    assert {path.name for path in small_index.iterdir()} <= INDEX_FILES
    assert all(path.stem.isalnum() for path in (small_index / "uploads").glob("*"))


# Werkzeug leaves the temporary file of an incomplete body to the garbage collector.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@FUZZED
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([b"image", b"name", b"category", b"id", b"crop", b"limit", b"", b'"', b"\xff"]),
            st.sampled_from(DISPOSITIONS),
            st.binary(max_size=40),
        ),
        max_size=5,
    ),
    ending=st.sampled_from([b"--", b"", b"--\r\n", b"-"]),
)
def test_a_malformed_multipart_body_is_answered_with_a_documented_status(
    client: Client, parts: list[tuple[bytes, bytes, bytes]], ending: bytes
) -> None:
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part for part in parts
    )
    for path in ("/search/image", "/products"):
        reply = client.post(
            f"{API}{path}", data=body + b"--x" + ending, content_type="multipart/form-data; boundary=x"
        )
        assert reply.status_code in (400, 413, 415, 422)
        assert "X" not in reply.headers
