"""Traps: what no client of a keyserver asks for, so that asking is evidence. They are never advertised.

Paths are those that scanners try on any web server. Canaries are certificates or identities that the operator has
made up, and put where only harvesters read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.hkp.classes import OperationClass
from proxy.hkp.terms import read_term

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.settings.abuse import TrapsConfig

# Each is itself, and all that begins with it. None begins like a path of a keyserver, or of the pages around one.
TRAP_PATHS = (
    "/.aws", "/.env", "/.git", "/.htaccess", "/.htpasswd", "/.ssh", "/.svn", "/.vscode", "/actuator", "/boaform",
    "/cgi-bin", "/druid", "/geoserver", "/hnap1", "/jenkins", "/manager/html",
    "/mysql", "/owa", "/phpinfo", "/phpmyadmin", "/phpunit", "/server-status", "/setup.cgi", "/shell", "/solr",
    "/vendor/phpunit", "/wls-wsat", "/wp-admin", "/wp-content", "/wp-includes", "/wp-json", "/wp-login", "/xmlrpc.php",
)  # fmt: skip
FINGERPRINT_DIGITS_V4 = 40
FINGERPRINT_DIGITS_V6 = 64
KEY_ID_DIGITS = 16


def trap_prefixes(traps: TrapsConfig) -> tuple[str, ...]:
    """Return the beginnings of paths that are traps; none if traps are off."""
    if traps.mode == "off":
        return ()
    return TRAP_PATHS if traps.paths is None else traps.paths


def is_trap(path: str, prefixes: tuple[str, ...]) -> bool:
    """Tell whether a decoded path begins with one of `prefixes`, which are in lower case; the case does not matter."""
    return path.lower().startswith(prefixes)


def canary_subjects(searches: Iterable[str]) -> frozenset[str]:
    """Return the subjects under which searches for the operator's canaries come; a fingerprint's key id too."""
    terms = [read_term(search) for search in searches]
    key_ids = {_key_id(term.subject) for term in terms if term.kind is OperationClass.CERT}
    return frozenset(({term.subject for term in terms} | key_ids) - {""})


def _key_id(digits: str) -> str:
    """Return the key id within a fingerprint (RFC 9580 section 5.5.4); other digits as they are."""
    if len(digits) == FINGERPRINT_DIGITS_V4:
        return digits[-KEY_ID_DIGITS:]
    return digits[:KEY_ID_DIGITS] if len(digits) == FINGERPRINT_DIGITS_V6 else digits
