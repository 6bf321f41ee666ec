"""What clients ask, from where, and what the upstream answers: thousands of fingerprints, one made-up certificate."""

import random

COUNT = 20_000  # distinct fingerprints: no cache of heads or keys can flatter anybody
BUSY, CALM = 20, 1000  # clients of a crowd
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


def keepalive_heads(*, crowd: bool = False) -> list[bytes]:
    """Return one HTTP/1.1 request head for each target, of a `crowd` in the name of many clients."""
    fields = "Host: keys.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    return [
        f"GET {path} HTTP/1.1\r\n{fields}{_forwarded_for(number) if crowd else ''}\r\n".encode()
        for number, path in enumerate(paths())
    ]


def _forwarded_for(number: int) -> str:
    """Each tenth request is of a busy client, the others are of calm ones."""
    client = number // 10 % BUSY if number % 10 == 0 else BUSY + number % CALM
    return f"X-Forwarded-For: {source(client)}\r\n"


def dirmngr_heads() -> list[bytes]:
    """Return one head for each target, exactly what dirmngr 2.2 sends."""
    fields = "Host: keys.example.org\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
    return [f"GET {path} HTTP/1.0\r\n{fields}".encode() for path in paths()]


def source(number: int) -> str:
    """Return loopback address `number` (0..49,999) of clients, each in a /24 of its own: caps do not add them up."""
    return f"127.{16 + number % 200}.{number // 200}.7"
