"""``failover-connector topics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, print_text, read_settings

if TYPE_CHECKING:
    from connector.adapters.kafka_admin import KafkaTopics
    from connector.cli.topics_begin import Begun
    from connector.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Create or verify the connector's topics; begin lanes whose journal was lost."
)


@app.command()
def create(
    config: ConfigFile = DEFAULT_CONFIG,
    grow: Annotated[bool, typer.Option("--grow", help="Give internal topics as many partitions as their input has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create what is missing, with the right settings. What is there is left as it is.

    With --grow, journals and callbacks topics follow an input topic that got more partitions.
    """
    from connector.wiring import topic_plans  # noqa: PLC0415 - keeps --help fast

    settings = read_settings(config)
    plans = topic_plans(settings, shadow=True)
    done = _topics(settings).create(plans, replication_factor=settings.topics.replication_factor, grow=grow)
    if as_json:
        print_json({"created": done.created, "grown": done.grown})
        return
    for word, names in (("created", done.created), ("grown", done.grown)):
        for name in names:
            print_text(f"{word} {name}\n")
    if not done.created and not done.grown:
        print_text(f"all {len(plans)} topics are there\n")


@app.command()
def begin(
    config: ConfigFile = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made and begun.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin at the group's committed offsets where a journal was lost: what was sent, or is in doubt, before them is given up.

    Also for a new group whose offsets were set by hand. Makes missing topics. Lanes with a history are left alone.
    """
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from connector import logs  # noqa: PLC0415 - keeps --help fast
    from connector.cli.topics_begin import begin_lanes, would_begin  # noqa: PLC0415 - keeps --help fast

    logs.configure("warning", "console")
    begun = asyncio.run((would_begin if dry_run else begin_lanes)(read_settings(config)))
    if as_json:
        print_json({"created": begun.created, "lanes": {str(lane): offset for lane, offset in begun.lanes.items()}})
        return
    for name in begun.created:
        print_text(f"{'would create' if dry_run else 'created'} {name}\n")
    for lane, offset in begun.lanes.items():
        print_text(f"{lane} {'would begin' if dry_run else 'begins'} at {offset}\n")
    print_text(f"{_looked(begun)}\n")
    if begun.lanes:
        print_text("nothing was written\n" if dry_run else "restart the workers\n")


def _looked(begun: Begun) -> str:
    """Why the lanes that are not begun are not."""
    lanes = f"{begun.looked} lane{'' if begun.looked == 1 else 's'} looked at"
    known = begun.looked - len(begun.lanes) - begun.uncommitted
    if known == begun.looked:
        return f"{lanes}, all have a history: nothing to begin"
    counts = ((len(begun.lanes), "to begin"), (known, "with a history"), (begun.uncommitted, "without a committed offset"))
    return f"{lanes}: " + ", ".join(f"{count} {words}" for count, words in counts if count)


@app.command()
def verify(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Compare the topics with what the promise needs: partitions, retention, replicas, sizes.

    Exit code 1 when something must be mended; notes alone are 0.
    """
    from connector.adapters.kafka_topics import Severity  # noqa: PLC0415 - keeps --help fast
    from connector.wiring import topic_plans  # noqa: PLC0415 - keeps --help fast

    settings = read_settings(config)
    plans = topic_plans(settings, shadow=True)
    findings = _topics(settings).verify(plans)
    wrong = any(finding.severity is not Severity.NOTE for finding in findings)
    if as_json:
        rows = [{"topic": found.topic, "severity": found.severity.value, "what": found.what, "remedy": found.remedy} for found in findings]
        print_json({"ok": not wrong, "findings": rows})
    else:
        for found in findings:
            print_text(f"{found.severity}: {found}\n")
        if not wrong:
            print_text(f"all {len(plans)} topics are good\n")
    raise typer.Exit(1 if wrong else 0)


def _topics(settings: Settings) -> KafkaTopics:
    from connector import logs  # noqa: PLC0415 - keeps --help fast
    from connector.adapters.kafka_admin import KafkaTopics  # noqa: PLC0415 - keeps --help fast
    from connector.wiring import kafka_options  # noqa: PLC0415 - keeps --help fast

    logs.configure("warning", "console")  # librdkafka says there what it cannot reach
    return KafkaTopics(kafka_options(settings))
