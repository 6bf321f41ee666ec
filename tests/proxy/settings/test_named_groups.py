"""Groups of settings whose members users name: what belongs to them, and what it says of whom."""

import pytest

from proxy.settings.named import NamedGroup
from proxy.settings.sources import Fault, Setting, SettingPath

GROUP = NamedGroup(("intel", "feeds"), lambda name, word, value: [f"{name} {word}"] if value == "bad" else [])


@pytest.mark.parametrize(
    ("path", "held"),
    [
        (("intel", "feeds", "tor", "url"), True),
        (("intel", "feeds", "tor"), True),
        (("intel", "feeds"), False),
        (("intel", "deny"), False),
        (("feeds", "intel", "tor"), False),
    ],
)
def test_what_it_holds(path: SettingPath, held: bool) -> None:  # noqa: FBT001 - a row of the table
    """All that stands below the group, and nothing else."""
    assert GROUP.holds(path) is held


def test_members() -> None:
    """A path leads to the member whose name it was made of; a value that is bad is told and left out."""
    path = GROUP.path("our-list", "deep", "word")
    assert path == ("intel", "feeds", "our_list", "deep", "word")
    settings = [Setting(path, 1, "A"), Setting(GROUP.path("our-list", "other"), "bad", "B")]
    assert GROUP.read(settings) == ({"our-list": {"deep__word": 1}}, [Fault("B", "bad", "our-list other")])
