"""`python -m models.training train` makes the models that are shipped, `evaluate` says what they are worth.

`validate` says what the way to train them is worth, without the tools for tests.
"""

from __future__ import annotations

import sys

from models.training import shipped

USAGE = "usage: python -m models.training train|evaluate|validate"


def main(arguments: list[str]) -> int:
    """Do what is asked for; return the exit status."""
    if arguments == ["train"]:
        for model in shipped.train():
            known = model.manifest
            print(f"{known.name} {known.version}: {len(model.graph)} bytes, {known.metrics}")  # noqa: T201 - a command
        return 0
    if arguments == ["evaluate"]:
        print("\n".join(shipped.report()))  # noqa: T201 - likewise
        return 0
    if arguments == ["validate"]:
        print("\n".join(shipped.validation_report()))  # noqa: T201 - likewise
        return 0
    print(USAGE, file=sys.stderr)  # noqa: T201 - likewise
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
