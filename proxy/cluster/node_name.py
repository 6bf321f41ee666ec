"""The name by which a node is known to the others: as it is set, or its host's and some chance, kept over restarts.

Two guards on one host have different names so, also if a state folder is copied with a machine that then has another
name.
"""

from __future__ import annotations

import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.settings.cluster import NODE

if TYPE_CHECKING:
    from proxy.config import Config

FILE: Final = "node-name"
MOST_BYTES: Final = 256
_HOST_CHARACTERS: Final = 40


def node_name(config: Config) -> str:
    """Return the name of this node; one that is made up is written down in HKPGUARD_STATE_DIR, if that is possible."""
    if config.cluster.node:
        return config.cluster.node
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:_HOST_CHARACTERS].strip(".-") or "node"
    path = Path(config.state_dir) / FILE
    try:
        kept = path.read_bytes()[:MOST_BYTES].decode("ascii", "replace").strip()
    except OSError:
        kept = ""
    if NODE.fullmatch(kept) and kept.rpartition("-")[0] == host:
        return kept
    name = f"{host}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(f"{name}\n", encoding="ascii")
    except OSError:
        pass  # another name after the next start: the others see that this one has left
    return name
