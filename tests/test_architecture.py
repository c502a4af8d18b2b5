"""Structure of the code: which room may import which, and which libraries each room may know.

A room is a folder of `indexer/` or `service/`, or a file directly in one of them. Imports are read from the
source, type-only ones included.
"""

import ast
import collections
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

HEAVY_FRAMEWORKS = {"tensorflow", "tensorflow_hub", "keras", "kagglehub"}
# Lowest first. A room may import the rooms named beside it, and any of indexer's small files.
LAYERS = {
    "indexer.arrays": "",
    "indexer.config": "",
    "indexer.errors": "",
    "indexer.progress": "",
    "indexer.files": "",
    "indexer.pictures": "",
    "indexer.products": "",
    "indexer.vectors": "",
    "indexer.journal": "products",
    "indexer.models": "pictures",
    "indexer.recipes": "vectors",
    "indexer.transform": "vectors",
    "indexer.snapshot": "journal products recipes transform vectors",
    "indexer.source": "journal pictures products",
    "indexer.embedding": "models pictures source",
    "indexer.state": "journal products snapshot vectors",
    "indexer.milvus": "products snapshot",
    "indexer.build": "embedding journal models pictures products recipes snapshot source transform vectors",
    "indexer.evaluation": "embedding models pictures products snapshot source transform vectors",
    "indexer.export": "products snapshot state vectors",
    "indexer.quality": "evaluation pictures products snapshot state transform vectors",
    "indexer.operations": "build embedding journal products quality recipes snapshot source state",
    "indexer.report": "evaluation export pictures products quality snapshot state",
    "indexer.cli": (
        "build embedding evaluation export milvus models operations products recipes report snapshot state"
        " vectors"
    ),
    "service.logs": "",
    "service.timing": "",
    "service.translations": "",
    "service.errors": "",
    "service.problems": "service.errors",
    "service.config": "milvus",
    "service.queries": "journal products snapshot state vectors",
    "service.stores": "milvus products recipes snapshot state vectors service.queries",
    "service.pictures": "embedding models pictures products snapshot source service.errors service.queries",
    "service.catalogue": (
        "journal products quality snapshot state service.config service.errors service.pictures"
        " service.problems service.queries service.stores service.timing"
    ),
    "service.http": (
        "service.catalogue service.config service.errors service.logs service.problems service.timing"
    ),
    "service.api": "products service.catalogue service.http service.pictures service.queries service.timing",
    "service.gallery": (
        "quality snapshot service.catalogue service.errors service.http service.problems service.queries"
    ),
    "service.app": "service.api service.catalogue service.config service.gallery service.http",
    "service.server": "journal service.app service.config service.http service.logs",
    "service.cli": "cli service.config service.server",
}
SMALL_FILES = {f"indexer.{name}" for name in ("arrays", "config", "errors", "files", "progress")}
ENTRY_POINTS = {"indexer", "indexer.__main__", "service", "service.__main__"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    """Return the dotted name below `vitrine`, such as "indexer.products.table"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for package in ("indexer", "service") for path in modules(package)}


def imports(path: Path) -> Iterator[str]:
    """Yield every imported module, and every imported name as if it were one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Return the modules of ours that a module imports, without the packages that hold them."""
    names = {name.removeprefix("vitrine.") for name in imports(path) if name.startswith("vitrine.")}
    known = names & PATHS.keys()
    return {name for name in known if not any(other.startswith(f"{name}.") for other in known)}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def importers(package: str) -> set[str]:
    """Return the modules that import a package, as paths from the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PATHS.values()
        if any(name.split(".")[0] == package for name in imports(path))
    }


def test_every_room_imports_only_what_its_layer_allows() -> None:
    upward = []
    for module, path in PATHS.items():
        if module in ENTRY_POINTS:
            continue
        allowed = {name if "." in name else f"indexer.{name}" for name in LAYERS[room(module)].split()}
        allowed |= SMALL_FILES | {room(module)}
        upward += [f"{module} imports {name}" for name in own_imports(path) if room(name) not in allowed]
    assert not upward


def test_the_layers_are_in_order() -> None:
    order = list(LAYERS)
    for name, allowed in LAYERS.items():
        for lower in allowed.split():
            lower = lower if "." in lower else f"indexer.{lower}"
            assert order.index(lower) < order.index(name), (name, lower)
    assert {room(module) for module in PATHS if module not in ENTRY_POINTS} == set(LAYERS)


def test_no_import_cycle() -> None:
    graph = {module: own_imports(path) - {module} for module, path in PATHS.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_indexer_never_imports_service() -> None:
    assert not [
        module
        for module, path in PATHS.items()
        if module.startswith("indexer") and any(name.startswith("service") for name in own_imports(path))
    ]


def test_modules_are_imported_as_vitrine() -> None:
    assert not importers("indexer") | importers("service")


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("faiss", ("indexer/recipes/",)),
        ("pymilvus", ("indexer/milvus/",)),
        ("ray", ("indexer/embedding/ray",)),
        ("pyarrow", ("indexer/products/", "indexer/source/", "indexer/export/output.py")),
        ("sqlite3", ("indexer/journal/", "indexer/embedding/cache", "indexer/files.py")),
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


def test_no_module_has_an_empty_name() -> None:
    banned = {"utils", "common", "helpers", "manager", "base", "misc"}
    assert not [path for path in PATHS.values() if path.stem in banned]


def test_few_files_lie_at_the_top() -> None:
    for package in ("indexer", "service"):
        assert len(list((ROOT / package).glob("*.py"))) <= 12


def test_a_file_name_occurs_once_in_a_package_unless_its_room_makes_the_difference_plain() -> None:
    names = collections.Counter(
        (path.relative_to(ROOT).parts[0], path.stem)
        for path in PATHS.values()
        if path.stem not in {"__init__", "__main__"}
    )
    twice = {f"{package}: {stem}" for (package, stem), count in names.items() if count > 1}
    assert twice <= PLAIN_BY_ROOM


# The same noun of two rooms, which is the right word in both.
PLAIN_BY_ROOM = {
    "indexer: build",
    "indexer: choice",
    "indexer: errors",
    "indexer: manifest",
    "indexer: reader",
    "indexer: tuning",
    "service: quality",
    "service: routes",
    "service: state",
}


def test_every_module_says_what_it_owns() -> None:
    for path in PATHS.values():
        if path.read_text(encoding="utf-8").strip():
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def has_logic(path: Path) -> bool:
    """Return whether a module defines functions or methods, apart from re-exports and data."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return path.stem != "__main__" and any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))


@pytest.mark.parametrize("module", [module for module, path in PATHS.items() if has_logic(path)])
def test_every_module_has_a_test_file_or_is_named_in_one_of_its_room(module: str) -> None:
    folder, name = (ROOT / "tests").joinpath(*module.split(".")[:-1]), module.split(".")[-1]
    if PATHS[module].stem == "__init__" or (folder / f"test_{name}.py").exists():
        return
    docstrings = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in folder.glob("test_*.py")]
    assert any(re.search(rf"\b{name}\b", text) for text in docstrings)
