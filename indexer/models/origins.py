"""Origins of model weights: the local folders that hold them and the servers to download them from.

Local folders are searched first, without network access.

Environment: VITRINE_MODELS (the models folder, default ~/.cache/vitrine), TFHUB_CACHE_DIR,
KAGGLEHUB_CACHE, VITRINE_OFFLINE, and for mirrors VITRINE_TFHUB_URL, VITRINE_KAGGLE_URL, VITRINE_BIT_URL.
"""

import hashlib
import json
import os
import shutil
import tarfile
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vitrine.indexer.models.download import Download, DownloadFailed, Limits, download
from vitrine.indexer.progress import Progress

TFHUB_URL = "https://tfhub.dev"
KAGGLE_URL = "https://www.kaggle.com"
BIT_URL = "https://storage.googleapis.com/bit_models"

_SAVED_MODEL = "saved_model.pb"
_MAX_UNPACKED_BYTES = 16 * 2**30


def models_folder() -> Path:
    """Return the models folder: $VITRINE_MODELS, else vitrine in the user's cache folder."""
    folder = os.environ.get("VITRINE_MODELS")
    if folder:
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vitrine"


def tfhub_folder() -> Path:
    """Return the folder of TF Hub models: $TFHUB_CACHE_DIR, else tfhub in the models folder.

    TF Hub's own default is in the temporary folder, which is lost when the machine restarts.
    """
    folder = os.environ.get("TFHUB_CACHE_DIR")
    return Path(folder).expanduser() if folder else models_folder() / "tfhub"


def is_offline() -> bool:
    """Return True if $VITRINE_OFFLINE forbids network access."""
    return os.environ.get("VITRINE_OFFLINE", "") not in ("", "0", "false")


@dataclass(frozen=True)
class Origin:
    """One origin of the weights of a model.

    label: name for display. url: address to download from. path: local file or folder.
    is_archive: the download is a tar archive, which is unpacked to a SavedModel folder.
    """

    label: str
    url: str
    path: Path
    is_archive: bool

    def find(self) -> Path | None:
        """Return the path of the local weights, or None. Without network access."""
        if self.is_archive:
            return self.path if (self.path / _SAVED_MODEL).is_file() else None
        return self.path if self.path.is_file() else None

    def fetch(self, progress: Progress, limits: Limits | None = None) -> Path:
        """Download the weights unless they are local; return their path. Raises DownloadFailed.

        A second process waits for the first. The lock is one of the operating system, released when its
        process ends; a lock file left by a killed TensorFlow Hub is ignored.
        """
        with _fetch_lock(self.path, progress):
            local_path = self.find()
            if local_path is not None:
                return local_path
            if self.is_archive:
                self._fetch_archive(progress, limits)
            else:
                description = f"{self.path.name} from {self.label}"
                download(Download(self.url, self.path, _check_npz, description), limits, progress)
                _write_origin(self.path, self.url, self.path)
        return self.path

    def _fetch_archive(self, progress: Progress, limits: Limits | None) -> None:
        archive = self.path.with_name(f"{self.path.name}.tar")
        if not archive.exists():  # it exists if a process was killed while unpacking
            description = f"SavedModel from {self.label}"
            download(Download(self.url, archive, _check_tar, description), limits, progress)
        _write_origin(self.path, self.url, archive)
        try:
            _unpack(archive, self.path)
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            raise DownloadFailed(f"the archive cannot be unpacked: {error}") from error
        finally:
            archive.unlink(missing_ok=True)


def tfhub_origin(handle: str) -> Origin:
    """Return the origin of a TF Hub handle. Its path is the one that tensorflow_hub uses, too."""
    base = os.environ.get("VITRINE_TFHUB_URL", TFHUB_URL).rstrip("/")
    url = base + handle.removeprefix(TFHUB_URL) if handle.startswith(f"{TFHUB_URL}/") else handle
    separator = "&" if "?" in url else "?"
    path = tfhub_folder() / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    return Origin("TF Hub", f"{url}{separator}tf-hub-format=compressed", path, is_archive=True)


def bit_origins(name: str) -> list[Origin]:
    """Return the origins of a BiT model such as 'bit-m-r50x1', in the order in which they are tried."""
    short = name.removeprefix("bit-")
    kaggle = os.environ.get("VITRINE_KAGGLE_URL", KAGGLE_URL).rstrip("/")
    official = os.environ.get("VITRINE_BIT_URL", BIT_URL).rstrip("/")
    family, network = short.split("-")
    file = f"BiT-{family.upper()}-{network.upper().replace('X', 'x')}.npz"
    variation = f"google/bit/tensorFlow2/{short}/1"
    return [
        tfhub_origin(f"{TFHUB_URL}/google/bit/{short}/1"),
        Origin(
            "Kaggle",
            f"{kaggle}/api/v1/models/{variation}/download",
            models_folder() / "kaggle" / variation,
            is_archive=True,
        ),
        Origin("the official checkpoints", f"{official}/{file}", models_folder() / file, is_archive=False),
    ]


def local_weights(name: str) -> Iterator[Path]:
    """Yield the local weights of a BiT model, the fastest form first: weight files, then SavedModels."""
    folder = models_folder()
    origins = bit_origins(name)
    for suffix in (".npz", ".safetensors", ".pth"):
        if (folder / f"{name}{suffix}").is_file():
            yield folder / f"{name}{suffix}"
    for origin in sorted(origins, key=lambda origin: origin.is_archive):
        path = origin.find()
        if path is not None:
            yield path
    for path in (folder / name, _kagglehub_folder(name)):
        if path is not None and (path / _SAVED_MODEL).is_file():
            yield path


def _kagglehub_folder(name: str) -> Path | None:
    """Return kagglehub's folder of a BiT model, or None unless its download is complete."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    folder = cache / "models" / "google" / "bit" / "tensorFlow2" / name.removeprefix("bit-") / "1"
    return folder if folder.with_name("1.complete").exists() else None


@contextmanager
def _fetch_lock(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock between processes that fetch to the same path. Raises DownloadFailed."""
    locks = models_folder() / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note("another process is fetching the same weights; waiting for it to finish")
            lock.acquire()
    except OSError as error:
        raise DownloadFailed(f"{locks} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _unpack(archive: Path, target: Path) -> None:
    """Unpack to a temporary folder and rename it, so that the target is never incomplete."""
    for leftover in target.parent.glob(f"{target.name}.*.unpacking"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.unpacking")
    try:
        with tarfile.open(archive) as tar:
            if sum(member.size for member in tar) > _MAX_UNPACKED_BYTES:
                raise ValueError(f"its content exceeds {_MAX_UNPACKED_BYTES} bytes")
            tar.extractall(temporary, filter="data")
        roots = [path.parent for path in sorted(temporary.rglob(_SAVED_MODEL))]
        if target.exists() and not (target / _SAVED_MODEL).exists():
            shutil.rmtree(target)
        if not target.exists():
            min(roots, key=lambda root: len(root.parts)).replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_origin(path: Path, url: str, downloaded: Path) -> None:
    """Write the URL, digest, size and time of the download to a JSON file beside the weights."""
    with downloaded.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = {
        "url": url,
        "sha256": digest,
        "bytes": downloaded.stat().st_size,
        "fetched_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    path.with_name(f"{path.name}.origin.json").write_text(json.dumps(origin, indent=1) + "\n")


def _check_npz(path: Path) -> None:
    """Read the whole file, which may be truncated if the server sent no length. Raises ValueError."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"the downloaded file is not a complete .npz file ({error})") from error
    if damaged:
        raise ValueError(f"the downloaded file is damaged at {damaged}")


def _check_tar(path: Path) -> None:
    """Read the whole archive. Raises ValueError unless it holds a SavedModel."""
    try:
        with tarfile.open(path) as tar:
            names = tar.getnames()  # reads to the end
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"the downloaded file is not a complete tar archive ({error})") from error
    if not any(name.rsplit("/", 1)[-1] == _SAVED_MODEL for name in names):
        raise ValueError(f"the downloaded archive contains no {_SAVED_MODEL}")
