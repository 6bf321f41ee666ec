"""Closed-loop load of new TLS connections with one request each, with `openssl s_time`.

wrk takes up the session of the connection before, as a browser does and gpg does not: a hundredth of its handshakes
are full ones. `s_time -new` resumes nothing (HAProxy counts 0 % of resumed sessions).
"""

import re
import subprocess
from time import monotonic_ns

from bench.load import LoadError, Outcome
from bench.processes import pinned
from bench.targets import BODY_BYTES, dirmngr_heads

AT_ONCE = 8  # each goes on when its answer is there: enough that a proxy never waits for a client
SPARE_S = 15.0
_DONE = re.compile(r"(\d+) connections in \d+ real seconds, (\d+) bytes read per connection")


def drive(port: int, seconds: float, *, core: int | None) -> Outcome:
    """Load `port` for about `seconds`, whole ones, as s_time counts; the outcome has no latencies.

    Raises:
        LoadError: s_time failed, or answers were not certificates.

    """
    start_ns = monotonic_ns()
    clients = [
        subprocess.Popen(pinned(command(port, head, seconds), core), stdout=subprocess.PIPE, text=True)
        for head in dirmngr_heads()[:AT_ONCE]
    ]
    try:
        outputs = [client.communicate(timeout=seconds + SPARE_S)[0] for client in clients]
    except subprocess.TimeoutExpired as error:
        raise LoadError("openssl s_time did not end") from error
    finally:
        for client in clients:
            client.kill()
    return outcome(outputs, (monotonic_ns() - start_ns) // 1000)


def command(port: int, head: bytes, seconds: float) -> list[str]:
    """Return the command that asks as dirmngr; what s_time adds to the target becomes the value of one more field."""
    target = head.decode().removeprefix("GET ").removesuffix("\r\n") + "X-Unused:"
    whole = max(1, round(seconds))
    connect = ["-connect", f"127.0.0.1:{port}", "-new", "-tls1_3"]
    return ["openssl", "s_time", *connect, "-www", target, "-time", str(whole)]


def outcome(outputs: list[str], duration_us: int) -> Outcome:
    """Return the sum of what the processes printed.

    Raises:
        LoadError: one printed no result, or had other answers than certificates.

    """
    found = [_DONE.search(output) for output in outputs]
    results = [(int(each[1]), int(each[2])) for each in found if each]
    if len(results) < len(outputs) or not all(count and size >= BODY_BYTES for count, size in results):
        raise LoadError(f"openssl s_time: {results} (connections, bytes of an answer) from {len(outputs)} processes")
    requests = sum(count for count, _ in results)
    read = sum(count * size for count, size in results)
    return Outcome(requests=requests, refused=0, bytes=read, duration_us=duration_us)
