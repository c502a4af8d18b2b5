"""Where weights come from: each origin against a real server, and what a killed or second process leaves."""

import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.indexer.models import bad_server
from tests.indexer.models.bad_server import BadServer, running_server
from tests.indexer.models.random_bit import random_arrays, write_npz
from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models import download as download_module
from vitrine.indexer.models import list_models, origins, registry, resolve
from vitrine.indexer.models.download import DownloadFailed, Limits
from vitrine.indexer.progress import Silent

HUB, KAGGLE = "/google/bit/m-r50x1/1", "/api/v1/models/google/bit/tensorFlow2/m-r50x1/1/download"
NPZ = "/BiT-M-R50x1.npz"
# The name that tensorflow_hub gives the folder of https://tfhub.dev/google/bit/m-r50x1/1.
HUB_FOLDER = "4ff8fefe176c863be939e3880dfa769989df4e32"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TFHUB_CACHE_DIR", "XDG_CACHE_HOME", "VITRINE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """A server that stands in for all three origins, with little patience wanted of its callers."""
    quick = Limits(connect_s=2, read_s=0.5, tries=2, backoff_s=0.01, slow_s=0.3, min_bytes_per_s=1000)
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


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def start(self, total: int | None, what: str) -> None:
        self.lines.append(what)


def test_tf_hub_is_asked_first_and_unpacked_where_tensorflow_hub_looks(
    mirror: BadServer, tmp_path: Path
) -> None:
    mirror.serve(HUB, TARBALL)
    notes = Notes()
    source = resolve("bit-m-r50x1", progress=notes)
    home = tmp_path / "models" / "tfhub" / HUB_FOLDER
    assert source.path == home
    assert (home / "saved_model.pb").read_bytes() == MODULE["saved_model.pb"]
    assert [path for path, _ in mirror.requests] == [f"{HUB}?tf-hub-format=compressed"]
    assert "bit-m-r50x1: asking TF Hub" in notes.lines
    assert "MiB of SavedModel from TF Hub" in notes.lines
    recorded = json.loads(home.with_name(f"{HUB_FOLDER}.origin.json").read_text())
    assert recorded["bytes"] == len(TARBALL)
    assert recorded["url"].startswith(mirror.url)
    assert sorted(path.name for path in home.parent.iterdir()) == [HUB_FOLDER, f"{HUB_FOLDER}.origin.json"]


def test_what_was_fetched_is_found_without_a_network(
    mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.serve(HUB, TARBALL)
    fetched = resolve("bit-m-r50x1")
    monkeypatch.setenv("VITRINE_OFFLINE", "1")
    again = resolve("bit-m-r50x1")
    assert again.digest == fetched.digest
    assert again.why.startswith("at hand in")
    assert len(mirror.requests) == 1


def test_the_folder_of_tfhub_cache_dir_is_used(
    tmp_path: Path, mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    home = tmp_path / "hub" / HUB_FOLDER
    home.mkdir(parents=True)
    (home / "saved_model.pb").write_bytes(b"x")
    assert resolve("bit-m-r50x1").path == home
    assert resolve("https://tfhub.dev/google/bit/m-r50x1/1").path == home
    assert not mirror.requests


def test_kaggle_is_next_then_the_official_file(mirror: BadServer, tmp_path: Path, npz: bytes) -> None:
    mirror.serve(HUB, b"", bad_server.status(403))
    mirror.serve(KAGGLE, TARBALL)
    source = resolve("bit-m-r50x1")
    assert source.path == tmp_path / "models/kaggle/google/bit/tensorFlow2/m-r50x1/1"
    mirror.serve("/google/bit/s-r50x1/1", b"", bad_server.web_page)
    mirror.serve("/BiT-S-R50x1.npz", npz)
    source = resolve("bit-s-r50x1")
    assert source.path == tmp_path / "models" / "BiT-S-R50x1.npz"
    assert source.why.startswith("fetched from the official checkpoints")


def test_the_error_names_every_attempt_and_what_to_do(mirror: BadServer, tmp_path: Path) -> None:
    mirror.serve(HUB, b"", bad_server.status(403))
    mirror.serve(KAGGLE, tarball(readme=b"no model"))
    mirror.serve(NPZ, b"not a zip")
    with pytest.raises(ModelUnavailable) as refused:
        resolve("bit-m-r50x1")
    message = str(refused.value)
    for part in (
        f"{tmp_path / 'models'}: not there",
        f"TF Hub {mirror.url}{HUB}?tf-hub-format=compressed: HTTP 403 Forbidden (tried 2 times)",
        f"Kaggle {mirror.url}{KAGGLE}: what came has no saved_model.pb in it",
        f"the official checkpoints {mirror.url}{NPZ}: what came is no whole .npz file",
        "models fetch bit-m-r50x1",
        f"put BiT-M-R50x1.npz into {tmp_path / 'models'}",
        "--model efficientnet-lite2",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "trouble",
    [
        bad_server.status(403),
        bad_server.cut(0.5),
        bad_server.drip,
        bad_server.silence,
        bad_server.web_page,
        bad_server.disguised_page,
        bad_server.too_long,
        bad_server.cut_without_length,
    ],
)
@pytest.mark.parametrize("place", [HUB, KAGGLE, NPZ])
def test_every_origin_outlives_every_trouble(
    mirror: BadServer, npz: bytes, place: str, trouble: bad_server.Answer
) -> None:
    mirror.serve(place, npz if place == NPZ else TARBALL, trouble, bad_server.whole)
    assert resolve("bit-m-r50x1").path.exists()


def test_a_tarball_that_reaches_out_of_its_folder_is_refused(mirror: BadServer, tmp_path: Path) -> None:
    mirror.serve(HUB, tarball(**{"saved_model.pb": b"x", "../../../outside": b"y"}))
    with pytest.raises(ModelUnavailable, match="its archive cannot be unpacked"):
        resolve("bit-m-r50x1")
    assert not list(tmp_path.rglob("outside"))


def test_a_tarball_with_one_folder_around_it_is_unwrapped(mirror: BadServer) -> None:
    mirror.serve(HUB, tarball(**{"bit/saved_model.pb": b"x", "bit/variables/v": b"y"}))
    source = resolve("bit-m-r50x1")
    assert sorted(path.name for path in source.path.iterdir()) == ["saved_model.pb", "variables"]


def test_a_lock_that_tensorflow_hub_left_behind_is_not_waited_for(mirror: BadServer, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tfhub"
    folder.mkdir(parents=True)
    (folder / f"{HUB_FOLDER}.lock").write_text("some-host.1234.abcdef")
    (folder / HUB_FOLDER).mkdir()  # and an empty folder of the name
    mirror.serve(HUB, TARBALL)
    assert (resolve("bit-m-r50x1").path / "saved_model.pb").exists()


def test_a_process_killed_while_it_unpacked_costs_no_second_download(
    mirror: BadServer, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "tfhub"
    left = folder / f"{HUB_FOLDER}.0123.unpacking"
    left.mkdir(parents=True)
    (left / "saved_model.pb").write_bytes(b"half")
    (folder / f"{HUB_FOLDER}.tar").write_bytes(TARBALL)
    source = resolve("bit-m-r50x1")
    assert (source.path / "saved_model.pb").read_bytes() == MODULE["saved_model.pb"]
    assert not mirror.requests
    assert not left.exists()


def test_a_second_process_waits_and_does_not_fetch_again(mirror: BadServer) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slowly(request: bad_server.Handler, data: bytes) -> None:
        started.set()
        go_on.wait(30)
        bad_server.whole(request, data)

    mirror.serve(HUB, TARBALL, slowly)
    notes = Notes()
    first = threading.Thread(target=resolve, args=("bit-m-r50x1",))
    first.start()
    started.wait(30)
    second = threading.Thread(target=resolve, args=("bit-m-r50x1",), kwargs={"progress": notes})
    second.start()
    deadline = time.monotonic() + 20
    while not any("waiting" in line for line in notes.lines) and time.monotonic() < deadline:
        time.sleep(0.01)
    go_on.set()
    first.join(30)
    second.join(30)
    assert any("another process is fetching" in line for line in notes.lines)
    assert len(mirror.requests) == 1


def test_a_lasting_folder_that_cannot_be_made_is_named(
    mirror: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "file"))
    mirror.serve(HUB, TARBALL)
    with pytest.raises(ModelUnavailable, match="cannot be written"):
        resolve("bit-m-r50x1")


def test_any_handle_is_fetched_and_a_mirror_stands_in_for_tf_hub_only(mirror: BadServer) -> None:
    mirror.serve("/google/imagenet/mobilenet/5", TARBALL)
    source = resolve("https://tfhub.dev/google/imagenet/mobilenet/5")
    assert source.name == source.handle == "https://tfhub.dev/google/imagenet/mobilenet/5"
    mirror.serve("/own/model", TARBALL)
    source = resolve(f"{mirror.url}/own/model?version=3")
    assert mirror.requests[-1][0] == "/own/model?version=3&tf-hub-format=compressed"
    with pytest.raises(ModelUnavailable, match="HTTP 404"):
        resolve(f"{mirror.url}/nothing")


def test_no_network_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TFHUB", "KAGGLE", "BIT"):
        monkeypatch.setenv(f"VITRINE_{name}_URL", "https://nowhere.invalid")
    with pytest.raises(ModelUnavailable, match=r"TF Hub .* cannot be reached.*Kaggle.*official"):
        resolve("bit-m-r50x1")


def test_the_network_is_not_asked_when_it_must_not_be(
    mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.serve(HUB, TARBALL)
    with pytest.raises(ModelUnavailable):
        resolve("bit-m-r50x1", fetch=False)
    monkeypatch.setenv("VITRINE_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="VITRINE_OFFLINE"):
        resolve("bit-m-r50x1")
    assert not mirror.requests


def test_a_file_put_into_the_lasting_folder_by_hand_is_found(tmp_path: Path, npz: bytes) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "BiT-M-R50x1.npz").write_bytes(npz)
    assert resolve("bit-m-r50x1", fetch=False).path == folder / "BiT-M-R50x1.npz"
    (folder / "bit-m-r50x1.npz").write_bytes(npz)
    assert resolve("bit-m-r50x1", fetch=False).path == folder / "bit-m-r50x1.npz"
    (listing,) = [listing for listing in list_models() if listing.name == "bit-m-r50x1"]
    assert listing.at_hand
    assert listing.origin == str(folder / "bit-m-r50x1.npz")


def test_a_broken_file_at_hand_is_passed_over_and_named(
    mirror: BadServer, tmp_path: Path, npz: bytes
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "bit-m-r50x1.npz").write_bytes(npz[:1000])
    with pytest.raises(ModelUnavailable, match=r"bit-m-r50x1\.npz: not a readable weight file"):
        resolve("bit-m-r50x1")
    mirror.serve(NPZ, npz)
    assert resolve("bit-m-r50x1").path.name == "BiT-M-R50x1.npz"


def test_what_kagglehub_finished_is_found(tmp_path: Path) -> None:
    home = tmp_path / "kagglehub/models/google/bit/tensorFlow2/m-r50x1/1"
    home.mkdir(parents=True)
    (home / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelUnavailable):
        resolve("bit-m-r50x1", fetch=False)
    home.with_name("1.complete").touch()
    assert resolve("bit-m-r50x1", fetch=False).path == home


def test_the_lasting_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VITRINE_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert origins.models_folder() == tmp_path / "vitrine"
    assert origins.tfhub_folder() == tmp_path / "vitrine" / "tfhub"


def test_every_name_says_where_it_would_come_from() -> None:
    listings = {listing.name: listing for listing in list_models()}
    assert set(listings) == {"efficientnet-lite2", *registry.BIT_DIMENSIONS}
    assert listings["bit-m-r152x4"].dimension == 8192
    for url in (
        "https://tfhub.dev/google/bit/m-r50x1/1",
        "https://www.kaggle.com/api/v1/models/google/bit/tensorFlow2/m-r50x1/1/download",
        "https://storage.googleapis.com/bit_models/BiT-M-R50x1.npz",
    ):
        assert url in listings["bit-m-r50x1"].origin


def test_an_archive_that_would_unpack_to_more_than_a_model_is_refused(
    mirror: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "_MAX_UNPACKED_BYTES", 100)
    mirror.serve(HUB, TARBALL)
    origin = origins.tfhub_origin("https://tfhub.dev/google/bit/m-r50x1/1")
    with pytest.raises(DownloadFailed, match="more than any model is"):
        origin.fetch(Silent())
