"""What the operator is told of a client that goes to the tarpit, and who never goes there."""

import re

from proxy.http.head import RequestHead

PATH_CHARS = 31  # together with the tab and the tool it fits the subject of a record
TOOL_CHARS = 32
_USER_AGENT = re.compile(rb"\r\nuser-agent:[ \t]*([^\r]*)", re.IGNORECASE)
_BROWSER = re.compile(rb"\r\n(?:accept-language|sec-fetch-[a-z]+):", re.IGNORECASE)


def evidence(head: RequestHead) -> str:
    """Return `path TAB tool`, both cut; the tool may hold anything that a field of a head may."""
    found = _USER_AGENT.search(b"\r\n" + head.block)
    tool = found[1].decode("latin-1") if found else ""
    return f"{head.target[:PATH_CHARS]}\t{tool[:TOOL_CHARS]}"


def by_browser(head: RequestHead) -> bool:
    """Tell whether a browser sent it, or somebody who says so.

    What a browser asks for, some page may have told it to, behind its user's back: that proves nothing against the
    user. Browsers always name a language, scanners and scripts hardly ever.
    """
    return _BROWSER.search(b"\r\n" + head.block) is not None
