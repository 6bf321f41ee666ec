"""The compose files: right by the schema of Compose, and by what that cannot know."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.container import (
    DEPLOY,
    IMAGE_NAME,
    MIB,
    SECOND,
    bytes_needed,
    configuration,
    seconds_to_stop,
)

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.config import Config

SECRETS = "/run/secrets"
GIVEN = {"HKPGUARD_UPSTREAM": "http://192.0.2.1:11371", "HKPGUARD_ADMIN_TOKEN": "0123456789abcdef"}  # by who starts it
FILES = ("compose.yaml", "compose-cluster.yaml")
HAPROXY = (DEPLOY / "haproxy-cluster.cfg").read_text()

Service = dict[str, Any]


def loaded(name: str) -> dict[str, Any]:
    """Return a compose file, with the variables that are given put in."""
    return yaml.safe_load(interpolated((DEPLOY / name).read_text()))


def interpolated(text: str) -> str:
    """Replace ${NAME:?why} and ${NAME:-default} as Compose does."""
    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", lambda found: GIVEN.get(found[1], found[3]), text)


CLUSTER = loaded("compose-cluster.yaml")
SERVICES: dict[str, Service] = CLUSTER["services"]
GUARDS = {name: service for name, service in SERVICES.items() if service["image"] == IMAGE_NAME}


def guard_configuration(service: Service) -> Config:
    """Return the configuration of a guard."""
    return configuration(service["environment"])


def seconds(text: str) -> int:
    """Return a duration as Compose and HAProxy write it."""
    return int(text.removesuffix("s"))


def mebibytes(text: str) -> int:
    """Return bytes as Compose writes them."""
    units = {"m": MIB, "g": 1024 * MIB}
    return int(text[:-1]) * units[text[-1]]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of secrets as the operator makes it."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run([DEPLOY / "cluster-secrets", folder], check=True)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_file_is_right_by_the_schema(name: str) -> None:
    """Each compose file is what the schema of the Compose Specification allows."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / name]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_schema_tells_a_wrong_file(tmp_path: Path) -> None:
    """A misspelt key of a service is an error: the schema is really asked."""
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text().replace("read_only:", "readonly:"))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", wrong]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_there_are_two_guards_that_differ_in_name_and_state() -> None:
    """Everything else in them is the same."""
    first, second = GUARDS.values()
    names = {guard["environment"].pop("HKPGUARD_CLUSTER__NODE") for guard in loaded_guards()}
    volumes = {volume for guard in GUARDS.values() for volume in guard["volumes"]}
    assert len(names) == len(volumes) == 2
    assert {volume.partition(":")[0] for volume in volumes} == CLUSTER["volumes"].keys()
    own = {"environment", "volumes"}
    assert {key: value for key, value in first.items() if key not in own} == {
        key: value for key, value in second.items() if key not in own
    }


def loaded_guards() -> list[Service]:
    """Return the guards of a file of their own, to be changed."""
    return [each for each in loaded("compose-cluster.yaml")["services"].values() if each["image"] == IMAGE_NAME]


@pytest.mark.parametrize("name", GUARDS)
def test_guard_has_settings_that_exist_and_fit(name: str) -> None:
    """The environment of each guard is a configuration, with a store."""
    config = guard_configuration(GUARDS[name])
    assert config.redis_url is not None
    assert config.redis_url.hosts[0].host in SERVICES
    assert f"{config.upstream[0]}" == GIVEN["HKPGUARD_UPSTREAM"].removeprefix("http://")


def test_settings_of_the_plain_file_exist() -> None:
    """The environment of the guard in the file for one node is a configuration."""
    service = loaded("compose.yaml")["services"]["guard"]
    assert configuration(service["environment"]).redis_url is None


@pytest.mark.parametrize("name", GUARDS)
def test_guard_may_stop_in_peace(name: str) -> None:
    """Compose kills no guard that may still have requests in flight."""
    service = GUARDS[name]
    assert seconds(service["stop_grace_period"]) >= seconds_to_stop(guard_configuration(service))


@pytest.mark.parametrize("name", GUARDS)
def test_guard_has_the_memory_that_it_may_need(name: str) -> None:
    """Tables that are full and uploads that are being read do not get a guard killed."""
    assert mebibytes(GUARDS[name]["mem_limit"]) >= bytes_needed(guard_configuration(GUARDS[name]))


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    """None may write to its root, has a capability, gets one, or takes all memory."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]


def test_only_the_front_is_open_to_the_world() -> None:
    """Nobody reaches a guard without HAProxy, which tells whom it is, or Redis at all."""
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["front"]
    assert CLUSTER["networks"]["store"]["internal"] is True
    in_store = {name for name, service in SERVICES.items() if "store" in service["networks"]}
    assert in_store == {"redis", *GUARDS}
    assert list(SERVICES["redis"]["networks"]) == ["store"]


def test_secrets_are_files_that_the_services_are_given() -> None:
    """No variable holds a secret, and each path below /run/secrets is granted and defined."""
    for service in SERVICES.values():
        text = yaml.dump([service.get("environment"), service.get("command")])
        assert set(re.findall(rf"{SECRETS}/([\w.-]+)", text)) == set(service.get("secrets", ()))
    granted = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert granted == CLUSTER["secrets"].keys()


def test_secrets_that_are_made_are_right(secrets: Path) -> None:
    """A guard takes the files of `cluster-secrets` as they are, and Redis knows its user by the same password."""
    made = {f"../secrets/{file.name}" for file in secrets.iterdir()}
    assert made == {secret["file"] for secret in CLUSTER["secrets"].values()}
    for guard in GUARDS.values():
        config = configuration(guard["environment"], secrets, SECRETS)
        assert config.admin_token is not None
        user = f"user {config.cluster.user} "
        (line,) = [line for line in (secrets / "users.acl").read_text().splitlines() if line.startswith(user)]
        assert f"#{hashlib.sha256((secrets / 'redis-password').read_bytes()).hexdigest()}" in line.split()


def test_secrets_are_not_replaced(secrets: Path) -> None:
    """`cluster-secrets` leaves a folder alone that is there."""
    before = (secrets / "cluster-secret").read_text()
    assert subprocess.run([DEPLOY / "cluster-secrets", secrets], check=False, capture_output=True).returncode != 0
    assert (secrets / "cluster-secret").read_text() == before
    assert secrets.stat().st_mode & 0o077 == 0


def test_front_sends_what_the_guards_want() -> None:
    """HAProxy knows all guards and their ports, sends a PROXY header, and is whom they believe."""
    front = SERVICES["front"]["networks"]["front"]["ipv4_address"]
    servers = dict(re.findall(r"^    server \S+ ([\w-]+):(\d+)$", HAPROXY, re.MULTILINE))
    assert servers.keys() == GUARDS.keys()
    for name, port in servers.items():
        config = guard_configuration(GUARDS[name])
        (listen,) = config.listen
        assert (listen.address.port, listen.proxy_protocol) == (int(port), True)
        assert [str(network) for network in config.trusted_proxies] == [f"{front}/32"]
        assert f"check port {config.admin.port} " in HAPROXY
        assert config.admin.host == "0.0.0.0"
    assert "send-proxy-v2" in HAPROXY
    (published,) = SERVICES["front"]["ports"]
    assert f"bind :{published.rpartition(':')[2]}\n" in HAPROXY


def test_front_notices_a_guard_that_leaves() -> None:
    """HAProxy has stopped sending clients to a guard before that takes no more."""
    inter, fall = re.findall(r"inter (\d+)s fall (\d+)", HAPROXY)[0]
    for guard in GUARDS.values():
        assert int(inter) * int(fall) < guard_configuration(guard).grace_ns // SECOND
