"""Fuzzes one target with atheris (libFuzzer), guided by the coverage of compiled modules and of Python.

    python -m tests.fuzz.guided TARGET INPUTS SECONDS NUMBER SAVE CORPUS

Arguments as in `plain.py`; what is found goes to CORPUS. To be run in the folder of the build `covered`. Every other
mutation is ours, which knows lines and words; the others are libFuzzer's.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

from tests.fuzz.build import COVERAGE_LIBRARY

LIBRARY = ctypes.CDLL(str(Path(COVERAGE_LIBRARY).resolve()), mode=ctypes.RTLD_GLOBAL)

import atheris  # type: ignore[import-untyped]  # noqa: E402 - after the library, whose functions the modules shall find
from atheris import core_with_libfuzzer  # noqa: E402

with atheris.instrument_imports(include=["proxy", "fastpath"], enable_loader_override=False):
    from tests.fuzz.mutate import Mutator
    from tests.fuzz.target import Target, load

FUNCTIONS = (
    "8bit_counters_init", "pcs_init", "trace_cmp1", "trace_cmp2", "trace_cmp4", "trace_cmp8", "trace_const_cmp1",
    "trace_const_cmp2", "trace_const_cmp4", "trace_const_cmp8", "trace_switch",
)  # fmt: skip
RSS_MB = 2048
SLOW_SECONDS = 10


def connect() -> None:
    """Tell libFuzzer of the counters, and the counters of libFuzzer."""
    libfuzzer = ctypes.CDLL(core_with_libfuzzer.__file__)
    addresses = [ctypes.cast(getattr(libfuzzer, f"__sanitizer_cov_{name}"), ctypes.c_void_p) for name in FUNCTIONS]
    LIBRARY.coverage_begin((ctypes.c_void_p * len(FUNCTIONS))(*(address.value for address in addresses)))


def write_seeds(target: Target, corpus: Path) -> None:
    """Put the seeds where libFuzzer looks for them."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        data = seed[: target.longest]
        (corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def write_words(target: Target, path: Path) -> Path:
    """Write libFuzzer's dictionary."""
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.words)
    mine = path.with_suffix(f".{os.getpid()}")  # other processes may be reading theirs
    mine.write_text("".join(f'"{word}"\n' for word in words))
    return mine.rename(path)


def main() -> None:
    """Run as the command line says; libFuzzer ends the process."""
    name, inputs, seconds, number, save, corpus = sys.argv[1:]
    with atheris.instrument_imports(include=["proxy", "fastpath"], enable_loader_override=False):
        target = load(name)
    Path(save).mkdir(parents=True, exist_ok=True)
    write_seeds(target, Path(corpus))
    mutator = Mutator(target, int(number))

    def mutate(data: bytes, longest: int, draw: int) -> bytes:
        return atheris.Mutate(data, longest) if draw % 2 else mutator.changed(data)[:longest]

    options = {
        "runs": int(inputs) or -1,
        "max_total_time": int(float(seconds)),
        "seed": int(number),
        "max_len": target.longest,
        "len_control": 0,
        "dict": write_words(target, Path(corpus).with_suffix(".dict")),
        "artifact_prefix": f"{save}/",
        "rss_limit_mb": RSS_MB,
        "timeout": SLOW_SECONDS,
        "print_final_stats": 1,
        "verbosity": 1,
    }
    connect()
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), corpus]
    atheris.Setup(arguments, target.check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
