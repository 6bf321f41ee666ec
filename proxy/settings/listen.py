"""Where clients connect, and what is expected of them there."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl

from proxy.settings.addresses import Address, HostPort
from proxy.settings.kinds import Kind

Scheme = Literal["http", "https", "http+https"]
SCHEMES: Final[tuple[Scheme, ...]] = ("http", "https", "http+https")
OPTIONS: Final = {"proxy_protocol": {"off": False, "require": True}, "direct": {"allow": True, "deny": False}}


class Listen(NamedTuple):
    """One address to listen on.

    Args:
        address: The socket's.
        scheme: `http+https`: the first byte of a connection tells which.
        proxy_protocol: Each connection begins with a PROXY header; None: as HKPGUARD_PROXY_PROTOCOL says.
        direct: Whether clients may connect themselves, or only trusted proxies.

    """

    address: Address
    scheme: Scheme = "http"
    proxy_protocol: bool | None = None
    direct: bool = True

    def __str__(self) -> str:
        """Return it as users write it, without what is usual."""
        scheme = "" if self.scheme == "http" else f"{self.scheme}://"
        values = {"proxy_protocol": self.proxy_protocol, "direct": None if self.direct else False}
        options = [f"{name}={_word(name, value)}" for name, value in values.items() if value is not None]
        return f"{scheme}{self.address}" + ("?" + "&".join(options) if options else "")


@dataclass(frozen=True, slots=True)
class ListenAt(Kind[Listen]):
    """`host:port`, with a scheme before it and options behind it where they are wanted."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return (
            "host:port or [IPv6]:port, port 0 to 65535, maybe with http://, https:// or http+https:// before it and "
            "?proxy_protocol=off, ?proxy_protocol=require or ?direct=deny behind it"
        )

    def parse(self, given: object) -> Listen:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        place, mark, query = text.partition("?")
        scheme = next((each for each in SCHEMES if place.lower().startswith(f"{each}://")), None)
        address = HostPort(f"{scheme}://" if scheme else "").parse(place)
        return Listen(address, scheme or "http", **self._options(query) if mark else {})

    def _options(self, query: str) -> dict[str, bool]:
        options: dict[str, bool] = {}
        for name, word in parse_qsl(query.lower(), keep_blank_values=True):
            value = OPTIONS.get(name, {}).get(word)
            if value is None or name in options:
                raise self.refusal()
            options[name] = value
        if not options:
            raise self.refusal()
        return options


def _word(name: str, value: bool) -> str:  # noqa: FBT001 - a value, not a flag
    return next(word for word, meaning in OPTIONS[name].items() if meaning == value)
