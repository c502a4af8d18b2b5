"""Tests of vitrine.indexer.models.origins: each origin with a real server, killed and second processes."""

import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.indexer.models import bad_server
from tests.indexer.models.bad_server import BadServer, running_server
from tests.indexer.models.random_bit import random_arrays, write_npz
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models import download as download_module
from vitrine.indexer.models import list_models, origins, registry, resolve_model
from vitrine.indexer.models.download import DownloadFailed, Limits
from vitrine.indexer.progress import SilentProgress

HUB, KAGGLE = "/google/bit/m-r50x1/1", "/api/v1/models/google/bit/tensorFlow2/m-r50x1/1/download"
NPZ = "/BiT-M-R50x1.npz"
# The name that tensorflow_hub gives the folder of https://tfhub.dev/google/bit/m-r50x1/1.
HUB_FOLDER = "4ff8fefe176c863be939e3880dfa769989df4e32"


@pytest.fixture(autouse=True)
def isolated_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TFHUB_CACHE_DIR", "XDG_CACHE_HOME", "VITRINE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """A mirror of all three origins. Failed downloads from it are retried at once."""
    quick = Limits(
        connect_s=LIMIT_S, read_s=LIMIT_S, attempts=2, backoff_s=0.01, slow_s=LIMIT_S, min_bytes_per_s=1000
    )
    monkeypatch.setattr(download_module, "Limits", partial(lambda: quick))
    with running_server() as server:
        for name in ("TFHUB", "KAGGLE", "BIT"):
            monkeypatch.setenv(f"VITRINE_{name}_URL", server.url)
        yield server


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_npz(tmp_path_factory.mktemp("npz") / "tiny.npz", random_arrays()).read_bytes()


def tarball(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


MODULE = {"saved_model.pb": os.urandom(5000), "variables/variables.index": b"index"}
TARBALL = tarball(**MODULE)


class RecordedNotes(SilentProgress):
    """Notes and stage names, recorded for the test."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def start(self, total: int | None, description: str) -> None:
        self.lines.append(description)


def test_tf_hub_is_first_and_is_unpacked_to_the_folder_of_tensorflow_hub(
    mirror: BadServer, tmp_path: Path
) -> None:
    mirror.serve(HUB, TARBALL)
    notes = RecordedNotes()
    source = resolve_model("bit-m-r50x1", progress=notes)
    home = tmp_path / "models" / "tfhub" / HUB_FOLDER
    assert source.path == home
    assert (home / "saved_model.pb").read_bytes() == MODULE["saved_model.pb"]
    assert [path for path, _ in mirror.requests] == [f"{HUB}?tf-hub-format=compressed"]
    assert "bit-m-r50x1: requesting it from TF Hub" in notes.lines
    assert "MiB of SavedModel from TF Hub" in notes.lines
    recorded = json.loads(home.with_name(f"{HUB_FOLDER}.origin.json").read_text())
    assert recorded["bytes"] == len(TARBALL)
    assert recorded["url"].startswith(mirror.url)
    assert sorted(path.name for path in home.parent.iterdir()) == [HUB_FOLDER, f"{HUB_FOLDER}.origin.json"]


def test_downloaded_weights_are_found_without_network_access(
    mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.serve(HUB, TARBALL)
    fetched = resolve_model("bit-m-r50x1")
    monkeypatch.setenv("VITRINE_OFFLINE", "1")
    again = resolve_model("bit-m-r50x1")
    assert again.digest == fetched.digest
    assert again.reason.startswith("available in")
    assert len(mirror.requests) == 1


def test_tfhub_cache_dir_is_used(tmp_path: Path, mirror: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    home = tmp_path / "hub" / HUB_FOLDER
    home.mkdir(parents=True)
    (home / "saved_model.pb").write_bytes(b"x")
    assert resolve_model("bit-m-r50x1").path == home
    assert resolve_model("https://tfhub.dev/google/bit/m-r50x1/1").path == home
    assert not mirror.requests


def test_kaggle_is_second_and_the_official_file_third(mirror: BadServer, tmp_path: Path, npz: bytes) -> None:
    mirror.serve(HUB, b"", bad_server.status(403))
    mirror.serve(KAGGLE, TARBALL)
    source = resolve_model("bit-m-r50x1")
    assert source.path == tmp_path / "models/kaggle/google/bit/tensorFlow2/m-r50x1/1"
    mirror.serve("/google/bit/s-r50x1/1", b"", bad_server.web_page)
    mirror.serve("/BiT-S-R50x1.npz", npz)
    source = resolve_model("bit-s-r50x1")
    assert source.path == tmp_path / "models" / "BiT-S-R50x1.npz"
    assert source.reason.startswith("downloaded from the official checkpoints")


def test_the_error_lists_all_attempts_and_remedies(mirror: BadServer, tmp_path: Path) -> None:
    mirror.serve(HUB, b"", bad_server.status(403))
    mirror.serve(KAGGLE, tarball(readme=b"no model"))
    mirror.serve(NPZ, b"not a zip")
    with pytest.raises(ModelUnavailable) as raised:
        resolve_model("bit-m-r50x1")
    message = str(raised.value)
    for part in (
        f"{tmp_path / 'models'}: no weights in it",
        f"TF Hub {mirror.url}{HUB}?tf-hub-format=compressed: HTTP 403 Forbidden (tried 2 times)",
        f"Kaggle {mirror.url}{KAGGLE}: the downloaded archive contains no saved_model.pb",
        f"the official checkpoints {mirror.url}{NPZ}: the downloaded file is not a complete .npz file",
        "models fetch bit-m-r50x1",
        f"put BiT-M-R50x1.npz into {tmp_path / 'models'}",
        "--model efficientnet-lite2",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "failure",
    [
        bad_server.status(403),
        bad_server.truncated(0.5),
        bad_server.slow,
        bad_server.no_response,
        bad_server.web_page,
        bad_server.disguised_page,
        bad_server.wrong_length,
        bad_server.truncated_without_length,
    ],
)
@pytest.mark.parametrize("path", [HUB, KAGGLE, NPZ])
def test_every_origin_is_retried_after_every_failure(
    mirror: BadServer, npz: bytes, path: str, failure: bad_server.Answer
) -> None:
    mirror.serve(path, npz if path == NPZ else TARBALL, failure, bad_server.whole)
    assert resolve_model("bit-m-r50x1").path.exists()


def test_an_archive_with_paths_outside_its_folder_is_rejected(mirror: BadServer, tmp_path: Path) -> None:
    mirror.serve(HUB, tarball(**{"saved_model.pb": b"x", "../../../outside": b"y"}))
    with pytest.raises(ModelUnavailable, match="the archive cannot be unpacked"):
        resolve_model("bit-m-r50x1")
    assert not list(tmp_path.rglob("outside"))


def test_an_archive_with_an_enclosing_folder_is_unpacked(mirror: BadServer) -> None:
    mirror.serve(HUB, tarball(**{"bit/saved_model.pb": b"x", "bit/variables/v": b"y"}))
    source = resolve_model("bit-m-r50x1")
    assert sorted(path.name for path in source.path.iterdir()) == ["saved_model.pb", "variables"]


def test_a_leftover_lock_file_of_tensorflow_hub_is_ignored(mirror: BadServer, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tfhub"
    folder.mkdir(parents=True)
    (folder / f"{HUB_FOLDER}.lock").write_text("some-host.1234.abcdef")
    (folder / HUB_FOLDER).mkdir()  # and an empty folder of that name
    mirror.serve(HUB, TARBALL)
    assert (resolve_model("bit-m-r50x1").path / "saved_model.pb").exists()


def test_an_interrupted_unpacking_needs_no_second_download(mirror: BadServer, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tfhub"
    leftover = folder / f"{HUB_FOLDER}.0123.unpacking"
    leftover.mkdir(parents=True)
    (leftover / "saved_model.pb").write_bytes(b"half")
    (folder / f"{HUB_FOLDER}.tar").write_bytes(TARBALL)
    source = resolve_model("bit-m-r50x1")
    assert (source.path / "saved_model.pb").read_bytes() == MODULE["saved_model.pb"]
    assert not mirror.requests
    assert not leftover.exists()


def test_a_second_process_waits_for_the_first_download(mirror: BadServer) -> None:
    is_started, may_continue = threading.Event(), threading.Event()

    def wait_then_answer(request: bad_server.Handler, data: bytes) -> None:
        is_started.set()
        may_continue.wait(LIMIT_S)
        bad_server.whole(request, data)

    mirror.serve(HUB, TARBALL, wait_then_answer)
    notes = RecordedNotes()
    first = threading.Thread(target=resolve_model, args=("bit-m-r50x1",))
    first.start()
    assert is_started.wait(LIMIT_S)
    second = threading.Thread(target=resolve_model, args=("bit-m-r50x1",), kwargs={"progress": notes})
    second.start()
    wait_until(lambda: any("waiting" in line for line in notes.lines))
    may_continue.set()
    first.join(LIMIT_S)
    second.join(LIMIT_S)
    assert any("another process is fetching" in line for line in notes.lines)
    assert len(mirror.requests) == 1


def test_a_models_folder_that_cannot_be_created_is_an_error(
    mirror: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "file"))
    mirror.serve(HUB, TARBALL)
    with pytest.raises(ModelUnavailable, match="cannot be written"):
        resolve_model("bit-m-r50x1")


def test_any_handle_is_downloaded_and_a_mirror_replaces_tf_hub_only(mirror: BadServer) -> None:
    mirror.serve("/google/imagenet/mobilenet/5", TARBALL)
    source = resolve_model("https://tfhub.dev/google/imagenet/mobilenet/5")
    assert source.name == source.handle == "https://tfhub.dev/google/imagenet/mobilenet/5"
    mirror.serve("/own/model", TARBALL)
    source = resolve_model(f"{mirror.url}/own/model?version=3")
    assert mirror.requests[-1][0] == "/own/model?version=3&tf-hub-format=compressed"
    with pytest.raises(ModelUnavailable, match="HTTP 404"):
        resolve_model(f"{mirror.url}/nothing")


def test_a_missing_network_is_an_error_for_every_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TFHUB", "KAGGLE", "BIT"):
        monkeypatch.setenv(f"VITRINE_{name}_URL", "https://nowhere.invalid")
    with pytest.raises(ModelUnavailable, match=r"TF Hub .* cannot be reached.*Kaggle.*official"):
        resolve_model("bit-m-r50x1")


def test_network_access_can_be_disabled(mirror: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.serve(HUB, TARBALL)
    with pytest.raises(ModelUnavailable):
        resolve_model("bit-m-r50x1", fetch=False)
    monkeypatch.setenv("VITRINE_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="VITRINE_OFFLINE"):
        resolve_model("bit-m-r50x1")
    assert not mirror.requests


def test_a_file_copied_to_the_models_folder_is_found(tmp_path: Path, npz: bytes) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "BiT-M-R50x1.npz").write_bytes(npz)
    assert resolve_model("bit-m-r50x1", fetch=False).path == folder / "BiT-M-R50x1.npz"
    (folder / "bit-m-r50x1.npz").write_bytes(npz)
    assert resolve_model("bit-m-r50x1", fetch=False).path == folder / "bit-m-r50x1.npz"
    (listing,) = [listing for listing in list_models() if listing.name == "bit-m-r50x1"]
    assert listing.is_local
    assert listing.origin == str(folder / "bit-m-r50x1.npz")


def test_a_damaged_local_file_is_skipped_and_reported(mirror: BadServer, tmp_path: Path, npz: bytes) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "bit-m-r50x1.npz").write_bytes(npz[:1000])
    with pytest.raises(ModelUnavailable, match=r"bit-m-r50x1\.npz: not a readable weight file"):
        resolve_model("bit-m-r50x1")
    mirror.serve(NPZ, npz)
    assert resolve_model("bit-m-r50x1").path.name == "BiT-M-R50x1.npz"


def test_a_complete_download_of_kagglehub_is_found(tmp_path: Path) -> None:
    home = tmp_path / "kagglehub/models/google/bit/tensorFlow2/m-r50x1/1"
    home.mkdir(parents=True)
    (home / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelUnavailable):
        resolve_model("bit-m-r50x1", fetch=False)
    home.with_name("1.complete").touch()
    assert resolve_model("bit-m-r50x1", fetch=False).path == home


def test_the_default_models_folder_is_in_the_user_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VITRINE_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert origins.models_folder() == tmp_path / "vitrine"
    assert origins.tfhub_folder() == tmp_path / "vitrine" / "tfhub"


def test_the_listing_has_the_origin_of_every_model() -> None:
    listings = {listing.name: listing for listing in list_models()}
    assert set(listings) == {"efficientnet-lite2", *registry.BIT_DIMENSIONS}
    assert listings["bit-m-r152x4"].dimension == 8192
    for url in (
        "https://tfhub.dev/google/bit/m-r50x1/1",
        "https://www.kaggle.com/api/v1/models/google/bit/tensorFlow2/m-r50x1/1/download",
        "https://storage.googleapis.com/bit_models/BiT-M-R50x1.npz",
    ):
        assert url in listings["bit-m-r50x1"].origin


def test_an_archive_with_too_large_a_content_is_rejected(
    mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "_MAX_UNPACKED_BYTES", 100)
    mirror.serve(HUB, TARBALL)
    origin = origins.tfhub_origin("https://tfhub.dev/google/bit/m-r50x1/1")
    with pytest.raises(DownloadFailed, match="its content exceeds 100 bytes"):
        origin.fetch(SilentProgress())
