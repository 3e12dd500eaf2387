"""README.md and docs/ say what the product does: generated parts are fresh, and what is written by hand names only what exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.core import TyperGroup

from connector.cli.main import COMMANDS, load
from connector.core.identity import pseudonym
from connector.core.model import Channel, Record
from connector.core.notification import to_notification
from connector.core.request import build
from connector.errors import Unbuildable
from connector.metrics import INSTRUMENTS
from connector.rules_file import load_rules
from connector.settings import FIELDS, Settings, advice, load_settings
from connector.settings.layers import section_of
from connector.unenforced import _RULE_KEYS
from scripts import docs
from scripts.check_chart import render

TEXTS = {name: (docs.ROOT / name).read_text("utf-8") for name in docs.FILES}
README = TEXTS["README.md"]
FENCES = [(match[1], match[2]) for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]
RULES = Path("rules.yaml")


def file_of_readme(name: str) -> str:
    """The file that a fence of the README begins by naming."""
    return next(text for _, text in FENCES if text.startswith(f"# {name}\n"))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of the walk-through."""
    for name in ("connector.yaml", "rules.yaml"):
        (tmp_path / name).write_text(file_of_readme(name), "utf-8")
    return tmp_path


# -------------------------------------------------------------------------------------------------------- generated parts


def test_every_generated_part_is_fresh() -> None:
    """What the docs show of settings, rules, events, metrics and states is what the code has now."""
    assert [path.name for path in docs.stale()] == []


def test_every_generated_part_is_shown_once() -> None:
    """Nothing is written twice, and nothing is generated for nobody."""
    shown = [name for text in TEXTS.values() for name in re.findall(r"<!-- generated: ([a-z-]+) -->", text)]
    assert sorted(shown) == sorted(docs.PARTS)


def test_only_the_text_between_the_marks_is_made_anew() -> None:
    """A stale part is replaced whole, and what is written by hand around it stays."""
    fresh = docs.refreshed("before\n<!-- generated: ten-metrics -->\nold\n<!-- end -->\nafter\n")
    assert fresh.startswith("before\n<!-- generated: ten-metrics -->\n\n| metric |")
    assert fresh.endswith("|\n\n<!-- end -->\nafter\n")
    assert "old\n" not in fresh
    assert docs.refreshed(fresh) == fresh


def test_a_part_that_nobody_knows_is_an_error() -> None:
    """A mistyped mark is found, not left as it is."""
    with pytest.raises(KeyError):
        docs.refreshed("<!-- generated: nothing -->\n<!-- end -->")


def test_cells_keep_their_table() -> None:
    """A bar does not end a cell, and angle brackets are no HTML, in code or outside."""
    assert docs.table(("a",), [("x|y <n>",), ("`<n>`",)]).splitlines()[2:] == ["| x\\|y &lt;n> |", "| `<n>` |"]


def test_every_key_of_a_rule_has_a_meaning() -> None:
    """Whoever writes rules finds for each key what it does, not only what may stand there."""
    assert [line for line in docs.rules().splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


# ------------------------------------------------------------------------------------------------------------------ links


def anchors(text: str) -> set[str]:
    """Names of the headings, as links say them, and of the places that have a name of their own."""
    headings = {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    return headings | set(re.findall(r'<a id="([\w-]+)"></a>', text))


@pytest.mark.parametrize("name", docs.FILES)
def test_every_link_leads_somewhere(name: str) -> None:
    """Each link within the repository names a file that is there, and a heading that is in it."""
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXTS[name]):
        file, _, heading = target.partition("#")
        path = (docs.ROOT / name).parent / file if file else docs.ROOT / name
        if not path.exists() or (heading and heading not in anchors(path.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


# ------------------------------------------------------------------------------------------------------------------ names


def test_every_command_exists() -> None:
    """A command line that the docs show is one that the program takes, with these options."""
    pattern = re.compile(r"(?:^|[`$] ?)failover-connector ([a-z-]+(?: [a-z-]+)*)", re.MULTILINE)
    lines = {line for text in TEXTS.values() for line in pattern.findall(text)}
    assert [line for line in lines if not taken(line.split())] == []
    assert {"check", "run", "topics create", "topics verify", "simulate --time-scale"} <= lines


def taken(words: list[str]) -> bool:
    """Whether the command line has this command, and the command these options."""
    if words[0] not in COMMANDS:
        return False
    command: typer.core.TyperCommand | TyperGroup | None = load(words[0])
    rest = words[1:]
    if isinstance(command, TyperGroup):
        command = command.commands.get(rest[0]) if rest else None  # type: ignore[assignment]
        rest = rest[1:]
    return command is not None and {word for word in rest if word.startswith("-")} <= {opt for p in command.params for opt in p.opts}


def test_every_metric_exists() -> None:
    """A metric that the docs name is one that is scraped."""
    known = {instrument.name for instrument in INSTRUMENTS}
    named = {name for text in TEXTS.values() for name in re.findall(r"\bfailover_[a-z_]+", text)}
    assert named - known == set()


def paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Dotted names of all settings and sections."""
    for name, info in model.model_fields.items():
        yield above + name
        section = section_of(info)
        if section:
            yield from paths(section, f"{above}{name}.")


def test_every_setting_exists() -> None:
    """A setting that the docs name in code, as in `lane.lease`, is one that can be set."""
    known = set(paths(Settings))
    sections = "|".join(sorted(name for name in Settings.model_fields if section_of(Settings.model_fields[name])))
    pattern = re.compile(rf"`((?:{sections})\.[a-z_.]+)[`:]")
    named = {name for text in TEXTS.values() for name in pattern.findall(text)}
    assert [name for name in named if name not in known and name.removesuffix("_file") not in known] == []
    assert len(named) > len(known) / 2


def test_every_field_that_can_be_mapped_is_named() -> None:
    """Whoever maps a shape of their own finds all names in the page of events."""
    mapping = TEXTS["docs/events.md"].partition("**Another shape**")[2].partition("\n\n")[0]
    assert [name for name in FIELDS if f"`{name}`" not in mapping] == []


def test_what_is_refused_is_named() -> None:
    """The keys of a rule that this release refuses are those that the page of rules calls refused."""
    refused = TEXTS["docs/rules.md"].partition("**Refused in this release**")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`([a-z_]+)`", refused)) == sorted(_RULE_KEYS)


# ------------------------------------------------------------------------------------------------------------ walk-through


def test_the_walk_through_passes_check(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's two files are good, without a warning, and of the version it prints."""
    monkeypatch.chdir(shop)
    settings = load_settings(Path("connector.yaml"), {})
    table, warnings = load_rules(settings.rules, {})
    assert (advice(settings, "connector.yaml"), warnings) == ((), ())
    assert f"1 rules, version {table.version}: good" in README


def test_the_walk_through_ends_as_told(shop: Path) -> None:
    """Its three events are sent, refused for the missing order number, and met by no rule; the phone's hash is the one shown."""
    settings = load_settings(shop / "connector.yaml", {})
    table, _ = load_rules(settings.rules, {})
    produced = next(text for _, text in FENCES if "kafka-console-producer" in text)
    lines = re.findall(r"^(c-\d+)\|(.+)$", produced, re.MULTILINE)
    records = [Record("shop-events", 0, n, 1_700_000_000_000, key.encode(), value.encode()) for n, (key, value) in enumerate(lines)]
    sent, refused, unrouted = (to_notification(record, orjson.loads(record.value or b""), settings.fields) for record in records)
    (rule,) = table.route(sent)
    request = build(sent, rule, "flow.1", None)
    assert request.channels == (Channel.VIBER, Channel.SMS)
    assert pseudonym(settings.pepper, request.recipient.encode()).hex() in README
    with pytest.raises(Unbuildable) as error:
        build(refused, rule, "flow.1", None)
    assert f'"detail": "{error.value.detail} (at {error.value.path})"' in README
    assert table.route(unrouted) == ()


def test_the_settings_of_the_quick_start_are_good(tmp_path: Path) -> None:
    """The least connector.yaml for the real Routee lacks nothing but its secrets' files."""
    text = next(text for kind, text in FENCES if kind == "yaml" and "broker-1:9092" in text)
    (tmp_path / "connector.yaml").write_text(text, "utf-8")
    for name in ("routee-secret", "callback-keys", "pepper"):
        (tmp_path / name).write_text("0123456789abcdef" * 4, "utf-8")
    assert load_settings(tmp_path / "connector.yaml", {}).callbacks.public_url == "https://hooks.example.com"


def test_the_values_of_the_quick_start_render() -> None:
    """The README's values.yaml is one that the chart takes, with the rules given beside it."""
    values = yaml.safe_load(file_of_readme("values.yaml")) | {"rules": {"rules.yaml": file_of_readme("rules.yaml")}}
    assert any("kind: Deployment" in manifest for manifest in render(values).values())
