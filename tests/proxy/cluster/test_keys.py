"""Names in Redis, and the keys that are made of the secret."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.cluster.keys import FAMILIES, SHARDS, Family, Keys, ttl_ms
from proxy.cluster.secret import ClusterSecret
from proxy.settings.cluster import ClusterConfig
from tests.proxy.cluster.stub_for_tests import SECRET

SLOTS = 16_384


def keys(secret: str = SECRET, prefix: str = "hkpguard") -> Keys:
    """Return the names of an installation."""
    return Keys(prefix, ClusterSecret(secret))


def slot(tag: bytes) -> int:
    """Return the slot of a hash tag: CRC-16/XMODEM, as Redis Cluster has it."""
    crc = 0
    for byte in tag:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc % SLOTS


def test_names() -> None:
    """Keys have prefix, shard and family in them; channels have no shard."""
    assert keys().key(Family.LIMIT, b"9f0c", 17) == b"hkpguard:{17}:limit:9f0c"
    assert keys(prefix="x").key(Family.MEMBER, "node-1") == b"x:{0}:member:node-1"
    assert keys().channel(Family.BAN) == b"hkpguard:ban"


def test_shards_are_apart() -> None:
    """The shards are in 64 slots, of which three masters have a third each."""
    slots = [slot(str(shard).encode()) for shard in range(SHARDS)]
    assert slot(b"123456789") == 0x31C3  # the check value of the CRC
    assert len(set(slots)) == SHARDS
    assert sorted(Counter(each * 3 // SLOTS for each in slots).values()) == [21, 21, 22]


def test_clients_are_spread() -> None:
    """Clients fall into all shards, alike on all nodes; who does not know the secret cannot tell into which."""
    clients = [number.to_bytes(8, "big") for number in range(6400)]
    mine = [keys().shard_of(client) for client in clients]
    assert mine == [keys().shard_of(client) for client in clients]
    assert set(mine) == set(range(SHARDS))
    assert max(Counter(mine).values()) < 200
    others = [keys("t" * 32).shard_of(client) for client in clients]
    assert sum(map(int.__eq__, mine, others)) < 300


def test_names_of_clients() -> None:
    """The name of a client is the same on all nodes, and another one under another secret."""
    assert keys().name_of(b"a") == keys().name_of(b"a") != keys().name_of(b"b")
    assert keys().name_of(b"a") != keys("t" * 32).name_of(b"a")
    assert len(keys().name_of(b"a")) == 32


def test_every_key_ends() -> None:
    """Each family has a longest time to live, and nothing lives less than a millisecond, which Redis would refuse."""
    assert set(FAMILIES) == set(Family)
    for family, longest_ms in FAMILIES.items():
        assert [ttl_ms(family, wanted) for wanted in (-5, 0, 1, longest_ms, longest_ms + 1)] == [
            1,
            1,
            1,
            longest_ms,
            longest_ms,
        ]


def test_keys_of_purposes() -> None:
    """The secret makes a key for each purpose, always the same, of the size that is wanted."""
    secret = ClusterSecret(SECRET)
    assert secret.key("seal") == ClusterSecret(SECRET).key("seal") != secret.key("names")
    assert len(secret.key("region", 16)) == 16


def test_secret_of_a_file(tmp_path: object) -> None:
    """A secret in a file is the same as in a setting, without the end of its line."""
    path = tmp_path / "secret"  # type: ignore[operator]
    path.write_text(f"{SECRET}\n")
    of_file = ClusterSecret.of(ClusterConfig.model_validate({"secret_file": str(path)}))
    assert of_file.key("seal") == ClusterSecret(SECRET).key("seal")


def test_secret_file_that_is_gone(tmp_path: object) -> None:
    """A file that is not there any more is told as what it is."""
    with pytest.raises(OSError, match="No such file"):
        ClusterSecret.of(ClusterConfig.model_validate({"secret_file": f"{tmp_path}/none"}))
