"""Every endpoint: what its methods do, what it asks for, how it is spelled."""

import pytest

from proxy.hkp.endpoints import find_route
from proxy.hkp.operation import Classifier, ClassifierOptions
from proxy.hkp.operation import OperationClass as Kind

FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
V6 = "AB" * 32
KEY_ID = "00186602339240CB"
GET = f"/pks/lookup?op=get&options=mr&search=0x{FPR}"

classify = Classifier(ClassifierOptions())


@pytest.mark.parametrize(
    ("method", "target", "kind", "subject", "canonical"),
    [
        ("POST", "/pks/add", Kind.UPLOAD, "", "/pks/add"),
        ("POST", "/PKS/%61dd/?options=mr", Kind.UPLOAD, "", "/pks/add?options=mr"),
        ("POST", "/pks/replace", Kind.ADMIN, "", "/pks/replace"),
        ("POST", "/pks/delete", Kind.ADMIN, "", "/pks/delete"),
        ("POST", "/pks/hashquery", Kind.SYNC, "", "/pks/hashquery"),
        ("GET", "/pks/health", Kind.STATIC, "", "/pks/health"),
        ("HEAD", "/pks/stats", Kind.STATS, "", "/pks/stats"),
        ("POST", "/pks/v2/certs", Kind.UPLOAD, "", "/pks/v2/certs"),
        ("POST", "/pks/v2/sendtoken/", Kind.MAIL, "", "/pks/v2/sendtoken"),
        (
            "GET",
            f"/pks/v2/certs/by-vfingerprint/04{FPR.lower()}",
            Kind.CERT,
            FPR,
            f"/pks/v2/certs/by-vfingerprint/04{FPR}",
        ),
        (
            "GET",
            f"/PKS/v2/Certs/by-vfingerprint/06/{V6.lower()}",
            Kind.CERT,
            V6,
            f"/pks/v2/certs/by-vfingerprint/06/{V6}",
        ),
        ("GET", f"/pks/v2/certs/by-keyid/0x{KEY_ID}", Kind.CERT, KEY_ID, f"/pks/v2/certs/by-keyid/{KEY_ID}"),
        ("GET", "/pks/v2/certs/by-identity/A@b", Kind.IDENTITY, "a@b", "/pks/v2/certs/by-identity/A%40b"),
        ("GET", "/pks/v2/index/Alice", Kind.IDENTITY, "alice", "/pks/v2/index/Alice"),
        ("GET", "/pks/v2/canonical/a@b", Kind.IDENTITY, "a@b", "/pks/v2/canonical/a%40b"),
        ("PUT", "/pks/v2/canonical/a@b", Kind.UPLOAD, "a@b", "/pks/v2/canonical/a%40b"),
        (
            "GET",
            "/pks/v2/prefixlog/2026-05-21",
            Kind.PREFIXLOG,
            "2026-05-21",
            "/pks/v2/prefixlog/2026-05-21",
        ),
        (
            "GET",
            f"/VKS/v1/by-fingerprint/{FPR.lower()}",
            Kind.CERT,
            FPR,
            f"/vks/v1/by-fingerprint/{FPR}",
        ),
        ("GET", f"/vks/v1/by-keyid/{KEY_ID}", Kind.CERT, KEY_ID, f"/vks/v1/by-keyid/{KEY_ID}"),
        ("GET", "/vks/v1/by-email/%3CA@b%3E", Kind.IDENTITY, "a@b", "/vks/v1/by-email/%3CA%40b%3E"),
        ("POST", "/vks/v1/upload", Kind.UPLOAD, "", "/vks/v1/upload"),
        ("POST", "/vks/v1/request-verify", Kind.MAIL, "", "/vks/v1/request-verify"),
        (
            "GET",
            "/.Well-Known/OpenPGPKey/HU/xYz?l=Al",
            Kind.IDENTITY,
            "xyz",
            "/.well-known/openpgpkey/hu/xYz?l=Al",
        ),
        (
            "GET",
            "/.well-known/openpgpkey/Example.ORG/hu/xyz?l=al",
            Kind.IDENTITY,
            "xyz@example.org",
            "/.well-known/openpgpkey/example.org/hu/xyz?l=al",
        ),
        ("GET", "/.well-known/openpgpkey/Policy", Kind.STATIC, "", "/.well-known/openpgpkey/policy"),
        ("GET", "/.well-known/openpgpkey/a.b/policy", Kind.STATIC, "", "/.well-known/openpgpkey/a.b/policy"),
        (
            "GET",
            "/.well-known/openpgpkey/a.b/submission-address",
            Kind.STATIC,
            "",
            "/.well-known/openpgpkey/a.b/submission-address",
        ),
        ("GET", "/search?q=%3CA@b%3E", Kind.IDENTITY, "a@b", "/search?q=A%40b"),
        ("GET", f"/Search/?q={FPR.lower()}", Kind.CERT, FPR, f"/search?q=0x{FPR}"),
        ("GET", "/search?q=alice", Kind.WORDS, "alice", "/search?q=alice"),
        ("GET", f"/get/{FPR.lower()}", Kind.CERT, FPR, f"/get/0x{FPR}"),
        ("GET", f"/d/0x{FPR}", Kind.CERT, FPR, f"/d/0x{FPR}"),
        ("GET", "/s/alice", Kind.WORDS, "alice", "/s/alice"),
        ("GET", "/search/a@b", Kind.IDENTITY, "a@b", "/search/a%40b"),
        ("PUT", "/", Kind.UPLOAD, "", "/"),
        ("POST", "/upload/submit", Kind.UPLOAD, "", "/upload/submit"),
        ("POST", "/upload/request-verify", Kind.MAIL, "", "/upload/request-verify"),
        ("GET", "/upload/SeCret", Kind.STATIC, "", "/upload/SeCret"),
        ("GET", "/verify/SeCret", Kind.STATIC, "", "/verify/SeCret"),
        ("POST", "/verify/SeCret", Kind.UPLOAD, "", "/verify/SeCret"),
        ("GET", "/manage", Kind.STATIC, "", "/manage"),
        ("POST", "/manage", Kind.MAIL, "", "/manage"),
        ("GET", "/manage/SeCret", Kind.STATIC, "", "/manage/SeCret"),
        ("POST", "/manage/unpublish", Kind.ADMIN, "", "/manage/unpublish"),
        ("GET", "/robots.txt", Kind.STATIC, "", "/robots.txt"),
        ("GET", "/assets/a b.css", Kind.STATIC, "", "/assets/a%20b.css"),
        ("HEAD", "/about/", Kind.STATIC, "", "/about/"),
    ],
)
def test_endpoints(method: str, target: str, kind: Kind, subject: str, canonical: str) -> None:
    """Every endpoint of HKP, VKS, WKD and the front pages has its class, subject and canonical target."""
    operation = classify(method, target.replace(" ", "%20"))
    assert operation == (kind, subject, operation.price, canonical.encode(), 0, "", False)


def test_every_spelling_of_a_certificate_is_one_subject() -> None:
    """Distinct counting sees one certificate, whichever protocol asks for it."""
    targets = [
        GET,
        GET.replace("get", "index"),
        f"/pks/v2/certs/by-vfingerprint/04/{FPR}",
        f"/pks/v2/certs/by-vfingerprint/04{FPR}",
        f"/vks/v1/by-fingerprint/{FPR}",
        f"/search?q={FPR}",
        f"/get/{FPR}",
    ]
    assert {classify("GET", target)[:3] for target in targets} == {(Kind.CERT, FPR, 1)}


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", GET, "GET, HEAD, OPTIONS"),
        ("get", GET, "GET, HEAD, OPTIONS"),
        ("POST", "/pks/lookup?op=stats", "GET, HEAD, OPTIONS"),
        ("DELETE", "/search?q=a", "GET, HEAD, OPTIONS"),
        ("GET", "/pks/add", "POST, OPTIONS"),
        ("POST", "/", "GET, HEAD, PUT, OPTIONS"),
        ("POST", "/pks/v2/canonical/a@b", "GET, HEAD, PUT, OPTIONS"),
        ("POST", "/assets/a.css", "GET, HEAD, OPTIONS"),
        ("POST", "/vks/v1/by-keyid/zz", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_method(method: str, target: str, allow: str) -> None:
    """A method that the endpoint does not serve is refused with 405 and the list of those it does."""
    operation = classify(method, target)
    assert (operation.kind, operation.price, operation.refusal) == (Kind.UNKNOWN, 1, 405)
    assert operation.allow == allow


def test_a_token_is_nobody() -> None:
    """What was sent by mail is a secret: it is forwarded as it is and never becomes a subject."""
    for page in ("/verify/SeCret", "/manage/SeCret", "/upload/SeCret"):
        route = find_route(page)
        assert route is not None
        assert (route.path, route.subject) == (page, "")
