"""Files of names and keys: who may tell us something, or ask for it, and how they show that it is them.

One a line, `name key`; `#` begins a comment. A key is a secret: no text that comes out of here repeats one.
"""

import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.settings.kinds import LONGEST_SECRET, SHORTEST_SECRET

MOST_BYTES: Final = 64 * 1024
MOST_KEYS: Final = 64
_LINE: Final = re.compile(rf"([a-z0-9][a-z0-9._-]{{0,63}})[ \t]+([!-~]{{{SHORTEST_SECRET},{LONGEST_SECRET}}})")


def read_keys(path: str | None) -> dict[str, str]:
    """Return the keys in a file by their names; none if there is no path.

    Raises:
        OSError: It cannot be read.
        ValueError: A line is none, with its number; or there are too many.

    """
    if path is None:
        return {}
    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    keys: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if not match or match[1] in keys or match[2] in keys.values():
            raise ValueError(
                f"line {number} is not a name and a key of {SHORTEST_SECRET} to {LONGEST_SECRET} visible ASCII "
                "characters, both used once"
            )
        keys[match[1]] = match[2]
    if not 0 < len(keys) <= MOST_KEYS:
        raise ValueError(f"there are {len(keys)} keys, not 1 to {MOST_KEYS}")
    return keys


def owner_of(given: str, keys: Mapping[str, str]) -> str | None:
    """Return whose key it is, None if it is nobody's; all are compared, each in constant time."""
    text = given.encode("utf-8", "surrogateescape")
    found = [name for name, key in keys.items() if hmac.compare_digest(text, key.encode())]
    return found[0] if found else None
