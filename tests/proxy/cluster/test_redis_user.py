"""The Redis user of docs/cluster.md may do what the code does, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
OF_LINK = {"ping", "eval", "evalsha", "subscribe"}  # which redis-py says for us
USED = re.compile(r"""redis\.p?call\(\s*['"](\w+)|Command\(\s*"([A-Z]+)"|\.call\(\s*"([A-Z]+)\"""")


def test_user_of_the_documentation() -> None:
    """Each command of a script or pipeline in proxy/cluster is in the line, and no other is."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "proxy" / "cluster").rglob("*.py"))
    used = {name.lower() for names in USED.findall(text) for name in names if name}
    document = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^user hkpguard .* -@all (.*)$", document, re.MULTILINE)
    assert set(line.split()) == {f"+{name}" for name in used | OF_LINK}
