"""What a worker loads: nothing that only looks at many records at a time needs."""

from __future__ import annotations

import subprocess
import sys


def test_a_worker_goes_without_numpy() -> None:
    """Whatever is imported on the way to the request path does without NumPy and models; the analyst has them."""
    code = "import sys, proxy.worker; print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'models')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
