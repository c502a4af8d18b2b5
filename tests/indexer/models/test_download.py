"""Downloads from a server that does what servers do when one least needs it."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexer.models import bad_server
from tests.indexer.models.bad_server import BadServer, running_server
from vitrine.indexer.models.download import Download, DownloadFailed, Limits, download

DATA = os.urandom(300_000)
QUICK = Limits(connect_s=2, read_s=0.5, tries=3, backoff_s=0.01, slow_s=0.3, min_bytes_per_s=1000)


@pytest.fixture
def server() -> Iterator[BadServer]:
    with running_server() as server:
        yield server


def is_right(path: Path) -> None:
    if path.read_bytes() != DATA:
        raise ValueError("what came is not the file")


def wanted(server: BadServer, tmp_path: Path, path: str = "/file") -> Download:
    return Download(server.url + path, tmp_path / "here" / "file", is_right, "a file")


def assert_whole(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == DATA


def test_a_file_arrives_whole_and_nothing_is_left_beside_it(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "trouble",
    [
        bad_server.status(403),
        bad_server.status(503),
        bad_server.status(429),
        bad_server.cut(0.5),
        bad_server.cut(0.0),
        bad_server.cut_without_length,
        bad_server.too_long,
        bad_server.drip,
        bad_server.silence,
        bad_server.web_page,
        bad_server.disguised_page,
    ],
)
def test_one_trouble_is_outlived(server: BadServer, tmp_path: Path, trouble: bad_server.Answer) -> None:
    server.serve("/file", DATA, trouble, bad_server.whole)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (bad_server.status(403), "HTTP 403 Forbidden"),
        (bad_server.status(503), "HTTP 503"),
        (bad_server.cut(0.0), "cut after 0 of 300000 bytes"),
        (bad_server.cut_without_length, "what came is not the file"),
        (bad_server.too_long, "cut after 300000 of 301000 bytes"),
        (bad_server.drip, "too slowly"),
        (bad_server.silence, "nothing came for too long"),
        (bad_server.web_page, "a web page"),
        (bad_server.disguised_page, "what came is not the file"),
    ],
)
def test_trouble_that_lasts_is_named_and_bounded(
    server: BadServer, tmp_path: Path, trouble: bad_server.Answer, reason: str
) -> None:
    server.serve("/file", DATA, trouble)
    with pytest.raises(DownloadFailed, match=rf"{reason}.*\(tried 3 times\)"):
        download(wanted(server, tmp_path), QUICK)
    assert not (tmp_path / "here" / "file").exists()


def test_a_missing_file_is_not_asked_for_twice(server: BadServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"^HTTP 404 Not Found$"):
        download(wanted(server, tmp_path), QUICK)
    assert len(server.requests) == 1


def test_a_cut_download_goes_on_where_it_stopped(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.cut(0.5), bad_server.whole)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)
    assert server.requests[1][1]["Range"] == "bytes=150000-"


def test_a_later_call_goes_on_too(server: BadServer, tmp_path: Path) -> None:
    once = dataclasses.replace(QUICK, tries=1)
    server.serve("/file", DATA, bad_server.cut(0.25), bad_server.whole)
    with pytest.raises(DownloadFailed):
        download(wanted(server, tmp_path), once)
    download(wanted(server, tmp_path), once)
    assert_whole(tmp_path)
    assert server.requests[1][1]["Range"] == "bytes=75000-"


def test_a_changed_file_begins_again(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.cut(0.5), bad_server.another_version)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)


def test_a_range_that_is_not_the_one_asked_for_is_refused(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.cut(0.5), bad_server.wrong_range, bad_server.whole)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)
    assert "Range" not in server.requests[2][1]


def test_a_refused_range_begins_again(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.cut(0.5), bad_server.status(416), bad_server.whole)
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)


def test_a_redirect_is_followed(server: BadServer, tmp_path: Path) -> None:
    server.serve("/elsewhere", DATA)
    server.serve("/file", b"", bad_server.redirect(f"{server.url}/elsewhere"))
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)


def test_more_than_the_limit_is_refused_before_and_while_it_comes(server: BadServer, tmp_path: Path) -> None:
    small = dataclasses.replace(QUICK, max_bytes=1000)
    server.serve("/file", DATA)
    with pytest.raises(DownloadFailed, match="it says it is 300000 bytes"):
        download(wanted(server, tmp_path), small)
    server.serve("/file", DATA, bad_server.cut_without_length)
    with pytest.raises(DownloadFailed, match="more than 1000 bytes came"):
        download(wanted(server, tmp_path), small)


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    with running_server() as server:
        gone = wanted(server, tmp_path)
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        download(gone, QUICK)


def test_a_network_that_swallows_everything_is_left_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swallowed = threading.Event()

    def connect(*args: object, **options: object) -> None:
        swallowed.wait(60)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    begin = time.monotonic()
    with pytest.raises(DownloadFailed, match=r"example\.invalid does not answer within 0\.2 s"):
        download(
            Download("https://example.invalid/x", tmp_path / "file", is_right, "a file"),
            dataclasses.replace(QUICK, connect_s=0.2),
        )
    assert time.monotonic() - begin < 50
    swallowed.set()


def test_an_unknown_host_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"nowhere\.invalid cannot be reached"):
        download(Download("https://nowhere.invalid/x", tmp_path / "file", is_right, "a file"))


def test_the_proxy_is_what_must_be_reached(
    server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.serve("http://weights.invalid/file", DATA)
    target = Download("http://weights.invalid/file", tmp_path / "here" / "file", is_right, "a file")
    download(target, QUICK)
    assert_whole(tmp_path)


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="not an http or https address"):
        download(Download("file:///etc/passwd", tmp_path / "file", is_right, "a file"))


def test_a_folder_that_cannot_be_written_is_named(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA)
    (tmp_path / "here").write_text("a file where the folder should be")
    with pytest.raises(DownloadFailed, match="here"):
        download(wanted(server, tmp_path), QUICK)


def test_a_killed_download_goes_on(server: BadServer, tmp_path: Path) -> None:
    arrived = threading.Event()

    def stall(request: bad_server.Handler, data: bytes) -> None:
        request.begin(200, len(data), ETag='"v1"')
        request.wfile.write(data[:200_000])
        request.wfile.flush()
        arrived.wait(20)

    server.serve("/file", DATA, stall, bad_server.whole)
    code = (
        "import sys, pathlib; from vitrine.indexer.models.download import *\n"
        "download(Download(sys.argv[1], pathlib.Path(sys.argv[2]), lambda path: None, 'a file'))"
    )
    target = tmp_path / "here" / "file"
    process = subprocess.Popen([sys.executable, "-c", code, f"{server.url}/file", str(target)])
    partial = target.with_name("file.partial")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size >= 131_072):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrived.set()
    assert not target.exists()
    download(wanted(server, tmp_path), QUICK)
    assert_whole(tmp_path)
    assert int(server.requests[-1][1]["Range"].removeprefix("bytes=").rstrip("-")) >= 131_072
