"""Asks the admin API of a running instance; for the command line."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxy.config import Config

TIMEOUT_SECONDS: Final = 5.0


class AdminError(Exception):
    """The instance refused, or there is none; the text says so."""


def ask(
    config: Config, method: str, path: str, body: dict[str, Any] | None = None, *, seconds: float = TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Return the answer of the instance at HKPGUARD_ADMIN, which the token goes to, but to no proxy on the way.

    Raises:
        AdminError: No success, or no answer.

    """
    request = urllib.request.Request(f"http://{config.admin}{path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if config.admin_token is not None:
        request.add_header("Authorization", f"Bearer {config.admin_token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as reply:
            answer: dict[str, Any] = json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            raise AdminError(_reason(error, config)) from None
    except urllib.error.URLError as error:
        raise AdminError(f"no guard answers at {config.admin} (HKPGUARD_ADMIN): {error.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminError(f"no guard answers at {config.admin} (HKPGUARD_ADMIN): {error}") from None
    return answer


def _reason(error: urllib.error.HTTPError, config: Config) -> str:
    """Return what an error says of itself, in words if it is one of ours; else it is another program's."""
    try:
        answer = json.load(error)
        return str(answer.get("detail") or answer["title"])
    except (OSError, ValueError, KeyError, AttributeError):
        return f"what answers at {config.admin} (HKPGUARD_ADMIN) is no guard: {error.code} {error.reason}"
