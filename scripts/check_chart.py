"""Lint the Helm chart, render it with each of its ci/*-values.yaml, and validate what comes out against Kubernetes' own schemas; offline.

``check_chart.py`` checks all; ``check_chart.py FILE`` prints the manifests of one values file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

CHART = Path(__file__).resolve().parent.parent / "deploy/helm/failover-connector"
KUBERNETES = "1.30.0"
WARNING = 2
FOREIGN = "monitoring.coreos.com/"  # kinds of operators are in no schema of Kubernetes


def render(values: dict[str, Any]) -> dict[str, str]:
    """Manifests by template, NOTES.txt included; raises HelmError."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        return chart.render(values, name="demo", namespace="messaging", is_install=True)


def manifests(rendered: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kubernetes objects, each with the template it came from."""
    for template, text in rendered.items():
        if template.endswith(".yaml"):
            yield from ((template, document) for document in yaml.safe_load_all(text) if document)


def troubles(file: Path) -> Iterator[str]:
    """What lint, rendering and validation find with one values file."""
    values = yaml.safe_load(file.read_text())
    for message in helm.lint(CHART, values, strict=True)["messages"]:
        if message["severity"] >= WARNING:
            yield f"{file.name}: lint: {message['path']}: {message['error']}"
    try:
        rendered = render(values)
    except helm.HelmError as error:
        yield f"{file.name}: {error}"
        return
    for template, manifest in manifests(rendered):
        if manifest["apiVersion"].startswith(FOREIGN):
            continue
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            yield f"{file.name}: {template}: {manifest['kind']}: {where}: {error.message}"


def main(files: list[str]) -> int:
    """Exit code."""
    if files:
        print(
            "\n---\n".join(
                yaml.safe_dump(manifest) for file in files for _, manifest in manifests(render(yaml.safe_load(Path(file).read_text())))
            )
        )
        return 0
    checked = sorted(CHART.glob("ci/*-values.yaml"))
    found = [trouble for file in checked for trouble in troubles(file)]
    print("\n".join(found) or f"chart: linted and validated with {len(checked)} sets of values")
    return 1 if found or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
