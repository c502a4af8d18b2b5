"""Installed packages: one import name, `vitrine`; a host keeps its own `service` and `indexer`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

USER = """
from vitrine import Catalogue, create_app, create_blueprint

catalogue: Catalogue = Catalogue.open("index")
app = create_app(catalogue)
app.register_blueprint(create_blueprint("index"), url_prefix="/visual")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed wheel, made from a copy of the files that git tracks or would add."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    packed = [name for name in names if name and not name.startswith(("data/", "tests/")) and _exists(name)]
    subprocess.run(["tar", "-cf", folder / "source.tar", *packed], cwd=ROOT, check=True)
    (folder / "source").mkdir()
    subprocess.run(["tar", "-xf", folder / "source.tar", "-C", folder / "source"], check=True)
    wheel = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "wheels"),
        ".",
    ]
    subprocess.run([sys.executable, "-m", "pip", *wheel], cwd=folder / "source", check=True)
    [made] = (folder / "wheels").glob("*.whl")
    zipfile.ZipFile(made).extractall(folder / "site")
    return folder / "site"


def _exists(name: str) -> bool:
    return (ROOT / name).is_symlink() or (ROOT / name).exists()


def run(code: str, folder: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    """Run code with the wheel first on the path, standing in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_wheel_installs_vitrine_and_nothing_else(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"vitrine"}
    for package in ("indexer", "service"):
        shipped = {
            path.relative_to(installed / "vitrine") for path in (installed / "vitrine" / package).rglob("*")
        }
        sources = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*")}
        needed = {path for path in sources if path.suffix not in (".po", ".md")}
        assert {path for path in needed if "__pycache__" not in path.parts} <= shipped


def test_a_host_keeps_its_own_packages_of_the_same_name(tmp_path: Path, installed: Path) -> None:
    for name in ("service", "indexer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("class Billing: pass\n")
    code = (
        "from vitrine import Catalogue, create_app, create_blueprint\n"
        "from service import Billing\n"
        "from indexer import Billing as Other\n"
        "import vitrine.indexer.cli.main, vitrine.service.cli\n"
        "print(vitrine.__file__)"
    )
    result = run(code, tmp_path, installed)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(installed))


@pytest.mark.parametrize("name", ["indexer", "service", "tests"])
def test_nothing_is_put_on_the_path_besides(tmp_path: Path, name: str) -> None:
    """Holds for the editable install of the checkout as well, which runs these tests."""
    result = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ModuleNotFoundError" in result.stderr


def test_users_are_type_checked(tmp_path: Path, installed: Path) -> None:
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(USER + 'create_blueprint(index=1, prefix="/")\n')
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    environment = {**os.environ, "MYPYPATH": str(installed)}
    for name, status in (("right.py", 0), ("wrong.py", 1)):
        result = subprocess.run(
            [*command, "--follow-imports", "silent", name],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == status, result.stdout


def test_modules_are_the_same_whatever_way_a_checkout_is_entered() -> None:
    """`from service import …` in a checkout loads `vitrine.service`, not a second copy."""
    code = (
        "import sys; from service import Catalogue, create_app; import vitrine\n"
        "assert Catalogue is vitrine.Catalogue and create_app is vitrine.create_app\n"
        "print([name for name in sys.modules if name.startswith(('service.', 'indexer.'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr
