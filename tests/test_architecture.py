"""Who may import what: the structure that README draws, kept true by reading the code's imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY_FRAMEWORKS = {"tensorflow", "tensorflow_hub", "keras", "kagglehub"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def importers(package: str) -> set[str]:
    """Return the modules of indexer and service that import a package, as paths from the root."""
    found = set()
    for path in [*modules("indexer"), *modules("service")]:
        if any(name.split(".")[0] == package for name in imports(path)):
            found.add(path.relative_to(ROOT).as_posix())
    return found


def test_indexer_never_imports_service() -> None:
    assert not [path for path in importers("service") if path.startswith("indexer/")]


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("faiss", ("indexer/recipes/",)),
        (
            "pyarrow",
            (
                "indexer/products/table.py",
                "indexer/products/conditions.py",
                "indexer/source/source.py",
                "indexer/source/manifest.py",
                "indexer/source/csv.py",
                "indexer/source/complete.py",
                "indexer/products/ids.py",
                "indexer/source/uploads.py",
                "indexer/export/files.py",
            ),
        ),
        ("sqlite3", ("indexer/journal", "indexer/embedding/cache.py", "indexer/embedding/cache_file.py")),
    ],
)
def test_one_place_knows_each_format(package: str, allowed: tuple[str, ...]) -> None:
    assert not [path for path in importers(package) if not path.startswith(allowed)]


def test_only_models_import_the_frameworks() -> None:
    for package in HEAVY_FRAMEWORKS:
        assert not [path for path in importers(package) if not path.startswith("indexer/models/")]


def test_queries_know_neither_flask_nor_files() -> None:
    for path in modules("service/queries"):
        names = {name.split(".")[0] for name in imports(path)}
        assert not names & {"flask", "pathlib", "os", "faiss", "pyarrow", "sqlite3"}, path


def test_no_module_is_named_after_nothing() -> None:
    banned = {"utils", "common", "helpers", "manager", "base", "misc"}
    assert not [
        path for package in ("indexer", "service") for path in modules(package) if path.stem in banned
    ]


def test_every_module_says_what_it_owns() -> None:
    for path in [*modules("indexer"), *modules("service")]:
        if path.read_text(encoding="utf-8").strip():
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
