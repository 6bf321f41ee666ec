"""What an upload may hold and what was found in it: plain data, and how it is refused."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from proxy.hkp.bodies import BadBody

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY_S: Final = 86_400
LISTED_USER_IDS: Final = 50


class BadUpload(BadBody):
    """An upload that the keyserver shall not see.

    Attributes:
        status: 400: not what the content type says; 413: more than the bounds allow; 422: no certificate, or not one
            that belongs on a keyserver.
        text: One plain English line for the user of gpg. Some clients look for words of their own in what a server
            says (HKP.md section 3, OpenKeychain); "too many", "insufficient" and "no keys found" are never used.

    """


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadBounds:
    """How much an upload may hold. Defaults: HKP.md 5.6, as long as each certificate of Debian's developers passes.

    Attributes:
        certs: Certificates in one upload; bare revocations count.
        packets: Packets in one upload.
        cert_bytes: Size of a certificate.
        signature_bytes: Size of a signature.
        packet_bytes: Size of any other packet: keys, padding.
        user_ids: User ids of a certificate.
        user_id_bytes: Size of a user id.
        latin1: A user id that is no UTF-8 may be printable Latin-1, as programs wrote it before 2000.
        attributes: Photographs and the like of a certificate; 0 refuses them.
        attribute_bytes: Size of one of these.
        third_party: Signatures of others on a certificate. Four of 1,178 of Debian's have 556 to 641.
        ahead_s: How far in the future a key may have been made: clocks and time zones are wrong.

    """

    certs: int = 10
    packets: int = 2000
    cert_bytes: int = MIB
    signature_bytes: int = 64 * KIB
    packet_bytes: int = 8 * KIB
    user_ids: int = 50
    user_id_bytes: int = KIB
    latin1: bool = True
    attributes: int = 4
    attribute_bytes: int = 16 * KIB
    third_party: int = 1000
    ahead_s: int = DAY_S


class Cert(NamedTuple):
    """One certificate of an upload, or one bare revocation.

    Attributes:
        fingerprint: Of the primary key, upper-case hex: 32 digits (version 3), 40 (4) or 64 (5 and 6). Of a bare
            revocation: the issuer's, or the 16 digits of its key id where it says no more.
        user_ids: The first 50, as they are written: UTF-8, or Latin-1.
        packets: All of them.
        signatures: All of them.
        third_party: Those that name another issuer than the primary key, or none. Nobody verifies them: one that only
            claims to be the owner's is counted as the owner's.
        size_bytes: In binary form.
        revocation_only: This is a signature that revokes a key, and nothing else.
        foreign: A word of 64 bits for each signature of `third_party`, by which it is known again.

    """

    fingerprint: str
    user_ids: tuple[bytes, ...]
    packets: int
    signatures: int
    third_party: int
    size_bytes: int
    revocation_only: bool
    foreign: tuple[int, ...] = ()


class Upload(NamedTuple):
    """What was found in an upload: at least one certificate."""

    certs: tuple[Cert, ...]
