"""Settings of the event bus: what is remembered, who may listen, what is logged, and the webhook."""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from proxy.settings.kinds import MILLISECOND, MINUTE, SECOND, Duration, Kind, ListOf, OrEmpty, Spelled, Switch, Whole
from proxy.settings.section import Section

# Which events: of one kind, of a family, or all.
PATTERN: Final = re.compile(r"\*|[a-z]+\.\*|[a-z]+\.[a-z_]+")
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - not a secret itself
FEWEST_KEY_BYTES, MOST_KEY_BYTES = 24, 64  # Standard Webhooks


@dataclass(frozen=True, slots=True)
class WebUrl(Kind[str]):
    """Where to send something over HTTP."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return "a URL with http:// or https://, a host and no password"

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        try:
            parts = urlsplit(text)
            fits = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None and parts.port != 0
        except ValueError:
            fits = False
        if not fits or not text.isascii() or not text.isprintable() or " " in text or "#" in text:
            raise self.refusal()
        return text


@dataclass(frozen=True, slots=True)
class SigningKey(Kind[str]):
    """The key of a webhook, as Standard Webhooks writes it."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"{SECRET_PREFIX} and the base64 of {FEWEST_KEY_BYTES} to {MOST_KEY_BYTES} bytes"

    @property
    def secret(self) -> bool:
        """See `Kind`."""
        return True

    def parse(self, given: object) -> str:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        if not text.startswith(SECRET_PREFIX) or not FEWEST_KEY_BYTES <= len(key_bytes(text)) <= MOST_KEY_BYTES:
            raise self.refusal()
        return text


def key_bytes(secret: str) -> bytes:
    """Return the key that the text of a `SigningKey` holds; nothing if it is not base64."""
    try:
        return b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (BadBase64, ValueError):
        return b""


Patterns = Annotated[tuple[str, ...], ListOf(Spelled(PATTERN, "a kind of event such as ban.placed, ban.* or *"))]


class WebhookConfig(Section):
    """Where events are sent, signed."""

    url: Annotated[str | None, OrEmpty(WebUrl())] = None
    secret: Annotated[str | None, OrEmpty(SigningKey())] = None
    kinds: Patterns = ("*",)
    addresses: Annotated[bool, Switch()] = False  # of clients: personal data
    insecure: Annotated[bool, Switch()] = False  # http:// to other machines
    timeout_ns: Annotated[int, Duration(100 * MILLISECOND, MINUTE)] = Field(default=5 * SECOND, alias="timeout")
    tries: Annotated[int, Whole(1, 10)] = 5  # of one event
    queue: Annotated[int, Whole(16, 65_536)] = 1024  # events that wait; the oldest go first


class EventsConfig(Section):
    """What is told of what happens."""

    replay: Annotated[int, Whole(0, 10_000)] = 256  # events that a listener who comes back can still have
    listeners: Annotated[int, Whole(0, 256)] = 16  # of /api/v1/events at a time
    log: Patterns = ("plugin.*", "upstream.*")  # budgets and bans say more of themselves
    webhook: WebhookConfig = WebhookConfig()
