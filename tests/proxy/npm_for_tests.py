"""An npm that packs what a test gives it, instead of fetching."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "@example/places-mmdb"
NPM = """#!{python}
import pathlib, shutil, sys
archive = pathlib.Path({archive!r})
pathlib.Path({asked!r}).write_text("\\n".join(sys.argv[1:]))
if not archive.exists():
    sys.exit("npm error 404 Not Found\\n\\n\\nnpm error a log")
folder = next(each.partition("=")[2] for each in sys.argv if each.startswith("--pack-destination="))
shutil.copy(archive, pathlib.Path(folder, "example-places.tgz"))
"""


class Npm:
    """A folder for PATH with a command `npm`, and the package that it brings."""

    def __init__(self, folder: Path) -> None:
        """Put the command there; there is no package yet."""
        folder.mkdir()
        self.folder = folder
        self._archive, self._asked = folder / "package.tgz", folder / "asked"
        command = folder / "npm"
        source = NPM.format(python=sys.executable, archive=str(self._archive), asked=str(self._asked))
        command.write_text(source, encoding="utf-8")
        command.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """The arguments of the last call."""
        return self._asked.read_text(encoding="utf-8").splitlines() if self._asked.exists() else []

    def brings(self, files: dict[str, bytes], **about: Any) -> None:
        """Let it bring a package with these files, and with what stands in package.json besides the usual."""
        said = {"name": PACKAGE, "version": "1.2.3", "license": "CC0-1.0", **about}
        with tarfile.open(self._archive, "w:gz") as archive:
            for name, content in {"package/package.json": json.dumps(said).encode(), **files}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

    def brings_archive(self, octets: bytes) -> None:
        """Let it bring something else."""
        self._archive.write_bytes(octets)
