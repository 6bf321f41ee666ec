"""Where abusers and others come from, on public sets: `python -m bench.network_kinds DATA`.

What it is worth to know that a client is in a network of servers for rent, or of a VPN, is a matter of how much oftener
abusers are there than honest clients. No public set has both of a keyserver. What can be measured stands on both sides:

- Attackers of other services (ipsum), against all addresses that there are. Of these most have no client, so the true
  figure is smaller.
- Clients of one web site (srhegde) that call themselves crawlers or libraries, against those that call themselves
  browsers. Some of these lie, and the addresses are years older than the list, so the true figure is larger.

Networks are of the list of x4bnet. A /24 counts once, by its first address that is named.
"""

import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_network
from itertools import starmap
from math import log
from pathlib import Path

from bench.public_sets import LIBRARIES, request
from fastpath import NetworkKind
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet

LISTS = {NetworkKind.HOSTING: "datacenter", NetworkKind.VPN: "vpn"}
CRAWLERS = ("bot", "crawl", "spider", "slurp")
FEEDS = 2  # of ipsum, that name an address: fewer are often wrong
ALL_ADDRESSES = 2**32


def networks(data: Path, kind: NetworkKind) -> Iterator[tuple[bytes, int, int]]:
    """Yield the prefixes of a kind."""
    for text in (data / "ti/x4bnet/output" / LISTS[kind] / "ipv4.txt").read_text(encoding="ascii").split():
        network = ip_network(text)
        yield network.network_address.packed, network.prefixlen, int(kind)


def attackers(data: Path) -> Iterator[bytes]:
    """Yield the addresses of ipsum that at least FEEDS of its feeds name."""
    for line in (data / "ti/ipsum/ipsum.txt").read_text(encoding="ascii").splitlines():
        if not line.startswith("#") and int(line.split()[1]) >= FEEDS:
            yield IPv4Address(line.split()[0]).packed


def clients(data: Path) -> tuple[list[bytes], list[bytes]]:
    """Return the addresses of crawlers and libraries of srhegde, and of browsers."""
    programs: dict[bytes, None] = {}
    browsers: dict[bytes, None] = {}
    with (data / "access_logs/srhegde_2005_2018.log").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            address, _, rest = line.partition(" ")
            if found := request(rest):
                agent = found.agent.lower()
                program = LIBRARIES.search(agent) or any(word in agent for word in CRAWLERS)
                (programs if program else browsers)[IPv4Address(address).packed] = None
    return [*programs], [each for each in browsers if each not in programs]


def share(addresses: Iterable[bytes], prefixes: PrefixSet) -> tuple[float, int]:
    """Return which share of the /24s of addresses is in a set, and how many there are."""
    first = {address[:3]: address for address in reversed([*addresses])}
    return sum(prefixes.look_up(address) > 0 for address in first.values()) / len(first), len(first)


def main(data: Path) -> None:
    """Print a table."""
    programs, browsers = clients(data)
    print("| kind | abusers | others | logarithm of their ratio |\n| --- | --- | --- | --- |")
    for kind in LISTS:
        rows = [*networks(data, kind)]
        prefixes = PrefixSet(build(Rows.of(rows)))
        of_all = sum(starmap(lambda _address, length, _kind: 2 ** (32 - length), rows)) / ALL_ADDRESSES
        attacking, programming, browsing = (share(each, prefixes) for each in (attackers(data), programs, browsers))
        for bad, name, good, other in (
            (attacking, "attackers", (of_all, ALL_ADDRESSES), "all addresses"),
            (programming, "crawlers and libraries", browsing, "browsers"),
        ):
            ratio = log(bad[0] / good[0])
            cells = f"{bad[0]:.2%} of {bad[1]:,} {name} | {good[0]:.2%} of {good[1]:,} {other} | {ratio:.1f}"
            print(f"| {kind.name.lower()} | {cells} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
