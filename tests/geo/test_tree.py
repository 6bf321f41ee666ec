"""The tree of a file: what is found in it, and that damage ends."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import maxminddb
import numpy as np
import pytest

from geo.tree import BadTree, Tree
from tests.geo.databases_for_tests import bundle, write

if TYPE_CHECKING:
    from pathlib import Path

COMPARED = [f"MaxMind-DB-test-{kind}-{bits}.mmdb" for kind in ("ipv4", "ipv6", "mixed") for bits in (24, 28, 32)]
COMPARED += ["GeoIP2-City-Test.mmdb", "GeoIP2-ISP-Test.mmdb"]
LOOPS = [(0, 1), (1, 1)]  # both halves of the second half lead to where they are


def tree_of(octets: bytes, path: Path) -> tuple[Tree, maxminddb.Reader]:
    """Return the tree of a file, and the reader that it is compared with."""
    path.write_bytes(octets)
    reader = maxminddb.open_database(str(path), maxminddb.MODE_MEMORY)
    about = reader.metadata()
    return Tree(octets, about.node_count, about.record_size, about.ip_version), reader


def networks_of(tree: Tree) -> set[str]:
    """Return all networks with data, as text; IPv4 as such."""
    leaves = tree.leaves(10_000)
    found = set()
    for network, length in zip(leaves.networks, leaves.lengths.tolist(), strict=True):
        address = ip_address(network.tobytes())
        four = getattr(address, "ipv4_mapped", None)
        found.add(str(ip_network((four, length - 96)) if four else ip_network((address, length))))
    return found


@pytest.mark.parametrize("version", [4, 6])
def test_networks(tmp_path: Path, version: int) -> None:
    """All networks of a file are found, with their lengths, and nothing else."""
    networks = {"1.2.3.0/24", "1.2.4.4/32", "128.0.0.0/2"} | (
        {"2001:db8::/32", "::1:0:0/96"} if version == 6 else set()
    )
    octets = write(tmp_path / "a.mmdb", {each: {"n": each} for each in networks}, version).read_bytes()
    tree, _ = tree_of(octets, tmp_path / "b.mmdb")
    assert networks_of(tree) == networks


def test_network_around_ipv4(tmp_path: Path) -> None:
    """A network of IPv6 that holds ::/96 is of all IPv4 as well."""
    octets = write(tmp_path / "a.mmdb", {"::/8": {"n": 1}}).read_bytes()
    tree, _ = tree_of(octets, tmp_path / "b.mmdb")
    assert networks_of(tree) == {"::/8", "0.0.0.0/0"}
    assert tree.find(bytes(4)) == tree.find(bytes(16)) != 0


@pytest.mark.parametrize("name", COMPARED)
def test_same_as_the_reader(tmp_path: Path, name: str) -> None:
    """In MaxMind's files the same networks are found as by their reader, and the same addresses have data."""
    if name not in bundle():
        pytest.skip("MaxMind's databases (../shared/data/dev.tar.xz) are not here")
    tree, reader = tree_of(bundle()[name], tmp_path / "a.mmdb")
    networks = [network for network, _ in reader]
    assert networks_of(tree) == {str(network) for network in networks}
    draw = random.Random(1)  # noqa: S311 - the same each time
    addresses = [network[0] for network in networks] + [network[-1] for network in networks]
    addresses += [ip_address(draw.randbytes(draw.choice((4, 16)))) for _ in range(500)]
    for address in addresses:
        if address.version == 4 or "ipv4" not in name:
            assert bool(tree.find(address.packed)) == (reader.get(address) is not None), address


def test_address_that_a_file_of_ipv4_cannot_have(tmp_path: Path) -> None:
    """A file of IPv4 knows no address of IPv6."""
    octets = write(tmp_path / "a.mmdb", {"0.0.0.0/1": {"n": 1}}, 4).read_bytes()
    tree, _ = tree_of(octets, tmp_path / "b.mmdb")
    assert tree.find(bytes(4))
    assert tree.find(bytes(16)) == 0


def of_nodes(nodes: list[tuple[int, int]], version: int = 6) -> Tree:
    """Return a tree of nodes of 24 bits."""
    octets = b"".join(half.to_bytes(3, "big") for node in nodes for half in node)
    return Tree(octets, len(nodes), 24, version)


@pytest.mark.parametrize("version", [4, 6])
def test_loops_end(version: int) -> None:
    """A tree that leads back to itself has as many networks as there are addresses: it is refused, not walked."""
    with pytest.raises(BadTree, match="more than 1000"):
        of_nodes(LOOPS, version).leaves(1000)
    with pytest.raises(BadTree, match="longer than an address"):
        of_nodes([(2, 1), (1, 2)], version).leaves(1000)
    assert of_nodes(LOOPS, version).find(b"\xff" * 4) == 0


def test_samples_end() -> None:
    """A sample of a tree with loops ends as well."""
    with pytest.raises(BadTree, match="longer than an address"):
        of_nodes(LOOPS).leaves(10, thin=True)


def test_sample_is_from_everywhere(tmp_path: Path) -> None:
    """A sample has networks from the beginning, the middle and the end."""
    networks = {f"{first}.{second}.0.0/16": {"n": first} for first in (1, 100, 200) for second in range(100)}
    tree, _ = tree_of(write(tmp_path / "a.mmdb", networks).read_bytes(), tmp_path / "b.mmdb")
    leaves = tree.leaves(16, thin=True)
    assert len(leaves.lengths) < 200
    assert set(leaves.networks[:, 12].tolist()) == {1, 100, 200}
    assert len(np.unique(tree.leaves(1000).pointers)) == 3


@pytest.mark.parametrize(("nodes", "bits"), [(0, 24), (-1, 24), (3, 24), (1, 0), (1, 20), (10**9, 32)])
def test_no_tree(nodes: int, bits: int) -> None:
    """Metadata that promise more than there is, or nodes that there are not, are refused."""
    with pytest.raises(BadTree):
        Tree(bytes(12), nodes, bits, 4)
