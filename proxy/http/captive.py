"""What the operator is told of a client that goes to the tarpit: what it asked for, and with which tool."""

import re

from proxy.http.head import RequestHead

PATH_CHARS = 31  # together with the tab and the tool it fits the subject of a record
TOOL_CHARS = 32
_USER_AGENT = re.compile(rb"\r\nuser-agent:[ \t]*([^\r]*)", re.IGNORECASE)


def evidence(head: RequestHead) -> str:
    """Return `path TAB tool`, both cut; whoever shows it must reckon with any visible character."""
    found = _USER_AGENT.search(b"\r\n" + head.block)
    tool = found[1].decode("latin-1") if found else ""
    return f"{head.target[:PATH_CHARS]}\t{tool[:TOOL_CHARS]}"
