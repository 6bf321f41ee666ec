"""Compiles the Cython modules; everything else about the build is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FOLDERS = ("fastpath", "models", "proxy")


def extensions() -> list[Extension]:
    """Return one extension for each `.pyx` of the tree, named by its path."""
    sources = sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.pyx"))
    return [
        Extension(
            ".".join(path.with_suffix("").parts),
            [str(path)],
            extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"],
        )
        for path in sources
    ]


CORES = os.cpu_count() or 1

setup(
    ext_modules=cythonize(extensions(), nthreads=CORES, compiler_directives={"language_level": "3str"}),
    options={"build_ext": {"parallel": CORES}},
)
