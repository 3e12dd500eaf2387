"""The command line as a user meets it: exit codes, results on stdout, errors with their place on stderr, never a stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connector import __version__
from connector.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy/local"


def connector(*arguments: str, folder: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m connector``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTOR_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "connector", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the example's settings and rules."""
    for name in ("connector.yaml", "rules.yaml"):
        shutil.copy(LOCAL / name, tmp_path)
    return tmp_path


def test_help_lists_every_command_with_its_meaning() -> None:
    """``--help`` is the map of the commands."""
    answer = connector("--help")
    assert answer.returncode == 0
    assert answer.stderr == ""
    for name, entry in COMMANDS.items():
        assert f" {name} " in answer.stdout
        assert entry.summary in answer.stdout


def test_help_loads_no_command() -> None:
    """A command's libraries are imported when it is called, so that ``--help`` and completion stay fast."""
    heavy = ("pydantic", "confluent_kafka", "starlette", "uvicorn", "minijinja", "phonenumbers", "fastavro", "httpx", "prometheus_client")
    code = f"import sys; from connector.cli.main import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_version_is_printed() -> None:
    """``--version`` says which release runs."""
    answer = connector("--version")
    assert (answer.returncode, answer.stdout) == (0, f"failover-connector {__version__}\n")


@pytest.mark.parametrize("arguments", [["chek"], ["check", "--wrong"], [], ["topics"], ["schema", "everything"], ["run", "--role", "king"]])
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    """A typing error is told from a failure; nothing goes to stdout but help that was not asked for."""
    answer = connector(*arguments)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_a_near_miss_is_guessed() -> None:
    """An unknown command names the one that was meant."""
    assert "Did you mean 'check'" in connector("chek").stderr


def test_check_says_what_it_understood(place: Path) -> None:
    """The example is good: one line per rule, inferred words marked, exit code 0."""
    answer = connector("check", folder=place)
    assert (answer.returncode, "Traceback" in answer.stderr) == (0, False)
    lines = answer.stdout.splitlines()
    assert lines[0].split()[:3] == ["RULE", "SEND", "CLASS"]
    assert any("(inferred)" in line for line in lines)
    assert lines[-1].endswith(": good")


def test_check_prints_json(place: Path) -> None:
    """``--json`` gives the same as data."""
    answer = connector("check", "--json", folder=place)
    told = json.loads(answer.stdout)
    assert (answer.returncode, told["ok"], told["problems"]) == (0, True, [])
    assert {rule["send"] for rule in told["rules"]} <= {"standard", "transactional", "otp"}
    assert all(rule["where"].startswith("rules.yaml:") for rule in told["rules"])


def test_check_shows_errors_of_settings_and_rules_together(place: Path) -> None:
    """All that is wrong in one run, each with its place and a hint, exit code 2, no stack."""
    with (place / "connector.yaml").open("a") as file:
        file.write("\nlane: {leese: 3s}\n")
    with (place / "rules.yaml").open("a") as file:
        file.write("\n  - name: broken\n    match: {type: x}\n    steps: [{sms: {from: ACME}}]\n")
    answer = connector("check", folder=place, CONNECTOR_LOG__LEVEL="loud")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "`lane.leese` is no setting\n    hint: did you mean `lease`?" in answer.stderr
    assert "CONNECTOR_LOG__LEVEL: `log.level` must be" in answer.stderr
    assert "rules.yaml:" in answer.stderr
    assert "Traceback" not in answer.stderr
    told = connector("check", "--json", folder=place)
    assert told.returncode == 2
    places = {problem["where"].split(":")[0] for problem in json.loads(told.stdout)["problems"]}
    assert places == {"connector.yaml", "rules.yaml"}


@pytest.mark.parametrize("settings_are_wrong", [False, True])
def test_check_reads_the_variables_that_run_reads(place: Path, settings_are_wrong: bool) -> None:
    """``env.RULE_…`` is set for ``check`` as it is for ``run``: its absence is told, its presence is not."""
    with (place / "rules.yaml").open("a") as file:
        file.write('\n  - name: branded\n    match: {type: branded}\n    steps: [{sms: {from: "{{ env.RULE_BRAND }}", body: Hello}}]\n')
    if settings_are_wrong:
        with (place / "connector.yaml").open("a") as file:
            file.write("\nwrong: 1\n")
    assert "env.RULE_BRAND is not set" in connector("check", folder=place).stderr
    set_ = connector("check", folder=place, RULE_BRAND="ACME")
    assert "RULE_BRAND" not in set_.stderr
    assert set_.returncode == (2 if settings_are_wrong else 0), set_.stderr


def test_check_refuses_a_flow_longer_than_the_memory_of_its_event(place: Path) -> None:
    """A repeat of an event that is forgotten while its message is still tried could be sent twice."""
    answer = connector(
        "check", folder=place, CONNECTOR_LANE__DEDUP_WINDOW="4h", CONNECTOR_EXPIRY__MARKETING="2h", CONNECTOR_EXPIRY__TRANSACTIONAL="2h"
    )
    assert answer.returncode == 2
    assert "which is too long for lane.dedup_window\n    hint: shorten its ttl, or set lane.dedup_window above" in answer.stderr


def test_an_ingress_without_a_public_url_is_refused(place: Path) -> None:
    """It would have nothing to do: better said at once than found out by silence."""
    answer = connector("run", "--role", "ingress", folder=place, CONNECTOR_CALLBACKS__PUBLIC_URL="null")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "callbacks.public_url: must be set for --role ingress" in answer.stderr


@pytest.mark.parametrize("command", [["check"], ["run"], ["topics", "verify"], ["topics", "create"]])
def test_a_missing_settings_file_is_exit_code_2(command: list[str], tmp_path: Path) -> None:
    """Every command that needs settings says so in the same words."""
    answer = connector(*command, folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "connector.yaml: cannot be read: No such file or directory\n    hint: name another file with --config FILE\n"


def test_another_settings_file_is_named_by_option(place: Path) -> None:
    """``--config`` works from anywhere; paths in the file stay relative to the file."""
    answer = connector("check", "--config", str(place / "connector.yaml"))
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("name", ["settings", "rules"])
def test_schemas_are_printed(name: str) -> None:
    """Editors and CI get JSON Schema on stdout."""
    answer = connector("schema", name)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
