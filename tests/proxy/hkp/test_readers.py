"""Which body is read by whom, and which one nobody need send."""

from __future__ import annotations

import pytest

from proxy.hkp.bodies import BadBody, BodyReader
from proxy.hkp.certs import Upload, UploadBounds
from proxy.hkp.classes import OperationClass as Kind
from proxy.hkp.mail import MailReader, MailRequest
from proxy.hkp.operation import Classifier, ClassifierOptions
from proxy.hkp.readers import Readers
from proxy.hkp.recon import HashqueryReader, hashquery_length
from proxy.hkp.uploads import UploadReader
from tests.certs_for_tests import CREATED_S, NOW_S, armored, certificate, form, json_object, key

FORM, KEYS, JSON = b"application/x-www-form-urlencoded", b"application/pgp-keys", b"application/json"
MULTIPART = b"multipart/form-data; boundary=b"
READERS = Readers(most_digests=10, uploads=UploadBounds(), clock=lambda: NOW_S)
BLIND = Readers(most_digests=10, uploads=None, clock=lambda: NOW_S)
CERT = certificate()


def reader_for(
    method: str, target: str, content_type: bytes | None = None, *, length: int = 100, readers: Readers = READERS
) -> BodyReader | None:
    """Return the reader of a request that is classified as the proxy does it."""
    operation = Classifier(ClassifierOptions())(method, target)
    return readers(operation.kind, operation.target, content_type, length)


# Method, target, content type, the reader.
READ = {
    "hashquery": ("POST", "/pks/hashquery", None, HashqueryReader),
    "request-verify": ("POST", "/vks/v1/request-verify", JSON, MailReader),
    "sendtoken": ("POST", "/pks/v2/sendtoken", None, MailReader),
    "page that verifies": ("POST", "/upload/request-verify", FORM, MailReader),
    "page that mails": ("POST", "/manage", FORM, MailReader),
    "add": ("POST", "/pks/add", FORM, UploadReader),
    "add in capitals": ("POST", "/PKS/Add/", FORM, UploadReader),
    "add, escaped": ("POST", "/pks%2f%61dd", FORM, UploadReader),
    "add with a parameter": ("POST", "/pks/add?options=mr", FORM + b"; charset=utf-8", UploadReader),
    "version 2": ("POST", "/pks/v2/certs", KEYS, UploadReader),
    "canonical": ("PUT", "/pks/v2/canonical/a@example.org", KEYS, UploadReader),
    "VKS": ("POST", "/vks/v1/upload", JSON, UploadReader),
    "curl -T": ("PUT", "/", None, UploadReader),
    "curl -T, typed": ("PUT", "/", FORM, UploadReader),
    "page that uploads": ("POST", "/upload/submit", MULTIPART, None),
    "page that publishes": ("POST", "/verify/token", FORM, None),
    "deletion": ("POST", "/pks/delete", FORM, None),
    "page that deletes": ("POST", "/manage/unpublish", FORM, None),
}


@pytest.mark.parametrize(("method", "target", "content_type", "reader"), READ.values(), ids=READ)
def test_who_reads(method: str, target: str, content_type: bytes | None, reader: type[BodyReader] | None) -> None:
    """Each request with a body has its reader, whatever way its target is written; Hagrid's pages have none."""
    found = reader_for(method, target, content_type, length=hashquery_length(1))
    assert (None if found is None else type(found)) is reader


@pytest.mark.parametrize(
    ("target", "content_type"),
    [("/pks/add", None), ("/pks/add", b""), ("/pks/add", MULTIPART), ("/pks/v2/certs", b"text/plain"),
     ("/vks/v1/upload", b"text/html, application/json")],
)  # fmt: skip
def test_uploads_of_no_kind(target: str, content_type: bytes | None) -> None:
    """What nobody knows how to read is refused before it is sent."""
    with pytest.raises(BadBody) as refused:
        reader_for("POST", target, content_type)
    assert refused.value.status == 400


@pytest.mark.parametrize("length", [-1, 0, 4, 23, 25, hashquery_length(11), 10**9])
def test_length_of_a_hashquery(length: int) -> None:
    """A hashquery whose head cannot be right is refused before it is sent."""
    with pytest.raises(BadBody) as refused:
        reader_for("POST", "/pks/hashquery", length=length)
    assert refused.value.status == (413 if length > hashquery_length(10) else 400)


@pytest.mark.parametrize(
    ("kind", "target", "encoded"),
    [(Kind.UPLOAD, b"/pks/add", True), (Kind.UPLOAD, b"/", True), (Kind.MAIL, b"/pks/v2/sendtoken", True),
     (Kind.SYNC, b"/pks/hashquery", True), (Kind.UPLOAD, b"/upload/submit", False), (Kind.STATS, b"/pks/stats", False),
     (Kind.ADMIN, b"/pks/delete", False)],
)  # fmt: skip
def test_content_encoding(kind: Kind, target: bytes, encoded: bool) -> None:  # noqa: FBT001 - a row
    """A body that is packed is refused where it would have to be read, and is nobody's business elsewhere."""
    if not encoded:
        assert READERS(kind, target, FORM, 100, encoded=True) is None
        return
    with pytest.raises(BadBody) as refused:
        READERS(kind, target, FORM, hashquery_length(1), encoded=True)
    assert refused.value.status == 400


def test_uploads_that_nobody_reads() -> None:
    """Without bounds uploads are not read, of whatever kind; the others are bounded all the same."""
    for content_type in (FORM, None, MULTIPART):
        assert reader_for("POST", "/pks/add", content_type, readers=BLIND) is None
    assert BLIND(Kind.UPLOAD, b"/pks/add", FORM, 100, encoded=True) is None
    assert isinstance(reader_for("POST", "/pks/hashquery", length=24, readers=BLIND), HashqueryReader)
    assert isinstance(reader_for("POST", "/manage", FORM, readers=BLIND), MailReader)


@pytest.mark.parametrize(
    ("method", "target", "content_type", "body"),
    [("POST", "/pks/add", FORM, form(armored(CERT))), ("POST", "/pks/v2/certs", KEYS, CERT),
     ("PUT", "/", None, armored(CERT)), ("PUT", "/", JSON, CERT),
     ("POST", "/vks/v1/upload", JSON, json_object(armored(CERT)))],
)  # fmt: skip
def test_what_is_found(method: str, target: str, content_type: bytes | None, body: bytes) -> None:
    """The reader of an upload knows its wrapping."""
    reader = reader_for(method, target, content_type)
    assert reader is not None
    reader.feed(body)
    found = reader.finish()
    assert isinstance(found, Upload)
    assert [cert.fingerprint for cert in found.certs] == [key(0).name]


def test_mail_is_read_by_its_type() -> None:
    """The content type reaches the reader of requests for mail."""
    reader = reader_for("POST", "/upload/request-verify", FORM)
    assert reader is not None
    reader.feed(b'"x&address=a@example.org"')
    assert reader.finish() == MailRequest(('a@example.org"',))


def test_keys_are_not_of_the_future() -> None:
    """The clock is asked for each upload."""
    clock = iter([CREATED_S - 7 * 86_400, CREATED_S])
    readers = Readers(most_digests=1, uploads=UploadBounds(), clock=lambda: next(clock))
    early, late = (readers(Kind.UPLOAD, b"/pks/v2/certs", KEYS, 100) for _ in range(2))
    assert early is not None
    assert late is not None
    with pytest.raises(BadBody) as refused:
        early.feed(CERT)
    assert refused.value.status == 422
    late.feed(CERT)
    assert isinstance(late.finish(), Upload)


def test_bounds_are_the_ones_given() -> None:
    """What the settings say is what the reader takes."""
    readers = Readers(most_digests=1, uploads=UploadBounds(certs=1), clock=lambda: NOW_S)
    reader = reader_for("POST", "/pks/v2/certs", KEYS, readers=readers)
    assert reader is not None
    with pytest.raises(BadBody) as refused:
        reader.feed(certificate(1) + certificate(2))
    assert refused.value.status == 413
