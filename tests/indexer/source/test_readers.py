"""Readers of local files and URLs: limits on size and time, and errors of servers and file systems."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import PictureError, SourceError
from vitrine.indexer.pictures.preprocessing import MAX_BYTES
from vitrine.indexer.source import readers
from vitrine.indexer.source.readers import (
    FileTooLarge,
    LocalReader,
    RemoteReader,
    UrlReader,
    is_url,
    local_path,
    read_local,
)
from vitrine.indexer.source.source import open_source


class Handler(BaseHTTPRequestHandler):
    """Handler that misbehaves as the first part of the path says, and records the requested paths."""

    requested_paths: list[str] = []  # noqa: RUF012, one list for one server

    def do_GET(self) -> None:
        type(self).requested_paths.append(self.path)
        behaviour = self.path.strip("/").split("/")[0].split("?")[0]
        getattr(self, f"answer_{behaviour.split('.')[0]}", self.answer_missing)()

    def answer_picture(self, body: bytes = b"picture") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_catalogue(self) -> None:
        self.answer_picture(b"image\npicture/a.jpg\nmissing/b.jpg\n")

    def answer_missing(self) -> None:
        self.send_error(404)

    def answer_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/picture/a.jpg")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_broken(self) -> None:
        self.send_error(503)

    def answer_shaky(self) -> None:
        if type(self).requested_paths.count(self.path) < 2:
            self.send_error(503)
        else:
            self.answer_picture()

    def answer_forbidden(self) -> None:
        self.send_error(403)

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def answer_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 20))
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "TIMEOUT_S", 0.6)
    monkeypatch.setattr(UrlReader.__init__, "__defaults__", (0.6,))


@pytest.mark.parametrize("path", ["picture/a.jpg?x=1", "moved/a.jpg", "shaky/a.jpg"])
def test_a_picture_over_http_is_read(server: str, path: str) -> None:
    assert RemoteReader(server).read(path) == b"picture"
    assert LocalReader(".").read(f"{server}/{path}") == b"picture"


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("missing/a.jpg", "missing", "the file is missing"),
        ("forbidden/a.jpg", "unreadable", "cannot be read: HTTP 403"),
        ("broken/a.jpg", "unreadable", "cannot be read: HTTP 503"),
        ("endless/a.jpg", "too-large", "larger than 32 MiB"),
    ],
)
def test_an_http_error_is_a_picture_error_with_its_reason(
    server: str, path: str, code: str, reason: str
) -> None:
    with pytest.raises(PictureError) as error:
        RemoteReader(server).read(path)
    assert (error.value.code, error.value.reason) == (code, reason)


def test_an_interrupted_download_is_a_picture_error(server: str) -> None:
    with pytest.raises(PictureError, match=r"cannot be read: ProtocolError: .*Connection broken"):
        RemoteReader(server).read("cut/a.jpg")


@pytest.mark.usefixtures("short_timeout")
def test_a_slow_download_times_out(server: str) -> None:
    with pytest.raises(PictureError, match="no answer in time"):
        RemoteReader(server).read("drip/a.jpg")
    wait_until(lambda: all(thread.name != readers.READER_THREAD_NAME for thread in threading.enumerate()))


@pytest.mark.usefixtures("short_timeout")
def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = RemoteReader(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PictureError, match="no answer in time"):
            reader.read("a.jpg")


@pytest.mark.usefixtures("short_timeout")
def test_a_hanging_file_system_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(fsspec, "open", lambda *_: released.wait(LIMIT_S))
    with pytest.raises(PictureError, match="no answer in time"):
        RemoteReader("memory://x").read("a.jpg")
    released.set()


def test_a_refused_connection_is_a_picture_error() -> None:
    with pytest.raises(PictureError, match=r"cannot be fetched \(ConnectionError\)"):
        RemoteReader("http://127.0.0.1:9").read("a.jpg")


def test_a_manifest_at_an_http_url_is_a_source(server: str) -> None:
    source = open_source(f"{server}/catalogue.csv?token=1")
    assert source.products["id"].to_pylist() == ["picture:a", "missing:b"]
    assert source.read(0) == b"picture"
    assert source.resolve_image(0) == f"{server}/picture/a.jpg"
    with pytest.raises(PictureError) as error:
        source.read(1)
    assert error.value.code == "missing"


def test_a_file_system_that_is_not_installed_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read: Install s3fs"):
        LocalReader(str(tmp_path)).read("s3://bucket/a.jpg")
    with pytest.raises(PictureError, match="cannot be read: Protocol not known: nope"):
        LocalReader(str(tmp_path)).read("nope://bucket/a.jpg")


def test_an_error_of_a_client_library_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        """Stand-in for the exception of botocore, which is not an OSError."""

    def refuse(*_: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(fsspec, "open", refuse)
    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(
        PictureError, match="cannot be read: NoCredentialsError: Unable to locate credentials"
    ):
        RemoteReader("s3://x").read("a.jpg")
    with pytest.raises(SourceError, match="cannot be listed: NoCredentialsError"):
        open_source("s3://x/folder")
    with pytest.raises(SourceError, match="cannot be read: NoCredentialsError"):
        open_source("s3://x/catalogue.csv")


def test_a_remote_file_over_the_limit_is_too_large() -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/large/a.jpg", bytes(MAX_BYTES + 1))
    try:
        with pytest.raises(PictureError, match="larger than 32 MiB"):
            RemoteReader("memory://large").read("a.jpg")
    finally:
        filesystem.rm("/large", recursive=True)


def test_a_local_file_over_the_limit_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(bytes(3 << 20))
    assert len(read_local(str(file), 3 << 20)) == 3 << 20
    with pytest.raises(FileTooLarge, match="larger than 2 MiB"):
        read_local(str(file), 2 << 20)


@pytest.mark.parametrize(
    ("location", "url"),
    [("a/b.jpg", False), ("/a/b", False), ("file:///a", False), ("local:///a", False), ("s3://a/b", True)],
)
def test_urls_and_paths_are_distinguished(location: str, url: bool) -> None:
    assert is_url(location) is url
    assert local_path("file:///a/b") == local_path("local:///a/b") == "/a/b"


def read_or_code(read: Callable[[], bytes]) -> bytes | str:
    try:
        return read()
    except PictureError as error:
        return error.code


def test_only_relative_images_are_confined_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop2").mkdir()
    (tmp_path / "shop2" / "a.jpg").write_bytes(b"a")
    (tmp_path / "shop" / "a.jpg").symlink_to("../shop2/a.jpg")
    reader = LocalReader(str(tmp_path / "shop"))
    assert read_or_code(lambda: reader.read("a.jpg")) == "outside-source"
    assert read_or_code(lambda: reader.read("../shop2/a.jpg")) == "outside-source"
    assert read_or_code(lambda: reader.read(str(tmp_path / "shop2" / "a.jpg"))) == b"a"
    assert read_or_code(lambda: reader.read(f"file://{tmp_path}/shop2/a.jpg")) == b"a"
