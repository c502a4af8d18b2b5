"""Plain English in the code: how docstrings begin, and words that do not belong in them.

A module or class is introduced by a noun phrase, a function by an imperative.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

PYTHON = sorted(
    path for folder in ("indexer", "service", "vitrine") for path in (ROOT / folder).rglob("*.py")
)
OPENINGS = re.compile(r"(What|How|Who|Whom|Whose|Where|Whether|When|Why|While|Which|That|If)\b")
WORDS = re.compile(
    r"\b(nobody|somebody|whoever|anybody|everybody|whatever|lent|'s affair|by itself alone|cares? for)\b",
    re.IGNORECASE,
)
# A third person ("Returns the row") or a noun is no imperative; these verbs begin most functions.
NO_IMPERATIVE = re.compile(
    r"(Returns|Yields|Makes|Gives|Says|Tells|Reads|Writes|The|A|An|One|All|Every|It|This)\b"
)


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (label of the place, docstring) of a module, its classes and its functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                line = getattr(node, "lineno", 1)
                yield f"{path.relative_to(ROOT)}:{line}", text


def functions(path: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            text = ast.get_docstring(node)
            if text and not any("property" in name or "validator" in name for name in decorators):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def comments(path: Path) -> Iterator[tuple[str, str]]:
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield f"{path.relative_to(ROOT)}:{token.start[0]}", token.string


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_code_is_explained_in_plain_english(path: Path) -> None:
    wrong = [f"{place}: {text.splitlines()[0]}" for place, text in docstrings(path) if OPENINGS.match(text)]
    wrong += [
        f"{place}: {text.splitlines()[0]}" for place, text in functions(path) if NO_IMPERATIVE.match(text)
    ]
    for place, text in [*docstrings(path), *comments(path)]:
        wrong += [f"{place}: {found.group()}" for found in WORDS.finditer(text)]
    assert not wrong
