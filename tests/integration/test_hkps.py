"""Gpg over hkps. dirmngr wants a host name for that, so it gets one in an /etc/hosts that nobody else sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from proxy.demo import demo_fingerprints
from tests.integration.authority import Authority
from tests.integration.gnupg import gnupg
from tests.integration.programs import LOOPBACK, free_port, run

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard
    from tests.integration.gnupg import Gpg
    from tests.integration.guard import Guard


NAME = "keys.test"  # RFC 6761: nobody has it
FINGERPRINTS = demo_fingerprints()[:3]
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
ONLY_1_2 = "disabled-version = tls1.3\n"
TLS_1_3 = "Negotiated version: 3.4"  # as GnuTLS counts


class Site(NamedTuple):
    """A guard in front of the demo keyserver that has a certificate for NAME."""

    guard: Guard
    authority: Authority
    url: str

    def gpg(self, folder: Path, overrides: str) -> AbstractContextManager[Gpg]:
        """Give a gpg for which NAME is this machine; `overrides`: of what GnuTLS does."""
        hosts, priorities = folder / "hosts", folder / "priorities"
        hosts.write_text(f"{LOOPBACK} localhost {NAME}\n")
        priorities.write_text(f"[overrides]\n{overrides}")
        environ = ("env", f"GNUTLS_SYSTEM_PRIORITY_FILE={priorities}")
        mount = ("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts))
        return gnupg(self.url, (*environ, *NAMESPACE, *mount))


@pytest.fixture
def site(need: Need, start_guard: StartGuard, tmp_path: Path) -> Site:
    """Return it; the test is skipped where nobody may make namespaces, as in most containers."""
    need("gpg", "dirmngr", "unshare", "mount")
    if refused := run(*NAMESPACE, "true").stderr:
        pytest.skip(f"This test needs a mount namespace: {refused.strip()}")
    authority = Authority.make(need("openssl"), tmp_path)
    authority.issue(1, NAME)
    plain, tls = free_port(), free_port()
    guard = start_guard(
        LISTEN=f"{LOOPBACK}:{plain},https://{LOOPBACK}:{tls}",
        TLS_CERT=str(authority.folder / "node.pem"),
        TLS_KEY=str(authority.folder / "node.key"),
    )
    return Site(guard, authority, f"hkps://{NAME}:{tls}")


@pytest.mark.parametrize(("overrides", "newest"), [("", True), (ONLY_1_2, False)], ids=["TLS 1.3", "TLS 1.2"])
def test_gpg_receives_and_refreshes(site: Site, tmp_path: Path, overrides: str, *, newest: bool) -> None:
    """Over both versions of TLS, with the certificate verified for the name; each key is a connection."""
    with site.gpg(tmp_path, overrides) as gpg:
        log = gpg.home / "log"
        options = (f"hkp-cacert {site.authority.cert}", f"log-file {log}", "tls-debug 4")
        (gpg.home / "dirmngr.conf").write_text("\n".join([*options, ""]))
        assert f"imported: {len(FINGERPRINTS)}" in gpg.done("--recv-keys", *FINGERPRINTS)
        assert f"unchanged: {len(FINGERPRINTS)}" in gpg.done("--refresh-keys")
        assert (TLS_1_3 in log.read_text(errors="replace")) == newest
    site.guard.await_metric('responses_total{code="200"}', 2 * len(FINGERPRINTS))


def test_gpg_believes_no_stranger(site: Site, tmp_path: Path) -> None:
    """Without the authority it gets nothing: so the test above does verify."""
    with site.gpg(tmp_path, "") as gpg:
        assert "keyserver receive failed" in gpg("--recv-keys", *FINGERPRINTS).err
    assert site.guard.metric('responses_total{code="200"}') == 0
