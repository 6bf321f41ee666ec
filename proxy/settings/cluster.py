"""Settings of the cluster: how guards of one keyserver know each other, and what they say through Redis."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from proxy.settings.kinds import MILLISECOND, SECOND, Choice, Duration, FilePath, ListOf, OrEmpty, Secret, Spelled
from proxy.settings.section import Section
from proxy.settings.sources import SettingPath

if TYPE_CHECKING:
    from proxy.config import Config

MOST_FILE_BYTES: Final = 4096
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_USER: Final = re.compile(r"[!-~]{1,64}")
SECRET: Final = Secret(shortest=32)  # nobody types it


File = Annotated[str | None, OrEmpty(FilePath())]
Interval = Annotated[int, Duration(10 * MILLISECOND, 5 * SECOND)]


class ClusterConfig(Section):
    """What the nodes of a cluster have in common, and how each reaches the store."""

    secret: Annotated[str | None, OrEmpty(SECRET)] = None  # the same on all nodes
    secret_file: File = None
    prefix: Annotated[str, Spelled(_PREFIX, "1 to 32 of A-Z, a-z, 0-9 and . _ -, the first a letter or digit")] = (
        "hkpguard"
    )
    node: Annotated[
        str | None, OrEmpty(Spelled(NODE, "1 to 64 of A-Z, a-z, 0-9 and . _ -, the first a letter or digit"))
    ] = None  # None: see `proxy.cluster.node_name`
    user: Annotated[str | None, OrEmpty(Spelled(_USER, "1 to 64 visible ASCII characters"))] = None
    password_file: File = None
    sentinel_password_file: File = None
    ca: File = None  # PEM: whose certificates are believed; None: the system's
    cert: File = None  # PEM: of this node
    key: File = None
    least_interval_ns: Interval = Field(default=20 * MILLISECOND, alias="least_interval")
    most_interval_ns: Interval = Field(default=250 * MILLISECOND, alias="most_interval")
    timeout_ns: Annotated[int, Duration(10 * MILLISECOND, SECOND)] = Field(default=100 * MILLISECOND, alias="timeout")
    # Classes of requests that the cluster is asked about before they go on: those that change something.
    strict: Annotated[tuple[str, ...], ListOf(Choice(("upload", "mail", "admin")))] = ()
    strict_deadline_ns: Annotated[int, Duration(5 * MILLISECOND, SECOND)] = Field(
        default=50 * MILLISECOND, alias="strict_deadline"
    )


def read_secret(path: str) -> str:
    """Return what the first line of a file says.

    Raises:
        OSError: It cannot be read.
        ValueError: It has no text, or too much.

    """
    with Path(path).open("rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    text = data.decode("ascii", "replace").strip()
    if not text or len(data) > MOST_FILE_BYTES or not text.isascii() or not text.isprintable():
        raise ValueError("it must have one line of visible ASCII")
    return text


Problem = tuple[tuple[SettingPath, ...], str]


def cluster_problems(config: "Config") -> Iterator[Problem]:
    """Find settings of the cluster that do not fit together."""
    url, cluster = config.redis_url, config.cluster
    if cluster.least_interval_ns > cluster.most_interval_ns:
        yield _of("least_interval", "most_interval"), "must not be above HKPGUARD_CLUSTER__MOST_INTERVAL"
    if cluster.secret and cluster.secret_file:
        yield _of("secret", "secret_file"), "must not be set beside HKPGUARD_CLUSTER__SECRET_FILE"
    if bool(cluster.cert) != bool(cluster.key):
        yield _of("cert", "key"), "must be set together with HKPGUARD_CLUSTER__KEY"
    if url is None:
        return
    if not cluster.secret and not cluster.secret_file:
        problem = "must be set, the same on all nodes, or SECRET_FILE: what they share goes through the store sealed"
        yield (("cluster", "secret"), ("cluster", "secret_file"), ("redis_url",)), problem
    if url.user is not None and cluster.user is not None:
        yield (("cluster", "user"), ("redis_url",)), "must not be set: HKPGUARD_REDIS_URL names a user"
    if url.password is not None and cluster.password_file is not None:
        yield (("cluster", "password_file"), ("redis_url",)), "must not be set: HKPGUARD_REDIS_URL has a password"
    if (url.user or cluster.user) and url.password is None and cluster.password_file is None:
        yield _of("password_file", "user"), "must be set: a user needs a password"
    if (cluster.ca or cluster.cert) and not url.tls:
        yield (("redis_url",), ("cluster", "ca"), ("cluster", "cert")), "must be rediss:// where CA or CERT is set"


def cluster_file_problems(config: "Config") -> Iterator[Problem]:
    """Find files of the cluster that cannot be used."""
    for word in ("secret_file", "password_file", "sentinel_password_file"):
        path = getattr(config.cluster, word)
        try:
            text = read_secret(path) if path else None
        except (OSError, ValueError) as error:
            yield _of(word), f"cannot be used: {error}"
            continue
        if word == "secret_file" and text is not None and not SECRET.holds(text):
            yield _of(word), f"must hold {SECRET.allowed}"
    yield from _certificate_problems(config.cluster)


def _certificate_problems(cluster: ClusterConfig) -> Iterator[Problem]:
    try:
        context = ssl.create_default_context(cafile=cluster.ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        yield _of("ca"), f"cannot be used: {error}"
        return
    if cluster.cert and cluster.key:
        try:
            context.load_cert_chain(cluster.cert, cluster.key, password="")
        except (OSError, ValueError) as error:
            yield _of("cert", "key"), f"cannot be used with HKPGUARD_CLUSTER__KEY: {error}"


def _of(*words: str) -> tuple[SettingPath, ...]:
    return tuple(("cluster", word) for word in words)
