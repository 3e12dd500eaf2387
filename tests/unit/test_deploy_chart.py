"""The Helm chart, rendered with its own example values: what comes out fits together, and the connector accepts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector import __version__
from connector.errors import ConfigError
from connector.rules_file import load_rules
from connector.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/failover-connector"
VALUES = sorted(CHART.glob("ci/*-values.yaml"))
SECRET_FILES = ("application-secret", "otp-application-secret", "pepper", "callback-secrets", "sasl-password")

Manifest = Mapping[str, Any]


def render(values: Path) -> subprocess.CompletedProcess[str]:
    """The chart's manifests, by a process of its own: Helm's library is a whole Go runtime."""
    script = ROOT / "scripts/check_chart.py"
    return subprocess.run([sys.executable, str(script), str(values)], check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module", params=VALUES, ids=lambda path: path.stem)
def manifests(request: pytest.FixtureRequest) -> Sequence[Manifest]:
    """All objects of one set of values."""
    result = render(request.param)
    assert result.returncode == 0, result.stderr
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Objects of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Pod templates of everything that runs."""
    return [manifest["spec"]["template"] for manifest in manifests if manifest["kind"] in ("Deployment", "Job")]


def test_the_connector_accepts_the_rendered_settings(manifests: Sequence[Manifest], tmp_path: Path) -> None:
    """Settings and secrets' files as the chart writes and mounts them are a good start."""
    for name in SECRET_FILES:
        (tmp_path / name).write_text("a-made-up-value-of-more-than-thirty-two-bytes\n")
    for config in of_kind(manifests, "ConfigMap"):
        if text := config["data"].get("connector.yaml"):
            file = tmp_path / "connector.yaml"
            file.write_text(text.replace("/etc/failover/secrets", str(tmp_path)))
            settings = load_settings(file, {})
            assert settings.rules == Path("/etc/failover/rules")


def test_the_connector_accepts_the_rendered_rules(manifests: Sequence[Manifest], tmp_path: Path) -> None:
    """Rules are read from a mounted ConfigMap as Kubernetes lays it out: links over a hidden folder, each file once."""
    for rules in of_kind(manifests, "ConfigMap"):
        if "connector.yaml" in rules["data"]:
            continue
        folder = tmp_path / rules["metadata"]["name"]
        (folder / "..2026_01_01").mkdir(parents=True)
        (folder / "..data").symlink_to("..2026_01_01")
        for name, text in rules["data"].items():
            (folder / "..data" / name).write_text(text)
            (folder / name).symlink_to(f"..data/{name}")
        load_rules(folder, {})


def test_config_maps_hold_no_secret(manifests: Sequence[Manifest]) -> None:
    """Nothing that stands in a Secret stands in a ConfigMap too."""
    secrets = [value for secret in of_kind(manifests, "Secret") for value in secret["stringData"].values()]
    public = yaml.safe_dump(of_kind(manifests, "ConfigMap"))
    assert not [value for value in secrets for line in value.splitlines() if line in public]


def test_services_reach_pods(manifests: Sequence[Manifest]) -> None:
    """Each Service selects a pod that has its port, and each Ingress leads to such a Service."""
    for service in of_kind(manifests, "Service"):
        port = service["spec"]["ports"][0]["targetPort"]
        chosen = [
            container
            for pod in pods(of_kind(manifests, "Deployment"))
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            for container in pod["spec"]["containers"]
        ]
        assert port in {named["name"] for container in chosen for named in container["ports"]}
    services = {service["metadata"]["name"] for service in of_kind(manifests, "Service")}
    for ingress in of_kind(manifests, "Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            assert path["backend"]["service"]["name"] in services


def test_pods_have_no_rights_they_do_not_need(manifests: Sequence[Manifest]) -> None:
    """Not root, nothing to write but /tmp, no capability, no token of the cluster."""
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_disruption_budgets_guard_deployments(manifests: Sequence[Manifest]) -> None:
    """Each budget selects exactly one Deployment's pods, and lets at least one pod go, so that a node can be drained."""
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        assert len([pod for pod in pods(of_kind(manifests, "Deployment")) if wanted <= pod["metadata"]["labels"].items()]) == 1
        assert budget["spec"]["maxUnavailable"] != 0


def test_one_version() -> None:
    """Chart and package are released together."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"config": {"shutdown": {"grace": "1m"}}}, "must be longer than config.shutdown.grace"),
        ({"config": {"routee": {"application_id": "5c0e", "application_secret": "oops"}}}, "config/routee"),
        ({"rulesConfigMap": ""}, "give rules"),
        ({"secrets": {"applicationSecret": "s"}}, "set secrets.pepper"),
        ({"receiver": {"enabled": True}}, "receiver.enabled needs config.callbacks.public_url"),
        ({"worker": {"replicaCount": 3}}, "replicaCount"),
    ],
)
def test_wrong_values_are_refused(change: Mapping[str, object], complaint: str, tmp_path: Path) -> None:
    """Values that cannot work stop the installation, with a text that names them."""
    values = yaml.safe_load((CHART / "ci/minimal-values.yaml").read_text())
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({**values, **change}))
    result = render(file)
    assert result.returncode != 0
    assert complaint in result.stderr


def test_settings_that_cannot_start_are_seen(tmp_path: Path) -> None:
    """The check above can fail: an unknown key in the rendered settings would be refused."""
    file = tmp_path / "connector.yaml"
    file.write_text("kafkaa: {}\n")
    with pytest.raises(ConfigError):
        load_settings(file, {})
