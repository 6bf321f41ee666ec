"""Plugins of others, as they look when they are installed: a module, and a .dist-info with an entry point."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
from proxy.plugins.contract import Plugin
from proxy.plugins.events import PluginSaid
from proxy.policy.fusion import Evidence
"""
# Finds each client that it sees, so that a test sees it look.
LOOKING = """
class Looking(Plugin):
    name = "{name}"
    version = "1.0"

    def set_up(self, host):
        self.host = host

    def detectors(self):
        return [self]

    def look(self, block, now_ns):
        return [
            Evidence(int(each["client"]), "seen", 1.0, f"subject {{bytes(each['subject'])[:4]}}", now_ns + 10**9)
            for each in block
        ]
"""


def install(folder: Path, name: str, code: str, *, version: str = "1.0", kind: str = "Looking") -> None:
    """Put a package with one plugin into a folder of packages."""
    module = name.replace("-", "_") + "_plugin"
    (folder / f"{module}.py").write_text(HEAD + dedent(code), encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[hkpguard.plugins]\n{name} = {module}:{kind}\n", encoding="utf-8")
