"""Where the store is: the URL of a Redis server, of a service that Sentinels watch, or of a Redis Cluster.

    redis://[user[:password]@]host[:port][/database]          rediss:// is the same over TLS
    unix://[user[:password]@]/path/to/socket
    redis+sentinel://[user[:password]@]host[:port],host[:port]/service[/database]        rediss+sentinel://
    redis+cluster://[user[:password]@]host[:port],host[:port]                            rediss+cluster://

User and password are percent-encoded. Those of a Sentinel URL are the server's, not the Sentinels'.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote

from proxy.settings.addresses import HOST_PORT, Address, HostPort
from proxy.settings.kinds import Kind

Form = Literal["single", "unix", "sentinel", "cluster"]
DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26_379
MOST_HOSTS: Final = 32
LONGEST_URL: Final = 2048
_SCHEMES: Final[dict[str, tuple[Form, bool]]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_DATABASE: Final = re.compile(r"(0|[1-9][0-9]{0,3})?")
_SERVICE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ESCAPED: Final = re.compile(r"([!$&-.0-9;=A-Z_a-z~]|%[0-9A-Fa-f]{2})*")  # what RFC 3986 allows in a user or password


class StoreUrl(NamedTuple):
    """A URL, taken apart."""

    form: Form
    hosts: tuple[Address, ...] = ()  # none: a socket of this machine
    tls: bool = False
    user: str | None = None
    password: str | None = None
    path: str = ""  # of the socket
    service: str = ""  # that Sentinels watch
    database: int = 0

    def __str__(self) -> str:
        """Return the URL, with the password."""
        scheme = next(scheme for scheme, what in _SCHEMES.items() if what == (self.form, self.tls))
        parts = [self.path or ",".join(map(str, self.hosts)), self.service, str(self.database or "")]
        return f"{scheme}://{self._owner()}{'/'.join(filter(None, parts))}"

    def _owner(self) -> str:
        if self.user is None and self.password is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.user or '', safe='')}{password}@"


@dataclass(frozen=True, slots=True)
class StoreAt(Kind[StoreUrl]):
    """The URL of a store."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return (
            "redis://host:port/database, unix:///path, redis+sentinel://host:port,host:port/service or "
            "redis+cluster://host:port,host:port, maybe with user:password@ before the host; rediss:// is over TLS"
        )

    def parse(self, given: object) -> StoreUrl:
        """See `Kind`: nothing would use a query or a fragment."""
        text = given.strip() if isinstance(given, str) else ""
        scheme, _, rest = text.partition("://")
        if len(text) > LONGEST_URL or not text.isascii() or not text.isprintable() or scheme.lower() not in _SCHEMES:
            raise self.refusal()
        form, tls = _SCHEMES[scheme.lower()]
        owner, at, place = rest.rpartition("@")
        user, colon, password = owner.partition(":")
        url = self._place(form, place)
        if url is None or not _ESCAPED.fullmatch(user) or not _ESCAPED.fullmatch(password):
            raise self.refusal()
        # redis://:password@host is what many write for the user `default`.
        return url._replace(
            tls=tls,
            user=(unquote(user) or None) if at else None,
            password=unquote(password) if colon else None,
        )

    def _place(self, form: Form, place: str) -> StoreUrl | None:
        if form == "unix":
            return StoreUrl(form, path=place) if place.startswith("/") and not set(place) & set("?# ") else None
        where, *more = place.removesuffix("/").split("/")
        service = more.pop(0) if form == "sentinel" and more else ""
        database = more.pop(0) if form != "cluster" and more else ""
        hosts = tuple(_hosts(where, SENTINEL_PORT if form == "sentinel" else DEFAULT_PORT))
        several = form != "single"
        fits = (
            not more
            and 1 <= len(hosts) <= (MOST_HOSTS if several else 1)
            and None not in hosts
            and _DATABASE.fullmatch(database)
            and bool(_SERVICE.fullmatch(service)) == (form == "sentinel")
        )
        if not fits:
            return None
        return StoreUrl(form, tuple(filter(None, hosts)), service=service, database=int(database or 0))


def _hosts(text: str, port: int) -> Iterator[Address | None]:
    """Yield the addresses in a list; None for what is none."""
    for item in text.split(","):
        bare = item.endswith("]") if item.startswith("[") else ":" not in item
        given = f"{item}:{port}" if bare else item
        try:
            yield HostPort(lowest_port=1).parse(given) if HOST_PORT.fullmatch(given) else None
        except ValueError:
            yield None
