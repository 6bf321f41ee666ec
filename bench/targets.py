"""What clients ask and the upstream answers: thousands of made-up fingerprints, one made-up certificate."""

import random

COUNT = 20_000  # distinct fingerprints: no cache of heads or keys can flatter anybody
BODY_BYTES = 2048
BODY_END = b"-----END PGP PUBLIC KEY BLOCK-----\n"

_BODY_START = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
_BODY_LINE = "mDMEZbm9ABYJKwYBBAHaRw8BAQdA0123456789abcdefghijklmnopqrstuvwxyz\n"


def armored_body() -> str:
    """Return BODY_BYTES of text that looks like an armored certificate and says nothing."""
    room = BODY_BYTES - len(_BODY_START) - len(BODY_END) - 1
    lines = (_BODY_LINE * (room // len(_BODY_LINE) + 1))[:room]
    return f"{_BODY_START}{lines}\n{BODY_END.decode()}"


def paths(count: int = COUNT) -> list[str]:
    """Return `count` targets with distinct fingerprints of 40 hex digits; the same ones in each run."""
    source = random.Random(1)  # noqa: S311 - the same draw in every run
    return [f"/pks/lookup?op=get&options=mr&search=0x{source.getrandbits(160):040X}" for _ in range(count)]


def keepalive_heads() -> list[bytes]:
    """Return one HTTP/1.1 request head for each target."""
    return [
        f"GET {path} HTTP/1.1\r\nHost: keys.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()
        for path in paths()
    ]
