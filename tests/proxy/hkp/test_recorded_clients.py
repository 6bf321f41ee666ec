"""The requests of unmodified clients: gpg 2.2.40, sq 0.27 and curl as recorded, others from their sources."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.hkp.operation import Classifier, ClassifierOptions
from proxy.hkp.operation import OperationClass as Kind

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "dev.tar.xz"
FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
CLASSES = {
    "gpg2.2 search-keys email": Kind.IDENTITY,
    "gpg2.2 locate-keys keyserver": Kind.IDENTITY,
    "sq keyserver get email": Kind.IDENTITY,
    "gpg2.2 send-keys": Kind.UPLOAD,
    "sq keyserver send": Kind.UPLOAD,
    "curl": Kind.WORDS,
}

classify = Classifier(ClassifierOptions())


def recorded_requests() -> Iterator[tuple[str, str, str]]:
    """Yield (what the client was told to do, method, target)."""
    with tarfile.open(RECORDED) as archive:
        for name in ("trace.jsonl", "trace_sq.jsonl"):
            member = archive.extractfile(f"./hkp_clients/{name}")
            assert member is not None
            mark = ""
            for line in member:
                entry = json.loads(line)
                mark = entry.get("mark", mark)
                if "head" in entry:
                    method, target, _version = entry["head"].partition("\r\n")[0].split(" ")
                    yield mark, method, target


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded requests (../shared/data/dev.tar.xz) are not here")
def test_recorded_requests() -> None:
    """Every recorded request is served, as what its client wanted; gets are forwarded byte for byte."""
    requests = list(recorded_requests())
    assert len(requests) > 25
    for mark, method, target in requests:
        operation = classify(method, target)
        assert operation.refusal == 0
        assert operation.kind is CLASSES.get(mark, Kind.CERT)
        if operation.kind is Kind.CERT:
            assert operation.target == target.encode()


@pytest.mark.parametrize(
    ("client", "method", "target", "kind", "subject"),
    [
        ("dirmngr get", "GET", f"/pks/lookup?op=get&options=mr&search=0x{FPR}&exact=on", Kind.CERT, FPR),
        (
            "dirmngr search",
            "GET",
            "/pks/lookup?op=index&options=mr&fingerprint=on&search=a%40example%2Eorg",
            Kind.IDENTITY,
            "a@example.org",
        ),
        ("thunderbird get", "GET", f"/pks/lookup?search=0x{FPR}&op=get&options=mr", Kind.CERT, FPR),
        ("thunderbird vks", "GET", f"/vks/v1/by-fingerprint/{FPR}", Kind.CERT, FPR),
        ("thunderbird vks upload", "POST", "/vks/v1/upload", Kind.UPLOAD, ""),
        ("thunderbird vks mail", "POST", "/vks/v1/request-verify", Kind.MAIL, ""),
        ("openkeychain", "GET", "/pks/lookup?op=index&options=mr&search=alice%20l", Kind.WORDS, "alice l"),
        ("mailvelope", "GET", "/vks/v1/by-email/a%40example.org", Kind.IDENTITY, "a@example.org"),
        (
            "add-apt-repository",
            "GET",
            f"/pks/lookup?op=get&options=mr&exact=on&search=0x{FPR}",
            Kind.CERT,
            FPR,
        ),
        ("hockeypuck peer", "POST", "/pks/hashquery", Kind.SYNC, ""),
        ("hockeypuck pks push", "POST", "/pks/add", Kind.UPLOAD, ""),
        ("spider", "GET", "/pks/lookup?op=stats&options=mr", Kind.STATS, ""),
        ("haproxy check", "HEAD", "/pks/health", Kind.STATIC, ""),
        ("browser form", "GET", "/pks/lookup?search=Alice+L&fingerprint=on&op=vindex", Kind.WORDS, "alice l"),
        ("wkd", "GET", "/.well-known/openpgpkey/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe",
         Kind.IDENTITY, "iy9q119eutrkn8s1mk4r39qejnbu3n5q"),
    ],
)  # fmt: skip
def test_clients(client: str, method: str, target: str, kind: Kind, subject: str) -> None:
    """Every client that keyservers see is served and classified as what it does."""
    operation = classify(method, target)
    assert (operation.kind, operation.subject, operation.refusal) == (kind, subject, 0), client
