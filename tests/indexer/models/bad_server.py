"""HTTP server on the loopback address that fails as mirrors, proxies and captive portals do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Handler that gives each request of a path the next of its answers, and repeats the last one."""

    server: "BadServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.path, dict(self.headers)))
        answers = self.server.answers.get(path)
        if answers is None:
            self.send_error(404)
            return
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):
            answer(self, self.server.files.get(path, b""))

    def send_head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class BadServer(ThreadingHTTPServer):
    """Server of files with scripted answers. requests: path and headers of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def serve(self, path: str, data: bytes, *answers: Answer) -> None:
        self.files[path] = data
        self.answers[path] = list(answers) or [whole]


@contextmanager
def running_server() -> Iterator[BadServer]:
    server = BadServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def whole(request: Handler, data: bytes) -> None:
    """Answer correctly: the file, or the rest of it if a range of the same version is requested."""
    byte_range = request.headers.get("Range", "")
    if byte_range and request.headers.get("If-Range") in (None, '"v1"'):
        first = int(byte_range.removeprefix("bytes=").rstrip("-"))
        content_range = f"bytes {first}-{len(data) - 1}/{len(data)}"
        request.send_head(206, len(data) - first, Content_Range=content_range, ETag='"v1"')
        request.wfile.write(data[first:])
        return
    request.send_head(200, len(data), ETag='"v1"')
    request.wfile.write(data)


def status(code: int) -> Answer:
    return lambda request, _: request.send_error(code)


def truncated(share: float = 0.5) -> Answer:
    """Return an answer that closes the connection after a share of the file."""

    def answer(request: Handler, data: bytes) -> None:
        request.send_head(200, len(data), ETag='"v1"')
        request.wfile.write(data[: int(len(data) * share)])

    return answer


def truncated_without_length(request: Handler, data: bytes) -> None:
    """Send half of the file without a length, so that only its content shows the truncation."""
    request.send_head(200, None)
    request.wfile.write(data[: len(data) // 2])


def wrong_length(request: Handler, data: bytes) -> None:
    """Send a length larger than the file."""
    request.send_head(200, len(data) + 1000)
    request.wfile.write(data)


def slow(request: Handler, data: bytes) -> None:
    """Send one byte every 50 ms, for ten seconds at most."""
    request.send_head(200, len(data), ETag='"v1"')
    for position in range(200):
        request.wfile.write(data[position : position + 1])
        request.wfile.flush()
        time.sleep(0.05)


def no_response(request: Handler, _: bytes) -> None:
    """Accept the request and send no response for longer than the strict limits allow."""
    time.sleep(2)


def web_page(request: Handler, _: bytes) -> None:
    """Answer 200 with a login page."""
    page = b"<html>please log in</html>"
    request.send_head(200, len(page), Content_Type="text/html; charset=utf-8")
    request.wfile.write(page)


def disguised_page(request: Handler, _: bytes) -> None:
    """Answer 200 with a login page whose content type is that of a binary file."""
    page = b"<html>please log in</html>"
    request.send_head(200, len(page), Content_Type="application/octet-stream")
    request.wfile.write(page)


def wrong_range(request: Handler, data: bytes) -> None:
    """Send another byte range than the requested one."""
    request.send_head(206, 10, Content_Range=f"bytes 3-12/{len(data)}", ETag='"v1"')
    request.wfile.write(data[3:13])


def another_version(request: Handler, data: bytes) -> None:
    """Ignore the requested range and send a new version of the file."""
    request.send_head(200, len(data), ETag='"v2"')
    request.wfile.write(data)


def redirect(url: str) -> Answer:
    def answer(request: Handler, _: bytes) -> None:
        request.send_head(302, 0, Location=url)

    return answer
