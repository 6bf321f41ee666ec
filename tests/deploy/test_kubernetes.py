"""The manifests for Kubernetes: right by its schemas, and by what those cannot know."""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import kubernetes_validate
import pytest
import yaml

from fastpath import Region
from models.coldness import Coldness
from proxy.admin.access import OPEN_PATHS
from proxy.budget_watch import BudgetWatch
from proxy.config import Config, ConfigError
from proxy.policy.budgets import Tables
from proxy.telemetry.metrics import NodeMetrics
from tests.deploy.container import (
    DEPLOY,
    IMAGE_NAME,
    MIB,
    bytes_needed,
    configuration,
    image_user,
    seconds_to_stop,
)

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.warden import Warden

Manifest = dict[str, Any]

KUBERNETES = kubernetes_validate.latest_version()
FOLDER = DEPLOY / "kubernetes"
VALUES = "prometheus-adapter-values.yaml"  # of a Helm chart: nothing that Kubernetes knows
MANIFESTS: list[Manifest] = [
    manifest
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != VALUES
    for manifest in yaml.safe_load_all(path.read_text())
]
BY_KIND = {manifest["kind"]: manifest for manifest in MANIFESTS}
POD = BY_KIND["Deployment"]["spec"]["template"]
SPEC = POD["spec"]
(CONTAINER,) = SPEC["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


class Bans:
    """The part of a warden that is counted."""

    in_force: ClassVar = Counter[str]()
    offences: ClassVar = Counter[int]()


def environment() -> dict[str, str]:
    """Return what the container gets from the ConfigMap, and from its own name."""
    (source,) = CONTAINER["envFrom"]
    assert source["configMapRef"]["name"] == BY_KIND["ConfigMap"]["metadata"]["name"]
    own = {each["name"]: "hkpguard-5d8c7b9f6d-x2x7k" for each in CONTAINER["env"]}
    return BY_KIND["ConfigMap"]["data"] | own


def guard_configuration() -> Config:
    """Return the configuration of a pod."""
    return configuration(environment())


def mounted(name: str) -> str:
    """Return where a volume is."""
    (path,) = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] == name]
    return path


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_manifest_is_right_by_the_schema(manifest: Manifest) -> None:
    """Each manifest is what the API of the newest Kubernetes takes, without a field that it does not know."""
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_schema_tells_a_wrong_manifest() -> None:
    """A misspelt field is an error: the schema is really asked."""
    wrong = copy.deepcopy(BY_KIND["Deployment"])
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_everything_is_there_once() -> None:
    """There is one manifest of each kind that an operator expects."""
    expected = ["ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"]
    assert sorted(manifest["kind"] for manifest in MANIFESTS) == [*expected, "Secret", "Service"]


def test_settings_exist_and_fit() -> None:
    """The environment of a pod is a configuration of a node with a store, that a probe can reach."""
    config = guard_configuration()
    assert config.redis_url is not None
    assert config.admin.host == "0.0.0.0"
    assert "HKPGUARD_WORKERS" in environment()


def test_variables_of_services_would_stop_a_guard() -> None:
    """What Kubernetes adds to the environment for a Service of this name is no setting, so it must not be added."""
    with pytest.raises(ConfigError, match="HKPGUARD_PORT"):
        configuration(environment() | {"HKPGUARD_PORT": "tcp://10.0.0.1:11371"})
    assert SPEC["enableServiceLinks"] is False


def test_image_is_ours() -> None:
    """The container runs what the Dockerfile builds, as the user that it is made for."""
    assert CONTAINER["image"].partition(":")[0] == IMAGE_NAME
    assert SPEC["securityContext"]["runAsUser"] == image_user()
    assert SPEC["securityContext"]["fsGroup"] == image_user()


def test_container_is_confined() -> None:
    """It is not root, gets no rights, and writes to nothing but its state."""
    assert SPEC["securityContext"]["runAsNonRoot"] is True
    assert SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert SPEC["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [guard_configuration().state_dir]


def test_ports_are_those_that_the_guard_listens_on() -> None:
    """Container, Service, probes and NetworkPolicy mean the same two ports."""
    config = guard_configuration()
    assert PORTS["hkp"] == config.listen[0].address.port
    assert PORTS["admin"] == config.admin.port
    assert {port["targetPort"] for port in BY_KIND["Service"]["spec"]["ports"]} == {"hkp"}
    probes = [CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {probe["port"] for probe in probes} == {"admin"}
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    assert {probe["path"] for probe in probes} <= OPEN_PATHS
    ingress = BY_KIND["NetworkPolicy"]["spec"]["ingress"]
    assert [[port["port"] for port in rule["ports"]] for rule in ingress] == [["hkp"], ["admin"]]
    assert "from" in ingress[1]


def test_guards_may_reach_what_they_need() -> None:
    """The NetworkPolicy lets a pod ask the keyserver, Redis and the names of both."""
    config = guard_configuration()
    assert config.redis_url is not None
    allowed = {port["port"] for rule in BY_KIND["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]}
    assert allowed == {config.upstream[0].port, config.redis_url.hosts[0].port, 53}


def test_selectors_find_the_pods() -> None:
    """All that selects pods selects these, and the autoscaler scales the Deployment."""
    (spread,) = SPEC["topologySpreadConstraints"]
    selectors = [
        BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"],
        BY_KIND["Service"]["spec"]["selector"],
        BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    assert all(selector == POD["metadata"]["labels"] for selector in selectors)
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", BY_KIND["Deployment"]["metadata"]["name"])


def test_autoscaler_alone_says_how_many() -> None:
    """The Deployment names no number that would contradict it, and a disruption leaves at least one guard."""
    assert "replicas" not in BY_KIND["Deployment"]["spec"]
    fewest = BY_KIND["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert fewest > BY_KIND["PodDisruptionBudget"]["spec"]["maxUnavailable"]


def test_autoscaler_asks_for_a_metric_that_we_have() -> None:
    """The metric is in the exposition, the adapter makes it, and pods are added before they refuse connections."""
    pods, cpu = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = pods["pods"]["metric"]["name"]
    (rule,) = yaml.safe_load((FOLDER / VALUES).read_text())["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == name
    assert name in gauges()
    config = guard_configuration()
    room = config.workers * config.connections
    assert 0.25 * room < int(pods["pods"]["target"]["averageValue"].replace("k", "000")) < 0.75 * room
    assert cpu["resource"]["name"] in CONTAINER["resources"]["requests"]  # else its share is unknown


def gauges() -> set[str]:
    """Return the names of the gauges of a node."""
    region = Region.create(clients=1024, workers=2, upstreams=1)
    try:
        watch = BudgetWatch(Config.from_env({}), Tables.of(region).buckets)
        metrics = NodeMetrics(region, cast("Warden", Bans()), Coldness(region.secret), watch)
        return {metric.name for metric in metrics.collect() if metric.type == "gauge"}
    finally:
        region.close()


def test_pod_may_stop_in_peace() -> None:
    """Kubernetes kills no guard that may still have requests in flight."""
    assert SPEC["terminationGracePeriodSeconds"] >= seconds_to_stop(guard_configuration())


def test_pod_has_the_memory_that_it_may_need() -> None:
    """Tables that are full and uploads that are being read do not get a guard killed."""
    limit = CONTAINER["resources"]["limits"]["memory"]
    assert limit == "1Gi"
    assert bytes_needed(guard_configuration()) <= 1024 * MIB


def test_secrets_are_files_of_the_example() -> None:
    """The Secret has each file that a setting names, and no setting holds a secret."""
    secret = BY_KIND["Secret"]
    (volume,) = [volume for volume in SPEC["volumes"] if volume["name"] == "secrets"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    named = re.findall(rf"{mounted('secrets')}/([\w.-]+)", " ".join(environment().values()))
    assert set(named) == secret["stringData"].keys()


def test_example_has_no_secret_and_starts_no_guard(tmp_path: Path) -> None:
    """Who forgets to fill in the Secret is told, for each of its values."""
    for name, text in BY_KIND["Secret"]["stringData"].items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as refused:
        configuration(environment(), tmp_path, mounted("secrets"))
    faults = {fault.name.partition(" in ")[0] for fault in refused.value.faults}
    assert faults == {"HKPGUARD_CLUSTER__SECRET_FILE", "HKPGUARD_CLUSTER__PASSWORD_FILE", "admin_token"}
