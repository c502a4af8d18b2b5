"""Where pictures lie: bytes of local files and URLs, bounded in size and time. Knows nothing of products.

Relative images are read inside the place's own folder only, whatever symbolic links say; absolute paths and
URLs are read as they are, since whoever may index a source may name any file.
"""

# os.path on strings, not Path: these functions run for each of a million pictures.
# ruff: noqa: PTH100, PTH116, PTH117, PTH118, PTH123

import os
import posixpath
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol, TypeVar

import fsspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures.preprocessing import MAX_BYTES

T = TypeVar("T")

TIMEOUT_S = 30.0
READER_THREAD = "vitrine-url-reader"
_IDLE_TIMEOUT_S = 10.0
_LOCAL_SCHEMES = ("file://", "local://")


class TooManyBytes(OSError):
    """The file is larger than the reader allows."""


class Place(Protocol):
    """A folder, local or not, that images are relative to."""

    root: str

    def absolute(self, image: str) -> str:
        """Return the absolute path or URL of an image."""

    def read(self, image: str) -> bytes:
        """Return the bytes of an image. Raises PictureError."""

    def fingerprint(self, image: str) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a local file, None where there is none."""


# A relative path that nothing has to be taken out of: no empty or dotted part, and no scheme.
_PLAIN_PATH = re.compile(r"(?:[^/:.][^/:]*/)*[^/:.][^/:]*")


def is_url(location: str) -> bool:
    """True for what fsspec opens by its scheme, local files apart."""
    return "://" in location and not location.startswith(_LOCAL_SCHEMES)


def local_path(location: str) -> str:
    """The path of a local location, which may be written file://…"""
    for scheme in _LOCAL_SCHEMES:
        location = location.removeprefix(scheme)
    return location


class LocalPlace:
    """A folder of this machine."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self._folder = os.path.join(self.root, "")
        self._inside = os.path.join(os.path.realpath(root), "")
        self._urls = UrlReader()

    def absolute(self, image: str) -> str:
        """Return the absolute path or URL of an image."""
        if _PLAIN_PATH.fullmatch(image):  # most are, of which there may be a million
            return f"{self._folder}{image}"
        return image if is_url(image) else os.path.abspath(os.path.join(self.root, local_path(image)))

    def read(self, image: str) -> bytes:
        """Return the bytes of an image. Raises PictureError, of kind outside-source among others."""
        path = self.absolute(image)
        if is_url(path):
            return _picture(lambda: self._urls.read(path, MAX_BYTES))
        if not os.path.isabs(local_path(image)):
            self._refuse_outside(path)
        return _picture(lambda: read_local(path, MAX_BYTES))

    def fingerprint(self, image: str) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a local file, None where there is none."""
        path = self.absolute(image)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def _refuse_outside(self, path: str) -> None:
        try:
            real = os.path.realpath(path)
        except ValueError:  # a NUL in the path; reading it says so
            return
        if not real.startswith(self._inside):
            raise PictureError("a link that leads out of the source's folder", code="outside-source")


class RemotePlace:
    """A folder behind a URL."""

    def __init__(self, base_url: str) -> None:
        self.root = base_url.rstrip("/")
        self._urls = UrlReader()

    def absolute(self, image: str) -> str:
        """Return the absolute path or URL of an image."""
        if is_url(image) or image.startswith(("/", *_LOCAL_SCHEMES)):
            return local_path(image)
        return f"{self.root}/{posixpath.normpath(image)}"

    def read(self, image: str) -> bytes:
        """Return the bytes of an image. Raises PictureError: missing, too-large, unreadable."""
        location = self.absolute(image)
        if is_url(location):
            return _picture(lambda: self._urls.read(location, MAX_BYTES))
        return _picture(lambda: read_local(location, MAX_BYTES))

    def fingerprint(self, image: str) -> tuple[int, int] | None:  # noqa: ARG002, as the protocol has it
        """None: what lies behind a URL is read every time."""
        return None


def read_local(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file. Raises OSError, TooManyBytes; a pipe or device never blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
    if status.st_size > max_bytes or len(data) > max_bytes:
        raise TooManyBytes(f"larger than {max_bytes // 2**20} MiB")
    return data


class UrlReader:
    """Reads http(s) URLs with requests, so that no async client is needed, and every other with fsspec."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        """timeout_s: for one whole read, retries included."""
        self._timeout_s = timeout_s
        self._session = requests.Session()
        retry = Retry(
            total=2, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
            respect_retry_after_header=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=32, max_retries=retry))

    def read(self, url: str, max_bytes: int) -> bytes:
        """Return the bytes behind a URL. Raises OSError (FileNotFoundError, TimeoutError, TooManyBytes…)."""
        read = self._read_http if url.startswith(("http://", "https://")) else _read_fsspec
        with clients_as_os_errors():
            return _within(self._timeout_s, lambda: read(url, max_bytes))

    def _read_http(self, url: str, max_bytes: int) -> bytes:
        ends = time.monotonic() + self._timeout_s
        with self._session.get(url, stream=True, timeout=_IDLE_TIMEOUT_S) as response:
            if response.status_code in (404, 410):
                raise FileNotFoundError(f"HTTP {response.status_code}")
            if not response.ok:
                raise OSError(f"HTTP {response.status_code}")
            data = bytearray()
            while chunk := response.raw.read1(1 << 16, decode_content=True):
                data += chunk
                if len(data) > max_bytes:
                    raise TooManyBytes(f"larger than {max_bytes // 2**20} MiB")
                if time.monotonic() > ends:
                    raise TimeoutError
        return bytes(data)


@contextmanager
def clients_as_os_errors() -> Iterator[None]:
    """Turn what a file system's own client raises (urllib3, botocore, aiohttp…) into OSError."""
    try:
        yield
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _read_fsspec(url: str, max_bytes: int) -> bytes:
    with fsspec.open(url, "rb") as file:
        data: bytes = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise TooManyBytes(f"larger than {max_bytes // 2**20} MiB")
    return data


def _within(timeout_s: float, work: Callable[[], T]) -> T:
    """Do it in a thread, given up after timeout_s: not every file system has time limits of its own."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name=READER_THREAD, daemon=True).start()
    return answer.result(timeout_s)


def _picture(read: Callable[[], bytes]) -> bytes:
    """Say in a PictureError what kept a picture from being read, in words that stay the same."""
    try:
        return read()
    except TooManyBytes as error:
        raise PictureError(str(error), code="too-large") from error
    except FileNotFoundError as error:
        raise PictureError("the file is missing", code="missing") from error
    except TimeoutError as error:
        raise PictureError("no answer in time") from error
    except requests.RequestException as error:
        raise PictureError(f"cannot be fetched ({type(error).__name__})") from error
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"cannot be read: {reason}") from error
