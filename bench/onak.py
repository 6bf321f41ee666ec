"""onak with a database of its own. It is a set of CGI programs, so somebody else has to be the web server."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

CGI_FOLDER = Path("/usr/lib/cgi-bin/pks")
CGI_SECONDS = 30.0
ADD_SECONDS = 60.0  # nine hundred certificates of Debian's take one
PROGRAMS = ("lookup", "add")
_INI = """\
[main]
backend=keys
backends_dir={backends}
logfile={folder}/onak.log
loglevel=3
use_keyd=false
sock_dir={folder}
max_reply_keys=128

[verification]
check_sighash=true
drop_v3=true

[backend:keys]
type=db4
location={folder}/db
"""


class Page(NamedTuple):
    """What a CGI program answers; its status is always 200."""

    kind: str
    body: bytes


class Onak:
    """onak as installed by Debian.

    The installed programs are set-uid to a user who cannot read our folder; copies of them run as we do.
    """

    def __init__(self, folder: Path, program: str = "onak") -> None:
        """Configure it in `folder`; `program` is the one for the command line."""
        self._program = program
        self._folder = folder
        (folder / "db").mkdir(exist_ok=True)
        for name in PROGRAMS:
            shutil.copyfile(CGI_FOLDER / name, folder / name)
            (folder / name).chmod(0o700)
        backends = next(Path("/usr/lib").glob("*/onak/backends"))
        (folder / "onak.ini").write_text(_INI.format(folder=folder, backends=backends))
        self._environ = {"XDG_CONFIG_HOME": str(folder)}

    def add(self, certificates: bytes) -> None:
        """Store certificates (binary)."""
        command = (self._program, "-b", "add")
        subprocess.run(
            command, input=certificates, env=self._environ, check=True, capture_output=True, timeout=ADD_SECONDS
        )

    def page(self, name: str, request: Mapping[str, str], body: bytes = b"") -> Page:
        """Run the CGI program of that name; `request` has what RFC 3875 puts into the environment."""
        done = subprocess.run(
            [self._folder / name],
            env={**self._environ, **request, "CONTENT_LENGTH": str(len(body))},
            input=body,
            check=True,
            capture_output=True,
            timeout=CGI_SECONDS,
        )
        head, _, content = done.stdout.partition(b"\n\n")
        return Page(head.decode().removeprefix("Content-Type: ").partition(";")[0].strip(), content)
