"""Settings of what an upload may hold (HKP.md 5.6); the defaults are those of `UploadBounds`."""

from typing import Annotated, Final

from pydantic import Field

from proxy.hkp.certs import UploadBounds
from proxy.settings.kinds import DAY, KIB, MIB, SECOND, Duration, Size, Switch, Whole
from proxy.settings.limits import Mode
from proxy.settings.section import Section

_DEFAULT: Final = UploadBounds()


class UploadsConfig(Section):
    """What an upload may hold before the keyserver sees it."""

    mode: Mode = "enforce"
    certs: Annotated[int, Whole(1, 200)] = _DEFAULT.certs  # in one upload; 200 are half a millisecond
    packets: Annotated[int, Whole(3, 100_000)] = _DEFAULT.packets  # in one upload: keys, user IDs, signatures
    cert_bytes: Annotated[int, Size(KIB, 64 * MIB)] = _DEFAULT.cert_bytes
    signature_bytes: Annotated[int, Size(KIB, MIB)] = _DEFAULT.signature_bytes  # of one
    packet_bytes: Annotated[int, Size(KIB, MIB)] = _DEFAULT.packet_bytes  # of one that is no signature
    user_ids: Annotated[int, Whole(1, 10_000)] = _DEFAULT.user_ids  # of a certificate
    user_id_bytes: Annotated[int, Size(64, 64 * KIB)] = _DEFAULT.user_id_bytes  # of one
    latin1: Annotated[bool, Switch()] = _DEFAULT.latin1  # user IDs from before UTF-8 may pass
    attributes: Annotated[int, Whole(0, 100)] = _DEFAULT.attributes  # photographs of a certificate; 0 refuses them
    attribute_bytes: Annotated[int, Size(KIB, MIB)] = _DEFAULT.attribute_bytes  # of one
    third_party: Annotated[int, Whole(0, 100_000)] = _DEFAULT.third_party  # signatures of others on a certificate
    ahead_ns: Annotated[int, Duration(0, 366 * DAY)] = Field(default=_DEFAULT.ahead_s * SECOND, alias="ahead")
    """How far in the future a key may have been made."""

    def bounds(self) -> UploadBounds:
        """Return what runs."""
        return UploadBounds(
            certs=self.certs,
            packets=self.packets,
            cert_bytes=self.cert_bytes,
            signature_bytes=self.signature_bytes,
            packet_bytes=self.packet_bytes,
            user_ids=self.user_ids,
            user_id_bytes=self.user_id_bytes,
            latin1=self.latin1,
            attributes=self.attributes,
            attribute_bytes=self.attribute_bytes,
            third_party=self.third_party,
            ahead_s=self.ahead_ns // SECOND,
        )
