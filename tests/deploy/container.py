"""What the files in `deploy` are compared with: the image, and the configuration that a container gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
IMAGE: Final = dict(re.findall(r"(HKPGUARD_\w+)=(\S+)", DOCKERFILE))
IMAGE_NAME: Final = "hkpguard"
ADMIN_FILE: Final = "HKPGUARD_CONFIG"  # has the token
AFTER_STOP_S: Final = 8  # for processes that do not end, see docs/deployment.md
SECOND: Final = 1_000_000_000
MIB: Final = 1 << 20
NODE_BYTES: Final = 400 * MIB  # two workers with every table full, at most


def image_user() -> int:
    """Return the number of the user that the image runs as."""
    match = re.search(r"^USER (\d+)", DOCKERFILE, re.MULTILINE)
    assert match is not None
    return int(match[1])


def configuration(environ: Mapping[str, str], secrets: Path | None = None, mounted: str = "") -> Config:
    """Return the configuration of a container with an environment; ConfigError if anything in it is wrong.

    Args:
        environ: All HKPGUARD_* that are not in the image; an unknown one is wrong.
        secrets: A folder with the files of the secrets, which are looked at; None: they are not.
        mounted: Where that folder is in the container.

    """
    if secrets is not None:
        return Config.from_env(IMAGE | {name: value.replace(mounted, str(secrets)) for name, value in environ.items()})
    without = {name: value for name, value in environ.items() if name != ADMIN_FILE}
    return Config.from_env(IMAGE | {"HKPGUARD_ADMIN_TOKEN": "x" * 32} | without, try_files=False)


def seconds_to_stop(config: Config) -> int:
    """Return how long a guard may take to end after SIGTERM."""
    return (config.grace_ns + config.hard_stop_after_ns) // SECOND + AFTER_STOP_S


def bytes_needed(config: Config) -> int:
    """Return how much memory a node may need: tables, the answers that are kept, what is being read."""
    assert config.workers <= 2, "what a node needs is measured with two workers"
    return NODE_BYTES + config.cache.bytes + config.workers * config.http.body_store_bytes
