"""Formats of lists: `FORMATS` by the names that settings use. The contract stands in `reading.py`."""

from typing import Final, NamedTuple

from proxy.intel.formats import (
    cloud,
    crowdsec,
    csv_rows,
    ipset,
    json_paths,
    misp,
    netset,
    spamhaus,
    stix,
    taxii,
    text,
    tor,
)
from proxy.intel.formats.reading import Limits, NotAList, Parse, Parsed, Reading
from proxy.intel.listing import ListingKind


class Format(NamedTuple):
    """How a list is read, and what is listed in it unless the operator says something else."""

    parse: Parse
    kind: ListingKind = ListingKind.ABUSE


FORMATS: Final[dict[str, Format]] = {
    "text": Format(text.parse),
    "netset": Format(netset.parse),
    "ipset": Format(ipset.parse),
    "csv": Format(csv_rows.parse),
    "ipcat": Format(csv_rows.parse_ipcat, ListingKind.HOSTING),
    "json": Format(json_paths.parse),
    "jsonl": Format(json_paths.parse_lines),
    "cloud": Format(cloud.parse, ListingKind.CLOUD),
    "spamhaus": Format(spamhaus.parse),
    "tor": Format(tor.parse, ListingKind.TOR),
    "crowdsec": Format(crowdsec.parse),
    "misp": Format(misp.parse, ListingKind.WARNING),
    "stix": Format(stix.parse),
    "taxii": Format(taxii.parse),
}

__all__ = ["FORMATS", "Format", "Limits", "NotAList", "Parse", "Parsed", "Reading"]
