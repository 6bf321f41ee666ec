"""Groups of settings, and the list of the settings in a group: what stands where, and how it is written."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from proxy.settings.kinds import AnyKind, Kind
from proxy.settings.sources import SettingPath, variable


class Section(BaseModel):
    """A group of settings: immutable, keyword-only, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Key(NamedTuple):
    """One setting: where users find it, where it stands in the model, how it is written."""

    path: SettingPath  # ("limits", "cert", "period")
    attributes: tuple[str, ...]  # ("limits", "cert", "period_ns")
    kind: AnyKind

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable(self.path)

    def value(self, section: Section) -> Any:  # noqa: ANN401 - as many types as there are settings
        """Return the value in a section that the key was listed for."""
        value: Any = section
        for attribute in self.attributes:
            value = getattr(value, attribute)
        return value

    def text(self, section: Section) -> str:
        """Return the value as users write it."""
        return self.kind.render(self.value(section))


def keys(section: type[Section], besides: tuple[str, ...] = ()) -> Iterator[Key]:
    """List every setting of a section and of the sections in it, in the order of the fields, but not `besides`."""
    for name, field in section.model_fields.items():
        word = field.alias or name
        if name in besides:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner = keys(field.annotation)
            yield from (Key((word, *key.path), (name, *key.attributes), key.kind) for key in inner)
        else:
            yield Key((word,), (name,), next(item for item in field.metadata if isinstance(item, Kind)))
