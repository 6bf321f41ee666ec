"""The command `hkpguard`; the only place that reads the process's environment."""

import os

from proxy.cli import app


def main() -> None:
    """Run the command line."""
    app(obj=dict(os.environ), prog_name="hkpguard")


if __name__ == "__main__":
    main()
