"""A web server on loopback that misbehaves as told, as mirrors, proxies and hotel networks do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Gives each request of a path the next of its answers, the last one for ever."""

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

    def begin(self, status: int, length: int | None, **headers: str) -> None:
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
    """Behave: the file, or the rest of it where a range of the same version is asked for."""
    start = request.headers.get("Range", "")
    if start and request.headers.get("If-Range") in (None, '"v1"'):
        first = int(start.removeprefix("bytes=").rstrip("-"))
        span = f"bytes {first}-{len(data) - 1}/{len(data)}"
        request.begin(206, len(data) - first, Content_Range=span, ETag='"v1"')
        request.wfile.write(data[first:])
        return
    request.begin(200, len(data), ETag='"v1"')
    request.wfile.write(data)


def status(code: int) -> Answer:
    return lambda request, _: request.send_error(code)


def cut(share: float = 0.5) -> Answer:
    """Close the connection after a share of the file."""

    def answer(request: Handler, data: bytes) -> None:
        request.begin(200, len(data), ETag='"v1"')
        request.wfile.write(data[: int(len(data) * share)])

    return answer


def cut_without_length(request: Handler, data: bytes) -> None:
    """Send half of it and say nothing of the length: only the content can tell."""
    request.begin(200, None)
    request.wfile.write(data[: len(data) // 2])


def too_long(request: Handler, data: bytes) -> None:
    """Say a length that is not the file's: half of it comes, and the rest is never read."""
    request.begin(200, len(data) + 1000)
    request.wfile.write(data)


def drip(request: Handler, data: bytes) -> None:
    """Send a byte now and then for as long as anybody listens, ten seconds at most."""
    request.begin(200, len(data), ETag='"v1"')
    for position in range(200):
        request.wfile.write(data[position : position + 1])
        request.wfile.flush()
        time.sleep(0.05)


def silence(request: Handler, _: bytes) -> None:
    """Take the request and say nothing."""
    time.sleep(2)


def web_page(request: Handler, _: bytes) -> None:
    """Answer 200 with a page that asks to log in."""
    page = b"<html>please log in</html>"
    request.begin(200, len(page), Content_Type="text/html; charset=utf-8")
    request.wfile.write(page)


def disguised_page(request: Handler, _: bytes) -> None:
    """The same, called a binary file."""
    page = b"<html>please log in</html>"
    request.begin(200, len(page), Content_Type="application/octet-stream")
    request.wfile.write(page)


def wrong_range(request: Handler, data: bytes) -> None:
    """Resume somewhere else than asked."""
    request.begin(206, 10, Content_Range=f"bytes 3-12/{len(data)}", ETag='"v1"')
    request.wfile.write(data[3:13])


def another_version(request: Handler, data: bytes) -> None:
    """Ignore the range, since the file has changed."""
    request.begin(200, len(data), ETag='"v2"')
    request.wfile.write(data)


def redirect(url: str) -> Answer:
    def answer(request: Handler, _: bytes) -> None:
        request.begin(302, 0, Location=url)

    return answer
