"""Who may know whom: the rules of the house, read from the source.

- `fastpath` imports none of the other folders; `models` and `geo` none but `fastpath`.
- `proxy.hkp` and `proxy.policy` decide and do no I/O: nothing that they import, however many steps away inside the
  tree, opens a socket, runs a loop, asks Redis, a model or a database.
- The environment is read in `proxy/__main__.py` and nowhere else.

Imports under `if TYPE_CHECKING` do not run, and may point anywhere. Cython is read line by line, which its import
statements allow.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = ("proxy", "fastpath", "models", "geo")
FORBIDDEN_TO_DECIDERS = frozenset(
    {
        "asyncio",
        "uvloop",
        "aiohttp",
        "socket",
        "selectors",
        "ssl",
        "redis",
        "onnxruntime",
        "maxminddb",
        "requests",
        "subprocess",
    }
)
ALLOWED = {"fastpath": frozenset(), "models": frozenset({"fastpath"}), "geo": frozenset({"fastpath"})}
CYTHON_IMPORT = re.compile(r"^(?:from\s+([\w.]+)\s+c?import\b.*|c?import\s+([\w., ]+?)\s*(?:#.*)?)$", re.MULTILINE)


@cache
def modules() -> dict[str, Path]:
    """Return the source files of the tree by their module names; a .pyx before its .pyi."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for pattern in ("*.py", "*.pyx"):
            for path in sorted((ROOT / folder).rglob(pattern)):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Return the names that a module imports when it runs, members included (`a.b` for `from a import b`)."""
    path = modules()[name]
    found = _of_python(path) if path.suffix == ".py" else _of_cython(path)
    return frozenset(found)


def _of_python(path: Path) -> Iterator[str]:
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: all but what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running(node)


def _of_cython(path: Path) -> Iterator[str]:
    companion = path.with_suffix(".pxd")
    text = path.read_text(encoding="utf-8") + (companion.read_text(encoding="utf-8") if companion.exists() else "")
    for found in CYTHON_IMPORT.finditer(text):
        yield from [found[1]] if found[1] else [name.split(" as ")[0].strip() for name in found[2].split(",")]


def inside(name: str) -> str | None:
    """Return the module of the tree that an imported name means: itself, or the module that it is a member of."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def reached(start: str) -> dict[str, str]:
    """Return every name that is imported because of a module, with the module of the tree that imports it."""
    seen: dict[str, str] = {}
    waiting = [start]
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        for imported in imports(name):
            seen.setdefault(imported, name)
            if module := inside(imported):
                parents = [module.rsplit(".", steps)[0] for steps in range(module.count(".") + 1)]
                waiting += [parent for parent in parents if parent in modules()]
    return seen


def in_folder(*prefixes: str) -> list[str]:
    """Return the modules below packages."""
    return [name for name in modules() if name in prefixes or name.startswith(tuple(f"{each}." for each in prefixes))]


def test_the_tree_is_found() -> None:
    """The reader of imports sees what it should: Python and Cython, plain and from, and not what is for types only."""
    assert {"proxy.worker", "proxy.http.head", "proxy.http.exchange", "proxy.policy.policy", "fastpath"} <= set(
        modules()
    )
    assert "socket" in imports("proxy.worker")
    assert "asyncio" in imports("proxy.worker")
    assert "fastpath.clock" in imports("proxy.http.client")
    assert "proxy.http.stream" in imports("proxy.http.guard")
    assert "socket" in imports("proxy.http.pool")
    assert not any(name.startswith("proxy.http") for name in imports("proxy.admin.api"))


@pytest.mark.parametrize("folder", ALLOWED)
def test_folders_know_nothing_of_those_above(folder: str) -> None:
    """`fastpath` stands alone; `models` and `geo` may read its record layout."""
    for name in in_folder(folder):
        known = {imported.partition(".")[0] for imported in imports(name)} & set(FOLDERS)
        assert known <= ALLOWED[folder] | {folder}, name


@pytest.mark.parametrize("name", in_folder("proxy.hkp", "proxy.policy"))
def test_deciders_do_no_io(name: str) -> None:
    """Nothing that classifies or judges can reach a socket, a loop or a store, not through others either."""
    for imported, by in reached(name).items():
        assert imported.partition(".")[0] not in FORBIDDEN_TO_DECIDERS, f"{by} imports {imported}"
        assert imported not in {"os.environ", "os.getenv"}, f"{by} imports {imported}"


@pytest.mark.parametrize("name", in_folder("proxy.hkp", "proxy.policy"))
def test_deciders_do_not_know_the_way_there(name: str) -> None:
    """They know the configuration and shared memory, and nothing of HTTP, telemetry, the admin API or processes."""
    known = {module for imported in reached(name) if (module := inside(imported))}
    above = {module for module in known if module.startswith("proxy.") and not module.startswith(BELOW)}
    assert above <= {"proxy", "proxy.config"}


BELOW = ("proxy.hkp", "proxy.policy", "proxy.settings")
ENVIRONMENT = re.compile(r"\b(environb?|getenvb?|putenv)\b")


@pytest.mark.parametrize("name", [name for name in modules() if name != "proxy.__main__"])
def test_environment_is_read_in_one_place(name: str) -> None:
    """Nobody but `proxy/__main__.py` asks the process for its environment; others are handed a mapping."""
    path = modules()[name]
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        found = [ast.unparse(node) for node in ast.walk(ast.parse(text)) if _reads_environment(node)]
    else:
        found = [line for line in text.splitlines() if ENVIRONMENT.search(line) and "os" in line]
    assert found == []


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return (
            bool(ENVIRONMENT.fullmatch(node.attr))
            and isinstance(node.value, ast.Name)
            and node.value.id in {"os", "posix"}
        )
    return (
        isinstance(node, ast.ImportFrom)
        and node.module in {"os", "posix"}
        and any(ENVIRONMENT.fullmatch(alias.name) for alias in node.names)
    )


def test_reader_of_the_environment_would_be_found() -> None:
    """The test above can fail."""
    for text in (
        "import os\nos.environ['A']",
        "import os\nos.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
    ):
        assert any(_reads_environment(node) for node in ast.walk(ast.parse(text)))
    assert not any(_reads_environment(node) for node in ast.walk(ast.parse("config.environ, environ")))


def test_main_reads_it() -> None:
    """And the one place is where it is said to be."""
    tree = ast.parse((ROOT / "proxy" / "__main__.py").read_text(encoding="utf-8"))
    assert any(_reads_environment(node) for node in ast.walk(tree))
