"""Settings of locations: mmdb files by what they are for.

    HKPGUARD_GEOIP_CITY=/srv/geo/city-ipv4.mmdb,/srv/geo/city-ipv6.mmdb

Whether they are there, and good, is found out by whoever opens them: without them a guard knows less, but guards.
"""

from typing import Annotated, Final

from proxy.settings.kinds import FilePath, ListOf
from proxy.settings.sources import variable

Files = Annotated[tuple[str, ...], ListOf(FilePath())]

PURPOSES: Final = ("city", "country", "asn", "anonymous")
FIELDS: Final = {purpose: f"geoip_{purpose}" for purpose in PURPOSES}  # of the configuration
VARIABLES: Final = {purpose: variable((field,)) for purpose, field in FIELDS.items()}
