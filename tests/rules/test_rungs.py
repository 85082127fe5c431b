"""The rules that hold the package together: imports point up, text knows no torch, twins stay in tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "viva"
RUNGS = ["base", "text", "model", "infer", "align", "train", "evaluate", "api", "serve", "quickstart", "cli"]
ROOMS = ["tokens", "talk", "rows", "cache", "preflight"]  # of text
FILES = sorted(ROOT.rglob("*.py"))


def rung(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Every module a file imports, at its top or inside a function, as a dotted name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_point_up(file):
    if rung(file) == "__init__":
        return  # the public face, which loads everything when it is asked for
    own = RUNGS.index(rung(file))
    below = {name for name in imported(file) if name.startswith("viva.") and RUNGS.index(name.split(".")[1]) > own}
    assert not below, f"{file} is on rung {RUNGS[own]} and imports {below}"


@pytest.mark.parametrize("file", sorted((ROOT / "text").glob("*/**/*.py")), ids=lambda file: file.name)
def test_imports_point_up_within_text(file):
    own = ROOMS.index(file.relative_to(ROOT / "text").parts[0])
    rooms = {name.split(".")[2] for name in imported(file) if name.startswith("viva.text.")}
    assert max(map(ROOMS.index, rooms), default=0) <= own


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_forbidden_imports(file):
    tops = {name.split(".")[0] for name in imported(file)}
    assert not tops & {"transformers", "pickle", "dill", "trl", "peft"}
    if rung(file) in ("text",):
        assert "torch" not in tops


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_readable_algorithms_are_called_by_tests_alone(file):
    if file.parent.name != "reference":
        assert not {name for name in imported(file) if name.startswith("viva.text.tokens.reference")}
