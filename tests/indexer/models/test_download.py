"""Tests of vitrine.indexer.models.download with a server that fails in many ways."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexer.models import bad_server
from tests.indexer.models.bad_server import BadServer, running_server
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.models.download import Download, DownloadFailed, Limits, download

DATA = os.urandom(300_000)
# Retries follow at once. The strict limits are for servers that are slow on purpose.
QUICK = Limits(
    connect_s=LIMIT_S, read_s=LIMIT_S, attempts=3, backoff_s=0.01, slow_s=LIMIT_S, min_bytes_per_s=1000
)
STRICT = dataclasses.replace(QUICK, read_s=1.5, slow_s=1.0)
SLOW = (bad_server.slow, bad_server.no_response)


@pytest.fixture
def server() -> Iterator[BadServer]:
    with running_server() as server:
        yield server


def check_content(path: Path) -> None:
    if path.read_bytes() != DATA:
        raise ValueError("the content is wrong")


def file_to_download(server: BadServer, tmp_path: Path, path: str = "/file") -> Download:
    return Download(server.url + path, tmp_path / "here" / "file", check_content, "a file")


def assert_complete(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == DATA


def test_a_file_is_complete_and_no_other_file_is_left(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA)
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)


@pytest.mark.parametrize(
    "failure",
    [
        bad_server.status(403),
        bad_server.status(503),
        bad_server.status(429),
        bad_server.truncated(0.5),
        bad_server.truncated(0.0),
        bad_server.truncated_without_length,
        bad_server.wrong_length,
        bad_server.slow,
        bad_server.no_response,
        bad_server.web_page,
        bad_server.disguised_page,
    ],
)
def test_a_single_failure_is_retried(server: BadServer, tmp_path: Path, failure: bad_server.Answer) -> None:
    server.serve("/file", DATA, failure, bad_server.whole)
    download(file_to_download(server, tmp_path), STRICT if failure in SLOW else QUICK)
    assert_complete(tmp_path)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (bad_server.status(403), "HTTP 403 Forbidden"),
        (bad_server.status(503), "HTTP 503"),
        (bad_server.truncated(0.0), "closed after 0 of 300000 bytes"),
        (bad_server.truncated_without_length, "the content is wrong"),
        (bad_server.wrong_length, "closed after 300000 of 301000 bytes"),
        (bad_server.slow, "too slow"),
        (bad_server.no_response, "no data was received"),
        (bad_server.web_page, "a web page"),
        (bad_server.disguised_page, "the content is wrong"),
    ],
)
def test_a_permanent_failure_is_raised_after_all_attempts(
    server: BadServer, tmp_path: Path, failure: bad_server.Answer, reason: str
) -> None:
    server.serve("/file", DATA, failure)
    with pytest.raises(DownloadFailed, match=rf"{reason}.*\(tried 3 times\)"):
        download(file_to_download(server, tmp_path), STRICT if failure in SLOW else QUICK)
    assert not (tmp_path / "here" / "file").exists()


def test_a_missing_file_is_not_requested_again(server: BadServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"^HTTP 404 Not Found$"):
        download(file_to_download(server, tmp_path), QUICK)
    assert len(server.requests) == 1


def test_an_interrupted_download_is_resumed(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.truncated(0.5), bad_server.whole)
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)
    assert server.requests[1][1]["Range"] == "bytes=150000-"


def test_a_later_call_resumes_the_download(server: BadServer, tmp_path: Path) -> None:
    once = dataclasses.replace(QUICK, attempts=1)
    server.serve("/file", DATA, bad_server.truncated(0.25), bad_server.whole)
    with pytest.raises(DownloadFailed):
        download(file_to_download(server, tmp_path), once)
    download(file_to_download(server, tmp_path), once)
    assert_complete(tmp_path)
    assert server.requests[1][1]["Range"] == "bytes=75000-"


def test_a_changed_file_is_downloaded_again(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.truncated(0.5), bad_server.another_version)
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)


def test_a_wrong_byte_range_is_rejected(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.truncated(0.5), bad_server.wrong_range, bad_server.whole)
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)
    assert "Range" not in server.requests[2][1]


def test_a_rejected_byte_range_starts_the_download_again(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA, bad_server.truncated(0.5), bad_server.status(416), bad_server.whole)
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)


def test_a_redirect_is_followed(server: BadServer, tmp_path: Path) -> None:
    server.serve("/elsewhere", DATA)
    server.serve("/file", b"", bad_server.redirect(f"{server.url}/elsewhere"))
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)


def test_the_size_limit_is_checked_before_and_during_the_transfer(server: BadServer, tmp_path: Path) -> None:
    small = dataclasses.replace(QUICK, max_bytes=1000)
    server.serve("/file", DATA)
    with pytest.raises(DownloadFailed, match="the file has 300000 bytes, the limit is 1000"):
        download(file_to_download(server, tmp_path), small)
    server.serve("/file", DATA, bad_server.truncated_without_length)
    with pytest.raises(DownloadFailed, match="more than 1000 bytes were received"):
        download(file_to_download(server, tmp_path), small)


def test_a_refused_connection_is_an_error(tmp_path: Path) -> None:
    with running_server() as server:
        file = file_to_download(server, tmp_path)
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        download(file, QUICK)


def test_a_connection_attempt_without_an_answer_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def connect(*args: object, **options: object) -> None:
        released.wait(LIMIT_S)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DownloadFailed, match=r"example\.invalid did not accept a connection within 0\.2 s"):
        download(
            Download("https://example.invalid/x", tmp_path / "file", check_content, "a file"),
            dataclasses.replace(QUICK, connect_s=0.2),
        )
    released.set()


def test_an_unknown_host_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"nowhere\.invalid cannot be reached"):
        download(Download("https://nowhere.invalid/x", tmp_path / "file", check_content, "a file"))


def test_the_proxy_is_used(server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.serve("http://weights.invalid/file", DATA)
    target = Download("http://weights.invalid/file", tmp_path / "here" / "file", check_content, "a file")
    download(target, QUICK)
    assert_complete(tmp_path)


def test_other_schemes_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="not an http or https address"):
        download(Download("file:///etc/passwd", tmp_path / "file", check_content, "a file"))


def test_a_folder_that_cannot_be_written_is_an_error(server: BadServer, tmp_path: Path) -> None:
    server.serve("/file", DATA)
    (tmp_path / "here").write_text("a file where the folder should be")
    with pytest.raises(DownloadFailed, match="here"):
        download(file_to_download(server, tmp_path), QUICK)


def test_a_killed_download_is_resumed(server: BadServer, tmp_path: Path) -> None:
    is_killed = threading.Event()

    def stall(request: bad_server.Handler, data: bytes) -> None:
        request.send_head(200, len(data), ETag='"v1"')
        request.wfile.write(data[:200_000])
        request.wfile.flush()
        is_killed.wait(LIMIT_S)

    server.serve("/file", DATA, stall, bad_server.whole)
    code = (
        "import sys, pathlib; from vitrine.indexer.models.download import *\n"
        "download(Download(sys.argv[1], pathlib.Path(sys.argv[2]), lambda path: None, 'a file'))"
    )
    target = tmp_path / "here" / "file"
    process = subprocess.Popen([sys.executable, "-c", code, f"{server.url}/file", str(target)])
    partial = target.with_name("file.partial")
    wait_until(lambda: partial.exists() and partial.stat().st_size >= 131_072)
    process.send_signal(signal.SIGKILL)
    process.wait()
    is_killed.set()
    assert not target.exists()
    download(file_to_download(server, tmp_path), QUICK)
    assert_complete(tmp_path)
    assert int(server.requests[-1][1]["Range"].removeprefix("bytes=").rstrip("-")) >= 131_072
