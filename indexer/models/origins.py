"""Where the weights of a model come from: the places that keep them for good, and the sources to fetch from.

Every place is looked at without the network first. Knows files and addresses, no networks.

Environment: VITRINE_MODELS (the lasting folder, default ~/.cache/vitrine), TFHUB_CACHE_DIR,
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
    """Return the lasting folder: $VITRINE_MODELS, else vitrine in the user's cache folder."""
    given = os.environ.get("VITRINE_MODELS")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vitrine"


def tfhub_folder() -> Path:
    """Return where TF Hub's models are kept: $TFHUB_CACHE_DIR, else tfhub in the lasting folder.

    TF Hub's own default lies under the temporary folder and is lost at every start of the machine.
    """
    given = os.environ.get("TFHUB_CACHE_DIR")
    return Path(given).expanduser() if given else models_folder() / "tfhub"


def is_offline() -> bool:
    """Say whether $VITRINE_OFFLINE forbids the network."""
    return os.environ.get("VITRINE_OFFLINE", "") not in ("", "0", "false")


@dataclass(frozen=True)
class Origin:
    """One place weights can come from.

    label: for people. url: where they are fetched. home: where they are kept. is_archive: they travel
    as a tar file and are kept as a SavedModel folder.
    """

    label: str
    url: str
    home: Path
    is_archive: bool

    def find(self) -> Path | None:
        """Return the kept weights, without any network."""
        if self.is_archive:
            return self.home if (self.home / _SAVED_MODEL).is_file() else None
        return self.home if self.home.is_file() else None

    def fetch(self, progress: Progress, limits: Limits | None = None) -> Path:
        """Download the weights and return where they are kept. Raises DownloadFailed.

        A second process that wants the same waits for the first. A lock that TensorFlow Hub left behind
        when it was killed is not waited for: the lock here is the system's, and dies with its process.
        """
        with _one_process(self.home, progress):
            found = self.find()
            if found is not None:
                return found
            if self.is_archive:
                self._fetch_archive(progress, limits)
            else:
                wanted = Download(self.url, self.home, _check_npz, f"{self.home.name} from {self.label}")
                download(wanted, limits, progress)
                _record(self.home, self.url, self.home)
        return self.home

    def _fetch_archive(self, progress: Progress, limits: Limits | None) -> None:
        archive = self.home.with_name(f"{self.home.name}.tar")
        if not archive.exists():  # else a process was killed while it unpacked
            wanted = Download(self.url, archive, _check_tar, f"SavedModel from {self.label}")
            download(wanted, limits, progress)
        _record(self.home, self.url, archive)
        try:
            _unpack(archive, self.home)
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            raise DownloadFailed(f"its archive cannot be unpacked: {error}") from error
        finally:
            archive.unlink(missing_ok=True)


def tfhub_origin(handle: str) -> Origin:
    """Return the origin of a TF Hub handle, kept where tensorflow_hub itself would look for it."""
    base = os.environ.get("VITRINE_TFHUB_URL", TFHUB_URL).rstrip("/")
    url = base + handle.removeprefix(TFHUB_URL) if handle.startswith(f"{TFHUB_URL}/") else handle
    separator = "&" if "?" in url else "?"
    home = tfhub_folder() / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
    return Origin("TF Hub", f"{url}{separator}tf-hub-format=compressed", home, is_archive=True)


def bit_origins(name: str) -> list[Origin]:
    """Return the origins of a BiT such as 'bit-m-r50x1', in the order in which they are tried."""
    short = name.removeprefix("bit-")
    kaggle = os.environ.get("VITRINE_KAGGLE_URL", KAGGLE_URL).rstrip("/")
    official = os.environ.get("VITRINE_BIT_URL", BIT_URL).rstrip("/")
    family, net = short.split("-")
    file = f"BiT-{family.upper()}-{net.upper().replace('X', 'x')}.npz"
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


def kept_weights(name: str) -> Iterator[Path]:
    """Yield what is at hand for a BiT, the fastest form first: weight files, then SavedModels."""
    folder = models_folder()
    origins = bit_origins(name)
    for suffix in (".npz", ".safetensors", ".pth"):
        if (folder / f"{name}{suffix}").is_file():
            yield folder / f"{name}{suffix}"
    for origin in sorted(origins, key=lambda origin: origin.is_archive):
        found = origin.find()
        if found is not None:
            yield found
    for home in (folder / name, _kagglehub_home(name)):
        if home is not None and (home / _SAVED_MODEL).is_file():
            yield home


def _kagglehub_home(name: str) -> Path | None:
    """Return where kagglehub keeps a BiT, if it finished its download."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    home = cache / "models" / "google" / "bit" / "tensorFlow2" / name.removeprefix("bit-") / "1"
    return home if home.with_name("1.complete").exists() else None


@contextmanager
def _one_process(home: Path, progress: Progress) -> Iterator[None]:
    locks = models_folder() / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{hashlib.sha256(str(home).encode()).hexdigest()[:16]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note("another process is fetching the same weights; waiting for it")
            lock.acquire()
    except OSError as error:
        raise DownloadFailed(f"{locks} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _unpack(archive: Path, home: Path) -> None:
    """Unpack beside the place and move there in one step, so that a half SavedModel never has its name."""
    for left in home.parent.glob(f"{home.name}.*.unpacking"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = home.with_name(f"{home.name}.{uuid.uuid4().hex}.unpacking")
    try:
        with tarfile.open(archive) as tar:
            if sum(member.size for member in tar) > _MAX_UNPACKED_BYTES:
                raise ValueError("it would unpack to more than any model is")
            tar.extractall(temporary, filter="data")
        roots = [path.parent for path in sorted(temporary.rglob(_SAVED_MODEL))]
        if home.exists() and not (home / _SAVED_MODEL).exists():
            shutil.rmtree(home)
        if not home.exists():
            min(roots, key=lambda root: len(root.parts)).replace(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _record(home: Path, url: str, fetched: Path) -> None:
    """Write beside the weights where they came from and what arrived."""
    with fetched.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    told = {
        "url": url,
        "sha256": digest,
        "bytes": fetched.stat().st_size,
        "fetched_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    home.with_name(f"{home.name}.origin.json").write_text(json.dumps(told, indent=1) + "\n")


def _check_npz(path: Path) -> None:
    """Read it all: a server that does not say the length can cut a file anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"what came is no whole .npz file ({error})") from error
    if damaged:
        raise ValueError(f"what came is damaged at {damaged}")


def _check_tar(path: Path) -> None:
    try:
        with tarfile.open(path) as tar:
            names = tar.getnames()  # reads to the end
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"what came is no whole tar archive ({error})") from error
    if not any(name.rsplit("/", 1)[-1] == _SAVED_MODEL for name in names):
        raise ValueError(f"what came has no {_SAVED_MODEL} in it")
