"""Builds the tree once more, in a folder of its own, with checks that the product does without.

    python tests/fuzz/build.py sanitized    AddressSanitizer, UndefinedBehaviorSanitizer, Cython's own checks
    python tests/fuzz/build.py covered      edges and comparisons are told to the fuzzer; Cython's own checks

What is built lies in `build/sanitized` and `build/covered`, tests included, and runs from there. Sources are copied,
because directives in a file win over those of the command line: the copies have theirs taken out of their first line.
Only what has changed is compiled again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ("fastpath", "models", "proxy")
COPIED = (*COMPILED, "geo", "bench", "tests", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
DIRECTIVES = "# cython:"
LEFT_OUT = {".so", ".c", ".pyc"}
CHECKS = {
    "language_level": "3str",
    "boundscheck": True,
    "wraparound": True,
    "initializedcheck": True,
}
# Python's own flags make signed overflow defined; here it is an error.
COMMON = [
    "-g",
    "-fno-strict-aliasing",
    "-fno-wrapv",
    "-fno-omit-frame-pointer",
    "-Wno-unused-function",
    "-Wno-maybe-uninitialized",
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
KINDS = {
    "sanitized": (["-O1", *COMMON, *SANITIZERS], SANITIZERS),
    "covered": (["-O2", *COMMON, "-fsanitize-coverage=trace-pc,trace-cmp"], []),
}
COVERAGE_LIBRARY = "coverage.so"


def folder(kind: str) -> Path:
    """Return where a kind of build is, or will be."""
    return ROOT / "build" / kind


def build(kind: str) -> Path:
    """Bring a build up to date; return its folder."""
    target = folder(kind)
    wanted = {path.relative_to(ROOT) for name in COPIED for path in _files(ROOT / name)}
    for path in wanted:
        _copy(ROOT / path, target / path)
    for name in COPIED:
        for path in _files(target / name):
            if path.relative_to(target) not in wanted:
                path.unlink()
    if kind == "covered":
        _compile_coverage(target)
    _compile(target, *KINDS[kind])
    return target


def built(kind: str) -> Path:
    """Bring a build up to date, in a process of its own; return its folder.

    A compiler in this process would count for the memory of all its children.
    """
    subprocess.run([sys.executable, __file__, kind], check=True)
    return folder(kind)


def _files(path: Path) -> list[Path]:
    """Return the files in a folder, or the file itself, but none that a build or a run has made."""
    found = [path] if path.is_file() else path.rglob("*")
    return [each for each in found if each.is_file() and each.suffix not in LEFT_OUT and "out" not in each.parts]


def _copy(source: Path, target: Path) -> None:
    """Copy a file if its copy is not what it should be, so that an unchanged one keeps its time."""
    content = source.read_bytes()
    if source.suffix in {".pyx", ".pxd"}:
        content = checked(content.decode()).encode()
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def checked(source: str) -> str:
    """Return a Cython source without the directives that switch checks off."""
    first, newline, rest = source.partition("\n")
    if not first.startswith(DIRECTIVES):
        return source
    directives = [directive.strip() for directive in first.removeprefix(DIRECTIVES).split(",")]
    kept = [directive for directive in directives if directive.partition("=")[0] not in CHECKS]
    return (f"{DIRECTIVES} {', '.join(kept)}" if kept else "#") + newline + rest


def _compile(target: Path, compile_flags: list[str], link_flags: list[str]) -> None:
    """Compile the modules beside their sources."""
    os.chdir(target)
    sources = sorted(path for name in COMPILED for path in Path(name).rglob("*.pyx"))
    extensions = [
        Extension(
            ".".join(path.with_suffix("").parts),
            [str(path)],
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
        )
        for path in sources
    ]
    modules = cythonize(extensions, compiler_directives=CHECKS, quiet=True)  # type: ignore[no-untyped-call]  # has no types
    distribution = Distribution({"name": "hkpguard-checked", "ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.inplace = True
    command.parallel = os.cpu_count() or 1
    command.ensure_finalized()
    command.run()


def _compile_coverage(target: Path) -> None:
    """Compile the library that counts; see coverage.c."""
    source, library = target / "tests" / "fuzz" / "coverage.c", target / COVERAGE_LIBRARY
    source.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("coverage.c"), source)
    compiler = os.environ.get("CC", "gcc")
    subprocess.run([compiler, "-O2", "-Wall", "-fPIC", "-shared", "-o", library, source], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: python {sys.argv[0]} {'|'.join(KINDS)}")
    build(sys.argv[1])
