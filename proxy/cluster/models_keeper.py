"""The models of the cluster, on this node: a folder that is looked at before the node's own and the shipped ones.

    HKPGUARD_STATE_DIR/cluster/models-HASH/     the files
    HKPGUARD_STATE_DIR/cluster/models-in-use    a link to the one that is in force: all models change in one moment

Those who score look for new files each minute (`models.shelf`), and go on with the last good ones whatever happens
here. They are tried by `hkpguard models verify` in a process of its own, for that loads onnxruntime.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.manifest import MODEL_ENDING
from proxy.cluster.follower import Opinion
from proxy.cluster.model_pack import unpacked
from proxy.model_places import FOLDER, LINK
from proxy.plugins.instance import child_environment
from proxy.settings.sources import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from proxy.cluster.kept import Kept, KeptRelease
    from proxy.cluster.release import KindName

VERIFY_SECONDS: Final = 30.0
MOST_SAID: Final = 2000
_HASH_DIGITS: Final = 16


class ModelsKeeper:
    """See `follower.Keeper`."""

    kind: KindName = "models"
    patience_ms = 45_000

    def __init__(self, place: KeptRelease) -> None:
        """Keep models in `place`, and files beside it."""
        self._place = place
        self._good = b""  # what was tried last: those who agree use it soon after

    def kept(self) -> Kept | None:
        """See `follower.Keeper`; none if its files are gone."""
        kept = self._place.read()
        linked = self._place.folder / LINK
        there = linked.is_dir() if kept and kept.data else not linked.is_symlink()
        return kept if there else None

    async def opinion(self, data: bytes) -> Opinion:
        """See `follower.Keeper`."""
        if data in {b"", self._good}:
            return Opinion()
        try:
            files = unpacked(data)
            with self._folder("trial-") as scratch:
                opinion = await _verified(files, scratch)
        except ValueError as error:
            return Opinion(f"they are no models: {error}")
        except OSError as error:
            return Opinion(f"they cannot be tried in HKPGUARD_STATE_DIR: {error.strerror}")
        if not opinion.faults:
            self._good = data
        return opinion

    @contextmanager
    def _folder(self, prefix: str) -> Iterator[Path]:
        """Give a folder that is gone afterwards."""
        self._place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self._place.folder) as scratch:
            yield Path(scratch).absolute()

    async def use(self, kept: Kept) -> str:
        """See `follower.Keeper`."""
        if faults := (await self.opinion(kept.data)).faults:
            return faults
        try:
            self._put(kept)
            self._place.write(kept)
        except (OSError, ValueError) as error:
            return f"they cannot be kept in HKPGUARD_STATE_DIR: {error}"
        return ""

    def _put(self, kept: Kept) -> None:
        """Write the files, and let the link point there; what it pointed to before goes."""
        link = self._place.folder / LINK
        name = f"{FOLDER}-{kept.release.content[:_HASH_DIGITS]}"
        if kept.data:
            with self._folder("part-") as part:
                _write(unpacked(kept.data), part / FOLDER)
                shutil.rmtree(self._place.folder / name, ignore_errors=True)
                (part / FOLDER).rename(self._place.folder / name)
            fresh = link.with_name(f"{LINK}.part")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(name)
            fresh.replace(link)
        else:
            link.unlink(missing_ok=True)
        for old in self._place.folder.glob(f"{FOLDER}-*"):
            if old.name != LINK and (not kept.data or old.name != name):
                shutil.rmtree(old, ignore_errors=True)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name, data in files.items():
        (folder / name).write_bytes(data)


async def _verified(files: Mapping[str, bytes], scratch: Path) -> Opinion:
    """Have files loaded as the guard would; each model must be said to be good."""
    folder = scratch / FOLDER
    _write(files, folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "proxy", "models", "verify"),
        env=child_environment() | {f"{PREFIX}STATE_DIR": str(scratch)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        return Opinion(f"they could not be verified within {VERIFY_SECONDS:.0f} s")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    good = set(out.decode(errors="replace").splitlines())
    bad = [name for name in files if name.endswith(MODEL_ENDING) and f"{folder / name}: good" not in good]
    if not bad:
        return Opinion()
    said = err.decode(errors="replace")[-MOST_SAID:].replace(f"{folder}/", "").strip()
    return Opinion(said or f"no model is called {bad[0].removesuffix(MODEL_ENDING)}")
