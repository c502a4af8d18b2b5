"""Readers of picture files at local paths and URLs, with limits on size and time.

Relative paths are read only inside the root folder, also where symbolic links lead out of it. Absolute paths
and URLs are read as given: a user who may index a source may read any file that the process can.
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
READER_THREAD_NAME = "vitrine-url-reader"
_IDLE_TIMEOUT_S = 10.0
_LOCAL_SCHEMES = ("file://", "local://")


class FileTooLarge(OSError):
    """A file that is larger than the limit of its reader."""


class PictureReader(Protocol):
    """Reader of the images of one source.

    root: folder, as a path or URL, that relative images are resolved against. image: as the source names it,
    a relative path, an absolute path or a URL.
    """

    root: str

    def resolve(self, image: str) -> str:
        """Return the absolute path or URL of an image."""

    def read(self, image: str) -> bytes:
        """Return the bytes of an image. Raises PictureError."""

    def fingerprint(self, image: str) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a local file, None for any other image."""


# A relative path that is normalised already: no empty part, none that starts with a dot, and no scheme.
_PLAIN_PATH = re.compile(r"(?:[^/:.][^/:]*/)*[^/:.][^/:]*")


def is_url(location: str) -> bool:
    """Return True for a location with a scheme other than that of local files."""
    return "://" in location and not location.startswith(_LOCAL_SCHEMES)


def local_path(location: str) -> str:
    """Return the path of a local location, without a file:// or local:// scheme."""
    for scheme in _LOCAL_SCHEMES:
        location = location.removeprefix(scheme)
    return location


class LocalReader:
    """Reader of the images of a local folder or manifest."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self._prefix = os.path.join(self.root, "")
        self._real_prefix = os.path.join(os.path.realpath(root), "")
        self._url_reader = UrlReader()

    def resolve(self, image: str) -> str:
        """Return the absolute path or URL of an image."""
        if _PLAIN_PATH.fullmatch(image):  # fast path for the usual case
            return f"{self._prefix}{image}"
        return image if is_url(image) else os.path.abspath(os.path.join(self.root, local_path(image)))

    def read(self, image: str) -> bytes:
        """Return the bytes of an image.

        Raises PictureError with code missing, outside-source, too-large or unreadable.
        """
        path = self.resolve(image)
        if is_url(path):
            return _translate_errors(lambda: self._url_reader.read(path, MAX_BYTES))
        if not os.path.isabs(local_path(image)):
            self._check_inside(path)
        return _translate_errors(lambda: read_local(path, MAX_BYTES))

    def fingerprint(self, image: str) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a regular local file, else None."""
        path = self.resolve(image)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def _check_inside(self, path: str) -> None:
        try:
            real = os.path.realpath(path)
        except ValueError:  # a NUL in the path: reading it reports the error
            return
        if not real.startswith(self._real_prefix):
            raise PictureError("a link that leads out of the source's folder", code="outside-source")


class RemoteReader:
    """Reader of the images of a folder or manifest at a URL."""

    def __init__(self, root_url: str) -> None:
        self.root = root_url.rstrip("/")
        self._url_reader = UrlReader()

    def resolve(self, image: str) -> str:
        """Return the absolute path or URL of an image."""
        if is_url(image) or image.startswith(("/", *_LOCAL_SCHEMES)):
            return local_path(image)
        return f"{self.root}/{posixpath.normpath(image)}"

    def read(self, image: str) -> bytes:
        """Return the bytes of an image. Raises PictureError with code missing, too-large or unreadable."""
        location = self.resolve(image)
        if is_url(location):
            return _translate_errors(lambda: self._url_reader.read(location, MAX_BYTES))
        return _translate_errors(lambda: read_local(location, MAX_BYTES))

    def fingerprint(self, image: str) -> tuple[int, int] | None:  # noqa: ARG002, as in the protocol
        """Return None: a remote image is read again by every build."""
        return None


def read_local(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file. Raises OSError, FileTooLarge; never blocks on a pipe or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
    if status.st_size > max_bytes or len(data) > max_bytes:
        raise FileTooLarge(f"larger than {max_bytes // 2**20} MiB")
    return data


class UrlReader:
    """Reader of URLs: http(s) through requests, other schemes through fsspec.

    fsspec reads http(s) too, but through an asynchronous client that would be one more dependency.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        """timeout_s: limit for one whole read, retries included."""
        self._timeout_s = timeout_s
        self._session = requests.Session()
        retry = Retry(
            total=2, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
            respect_retry_after_header=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=32, max_retries=retry))

    def read(self, url: str, max_bytes: int) -> bytes:
        """Return the bytes at a URL.

        Raises OSError, such as FileNotFoundError, TimeoutError or FileTooLarge, ValueError or ImportError.
        """
        read = self._read_http if url.startswith(("http://", "https://")) else _read_fsspec
        with client_errors_as_os_errors():
            return _run_with_timeout(lambda: read(url, max_bytes), self._timeout_s)

    def _read_http(self, url: str, max_bytes: int) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        with self._session.get(url, stream=True, timeout=_IDLE_TIMEOUT_S) as response:
            if response.status_code in (404, 410):
                raise FileNotFoundError(f"HTTP {response.status_code}")
            if not response.ok:
                raise OSError(f"HTTP {response.status_code}")
            data = bytearray()
            while chunk := response.raw.read1(1 << 16, decode_content=True):
                data += chunk
                if len(data) > max_bytes:
                    raise FileTooLarge(f"larger than {max_bytes // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise TimeoutError
        return bytes(data)


@contextmanager
def client_errors_as_os_errors() -> Iterator[None]:
    """Turn exceptions of a file system's client library (urllib3, botocore, aiohttp…) into OSError."""
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
        raise FileTooLarge(f"larger than {max_bytes // 2**20} MiB")
    return data


def _run_with_timeout(function: Callable[[], T], timeout_s: float) -> T:
    """Run a function in a thread and abandon it after timeout_s. Raises TimeoutError.

    Some file systems have no time limits of their own.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=READER_THREAD_NAME, daemon=True).start()
    return future.result(timeout_s)


def _translate_errors(read: Callable[[], bytes]) -> bytes:
    """Call `read`, and turn its errors into a PictureError with a stable reason."""
    try:
        return read()
    except FileTooLarge as error:
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
