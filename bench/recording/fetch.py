"""A scraper as anybody writes it: `python -m bench.recording.fetch PAUSE_S < URLS`, with the library's own client."""

import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException

PATIENCE_S = 30


def main() -> None:
    """Get one after the other."""
    pause_s = float(sys.argv[1])
    for line in sys.stdin:
        with suppress(OSError, HTTPException), urllib.request.urlopen(line.strip(), timeout=PATIENCE_S) as reply:  # noqa: S310
            reply.read()
        time.sleep(pause_s)


if __name__ == "__main__":
    main()
