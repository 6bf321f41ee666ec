"""Which model is in use: the operator's own if there is a good one, else the one that is shipped.

A file that is not what it should be is told of, and whatever was good before goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from models.manifest import MANIFEST_ENDING, MODEL_ENDING, BadModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Model = TypeVar("Model")
Stamp = tuple[int, int, int]


class Shelf(Generic[Model]):
    """One model, from the first of several folders that has a good one.

    Attributes:
        problem: What is wrong with a model that would be used otherwise; empty if nothing is.

    """

    def __init__(self, name: str, folders: Sequence[Path], opened: Callable[[Path], Model]) -> None:
        """Look into the folders.

        Args:
            name: Of the model and its file.
            folders: The dearest first.
            opened: Loads a model, or raises BadModel.

        Raises:
            BadModel: No folder has a good one.

        """
        self.problem = ""
        self._paths = [folder / (name + MODEL_ENDING) for folder in folders]
        self._opened = opened
        self._stamps: list[Stamp | None] = []
        self._model: Model | None = None
        self.refresh()
        if self._model is None:
            raise BadModel(self.problem or f"no {name} in {', '.join(map(str, folders))}")

    @property
    def model(self) -> Model:
        """The last good one."""
        assert self._model is not None  # noqa: S101 - else it was not made
        return self._model

    def refresh(self) -> bool:
        """Look again, if a file has changed; return whether there is another model now."""
        stamps = [_stamp(path) for path in self._paths]
        if stamps == self._stamps:
            return False
        self._stamps, self.problem = stamps, ""
        for path, stamp in zip(self._paths, stamps, strict=True):
            if stamp is None:
                continue
            try:
                self._model = self._opened(path)
            except BadModel as error:
                self.problem = self.problem or str(error)
                if self._model is not None:
                    return False
            else:
                return True
        return False


def _stamp(path: Path) -> Stamp | None:
    """Return what changes with a model or its manifest; None if there is no model."""
    try:
        model, manifest = path.stat(), path.with_suffix(MANIFEST_ENDING).stat()
    except FileNotFoundError:
        return None if not path.exists() else (0, 0, 0)
    except OSError:
        return (0, 0, 0)
    return model.st_mtime_ns, manifest.st_mtime_ns, model.st_size
