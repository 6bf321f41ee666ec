"""What sort of network an address is of: from what databases say of it, its number, and words in its holder's name.

Databases of this are sold; the numbers below are for who has none. They are a few of the largest and best-known
networks of each kind, by what their holders say of themselves. Where several sources speak, the kind counts that a
place says least about (ORDER): a wrong "vpn" hides a traveller who does not travel, a wrong "residential" accuses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fastpath.origin import NetworkKind
from geo.place import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from geo.place import Holder

ORDER: Final = (  # of several kinds the first one counts
    NetworkKind.TOR,
    NetworkKind.VPN,
    NetworkKind.RELAY,
    NetworkKind.SATELLITE,
    NetworkKind.MOBILE,
    NetworkKind.HOSTING,
    NetworkKind.EDUCATION,
    NetworkKind.RESIDENTIAL,
    NetworkKind.BUSINESS,
    NetworkKind.UNKNOWN,
)
FLAGS: Final = {  # of the Anonymous databases, and the traits of others
    "is_tor_exit_node": NetworkKind.TOR,
    "is_anonymous_vpn": NetworkKind.VPN,
    "is_public_proxy": NetworkKind.VPN,
    "is_residential_proxy": NetworkKind.VPN,
    "is_anycast": NetworkKind.RELAY,
    "is_hosting_provider": NetworkKind.HOSTING,
    "is_legitimate_proxy": NetworkKind.BUSINESS,
}
RATED: Final = "anonymizer_confidence"  # only what hides somebody is rated
WORDS: Final = {
    "connection_type": {
        "cable/dsl": NetworkKind.RESIDENTIAL,
        "dialup": NetworkKind.RESIDENTIAL,
        "cellular": NetworkKind.MOBILE,
        "satellite": NetworkKind.SATELLITE,
        "corporate": NetworkKind.BUSINESS,
    },
    "user_type": {
        "residential": NetworkKind.RESIDENTIAL,
        "dialup": NetworkKind.RESIDENTIAL,
        "cellular": NetworkKind.MOBILE,
        "business": NetworkKind.BUSINESS,
        "cafe": NetworkKind.BUSINESS,
        "government": NetworkKind.BUSINESS,
        "military": NetworkKind.BUSINESS,
        "traveler": NetworkKind.BUSINESS,
        "college": NetworkKind.EDUCATION,
        "library": NetworkKind.EDUCATION,
        "school": NetworkKind.EDUCATION,
        "hosting": NetworkKind.HOSTING,
        "content_delivery_net": NetworkKind.HOSTING,
        "content_delivery_network": NetworkKind.HOSTING,
        "search_engine_spider": NetworkKind.HOSTING,
        "consumer_privacy_network": NetworkKind.RELAY,
    },
}
NUMBERS: Final[Mapping[int, NetworkKind]] = {
    # Clouds and servers for rent.
    8075: NetworkKind.HOSTING,  # Microsoft
    8560: NetworkKind.HOSTING,  # IONOS
    9009: NetworkKind.HOSTING,  # M247
    12876: NetworkKind.HOSTING,  # Scaleway
    14061: NetworkKind.HOSTING,  # DigitalOcean
    14618: NetworkKind.HOSTING,  # Amazon
    16276: NetworkKind.HOSTING,  # OVH
    16509: NetworkKind.HOSTING,  # Amazon
    20473: NetworkKind.HOSTING,  # Vultr
    24940: NetworkKind.HOSTING,  # Hetzner
    28753: NetworkKind.HOSTING,  # Leaseweb, Germany
    31898: NetworkKind.HOSTING,  # Oracle
    36351: NetworkKind.HOSTING,  # IBM
    45102: NetworkKind.HOSTING,  # Alibaba
    51167: NetworkKind.HOSTING,  # Contabo
    60068: NetworkKind.HOSTING,  # Datacamp
    60781: NetworkKind.HOSTING,  # Leaseweb, Netherlands
    63949: NetworkKind.HOSTING,  # Akamai, formerly Linode
    132203: NetworkKind.HOSTING,  # Tencent
    197540: NetworkKind.HOSTING,  # netcup
    212238: NetworkKind.HOSTING,  # Datacamp
    396982: NetworkKind.HOSTING,  # Google Cloud
    # Those whose customers are VPNs, or who are one.
    39351: NetworkKind.VPN,  # 31173 Services, Mullvad's servers
    62371: NetworkKind.VPN,  # Proton
    136787: NetworkKind.VPN,  # PacketHub, NordVPN's servers
    209103: NetworkKind.VPN,  # Proton
    # The way out of WARP and of iCloud Private Relay.
    13335: NetworkKind.RELAY,  # Cloudflare
    36183: NetworkKind.RELAY,  # Akamai
    54113: NetworkKind.RELAY,  # Fastly
    # Carriers that have no other customers under the number.
    6167: NetworkKind.MOBILE,  # Verizon Wireless
    9605: NetworkKind.MOBILE,  # NTT Docomo
    16135: NetworkKind.MOBILE,  # Turkcell
    20057: NetworkKind.MOBILE,  # AT&T Mobility
    21928: NetworkKind.MOBILE,  # T-Mobile USA
    22394: NetworkKind.MOBILE,  # Verizon Wireless
    25135: NetworkKind.MOBILE,  # Vodafone, United Kingdom
    26599: NetworkKind.MOBILE,  # Vivo
    26615: NetworkKind.MOBILE,  # TIM Brasil
    45609: NetworkKind.MOBILE,  # Bharti Airtel
    51207: NetworkKind.MOBILE,  # Free Mobile
    55836: NetworkKind.MOBILE,  # Reliance Jio
    # Satellites: the ground station may be in another country.
    6621: NetworkKind.SATELLITE,  # Hughes
    7155: NetworkKind.SATELLITE,  # Viasat
    14593: NetworkKind.SATELLITE,  # Starlink
    # National research and education networks.
    137: NetworkKind.EDUCATION,  # GARR
    559: NetworkKind.EDUCATION,  # SWITCH
    680: NetworkKind.EDUCATION,  # DFN
    766: NetworkKind.EDUCATION,  # RedIRIS
    786: NetworkKind.EDUCATION,  # Jisc
    1103: NetworkKind.EDUCATION,  # SURF
    1653: NetworkKind.EDUCATION,  # SUNET
    2200: NetworkKind.EDUCATION,  # RENATER
}
NAMES: Final = (  # whole words of a holder's name; the first that is found counts
    (re.compile(r"\bvpn\b"), NetworkKind.VPN),
    (re.compile(r"\bsatellite\b"), NetworkKind.SATELLITE),
    (re.compile(r"\b(hosting|hoster|vps|servers?|cloud|colo|colocation|data ?cent(er|re))\b"), NetworkKind.HOSTING),
    (re.compile(r"\b(university|universit\w+|college|school|academy|nren)\b"), NetworkKind.EDUCATION),
    (re.compile(r"\b(mobile|cellular)\b"), NetworkKind.MOBILE),
)


def kind_of(holder: Holder | None, told: Iterable[NetworkKind]) -> NetworkKind:
    """Return the kind of a network.

    Args:
        holder: Whose network it is; None: nobody knows.
        told: What databases say of it (`told_by`).

    """
    asn, name = holder or NOBODY
    kind = strongest((*told, NUMBERS.get(asn, NetworkKind.UNKNOWN)))
    if kind is NetworkKind.UNKNOWN and name:
        words = name.lower()
        return next((named for pattern, named in NAMES if pattern.search(words)), kind)
    return kind


def told_by(traits: Mapping[str, object]) -> NetworkKind:
    """Return what the traits in a record say; a flag is one only if it is true, and words are texts."""
    kinds = [kind for flag, kind in FLAGS.items() if traits.get(flag) is True]
    if not kinds and (traits.get("is_anonymous") is True or RATED in traits):
        return NetworkKind.VPN
    for key, words in WORDS.items():
        word = traits.get(key)
        if isinstance(word, str):
            kinds.append(words.get(word.lower(), NetworkKind.UNKNOWN))
    return strongest(kinds)


def strongest(kinds: Iterable[NetworkKind]) -> NetworkKind:
    """Return the one that counts; unknown if there is none."""
    return min(kinds, key=ORDER.index, default=NetworkKind.UNKNOWN)
