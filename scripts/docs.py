"""Write the generated parts of README.md and docs/ from what they describe; with --check only say which of them are stale.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; what is outside is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from connector.cli.schema_asyncapi import asyncapi
from connector.cli.schema_openapi import openapi
from connector.core.moves import TRANSITIONS, State
from connector.core.reasons import tables
from connector.core.words import status_table_markdown
from connector.logs import EVENTS
from connector.metrics import markdown_table
from connector.rules_file import rules_json_schema
from connector.settings import Settings, settings_json_schema
from tests.mutants.patches import load
from tests.mutants.patches import table as planted_bugs

ROOT: Final = Path(__file__).resolve().parent.parent
FILES: Final = (
    "README.md",
    "tests/README.md",
    *(f"docs/{name}.md" for name in ("events", "how-it-works", "metrics", "reasons", "rules", "settings")),
)
TEN: Final = (
    *("oldest_waiting_seconds", "sends_total", "send_seconds", "provider_seconds", "breaker_state"),
    *("doubts", "oldest_doubt_seconds", "double_accepts_total", "dead_letters_total", "lanes"),
)
"""The metrics of the README."""
STEPS: Final = {"sms": "Sms", "viber": "Viber", "viber with a template": "ViberTemplate", "viber_otp": "ViberOtp", "voice": "Voice"}

_PART: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
_WRITTEN: Final = re.compile(r'(?:\blog\.\w+\(|_LOG\.\w+\(|_retry\(|"event": )\s*"([a-z_]+)"')
_TEXT: Final = "a text; {{ … }} reads the event"
Schema = Mapping[str, Any]


def main(arguments: list[str]) -> int:
    """Exit code 1 when ``--check`` finds a stale part."""
    old = stale()
    if "--check" not in arguments:
        for path, text in old.items():
            path.write_text(text, "utf-8")
            print(f"written: {path.relative_to(ROOT)}")
        return 0
    for path in old:
        print(f"{path.relative_to(ROOT)} is stale; run: python scripts/docs.py")
    count = len(FILES) + len(WHOLE)
    print(f"docs: {count - len(old)} of {count} files fresh")
    return 1 if old else 0


def stale() -> dict[Path, str]:
    """Each file that is generated, or whose generated parts are, and is not what it should be; with its right text."""
    paths = [ROOT / name for name in FILES]
    parts = {path: fresh for path in paths if (fresh := refreshed(text := path.read_text("utf-8"))) != text}
    whole = {ROOT / name: make() for name, make in WHOLE.items()}
    return parts | {path: text for path, text in whole.items() if not path.exists() or path.read_text("utf-8") != text}


def refreshed(text: str) -> str:
    """The text with every generated part made anew. Raises KeyError for a part that nobody knows."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]().strip()}\n\n{part[4]}", text)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Bars would end the cell, and ``<name>`` would be taken for HTML where it is not code."""
    escaped = text.replace("|", "\\|")
    return escaped if "`" in escaped else escaped.replace("<", "&lt;")


# --------------------------------------------------------------------------------------------------------------- settings


def settings() -> str:
    """One table per section; single settings of the root come first."""
    schema = settings_json_schema()
    sections = {name: _target(schema, entry) for name, entry in schema["properties"].items()}
    singles = {name: entry for name, entry in schema["properties"].items() if sections[name] is None}
    parts = [table(("setting", "default", "meaning"), _settings("", {**schema, "properties": singles}, schema))]
    for name, section in sections.items():
        if section is not None:
            said = schema["properties"][name].get("description", section["description"]).removesuffix(".")
            parts.append(f"### {name}\n\n{said[0].upper()}{said[1:]}.\n")
            parts.append(table(("setting", "default", "meaning"), _settings(f"{name}.", section, schema)))
    return "\n".join(parts)


def _settings(prefix: str, section: Schema, root: Schema) -> Iterator[tuple[str, str, str]]:
    properties = section["properties"]
    for name, entry in properties.items():
        inner = _target(root, entry)
        if inner is not None:
            yield from _settings(f"{prefix}{name}.", inner, root)
        elif not _is_file_of_secret(name, properties):
            meaning = entry.get("description", "") + _words(entry)
            if f"{name}_file" in properties and f"{name}_file" not in meaning:
                meaning += f"; also as `{name}_file`"
            yield f"`{prefix}{name}`", f"`{_plain(entry['default'])}`" if "default" in entry else "**required**", meaning


def _is_file_of_secret(name: str, properties: Schema) -> bool:
    return name.endswith("_file") and name.removesuffix("_file") in properties


def _target(root: Schema, entry: Schema) -> Schema | None:
    """The section that a property holds; None for a plain setting."""
    found = root["$defs"].get(entry.get("$ref", "").rpartition("/")[2])
    return found if found and "properties" in found else None


def _words(entry: Schema) -> str:
    """A closed list of words, unless the description says them all."""
    words = entry.get("enum", ())
    missing = any(word not in entry.get("description", "") for word in words)
    return " (" + ", ".join(f"`{word}`" for word in words) + ")" if missing else ""


def _plain(value: object) -> str:
    """A value as YAML's flow style has it."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


# ------------------------------------------------------------------------------------------------------------------ rules


def rules() -> str:
    """One table for the rule, one for each kind of step."""
    schema = rules_json_schema()
    names = {"rule": "RuleDoc", **STEPS}
    return "\n".join(f"### {name}\n\n" + _rule_keys(schema, schema["$defs"][model]) for name, model in names.items())


def _rule_keys(root: Schema, model: Schema) -> str:
    required = set(model.get("required", ()))
    return table(
        ("key", "value", "meaning"),
        (
            (f"`{key}`" + (" **required**" if key in required else ""), _value(root, entry), _meaning(entry))
            for key, entry in model["properties"].items()
        ),
    )


def _meaning(entry: Schema) -> str:
    described = str(entry.get("description", ""))
    return "" if described == _TEXT else f"`{described}`" if "{" in described else described


def _value(root: Schema, entry: Schema) -> str:
    """What may stand there, in a few words."""
    for choice in ("oneOf", "anyOf"):
        if choice in entry:
            return " or ".join(_value(root, one) for one in entry[choice])
    if "$ref" in entry:
        model = root["$defs"][entry["$ref"].rpartition("/")[2]]
        return "`{" + ", ".join(model.get("properties", {})) + "}`"
    if "enum" in entry:
        return ", ".join(f"`{word}`" for word in entry["enum"])
    if entry.get("type") == "array":
        return "list of " + _value(root, entry["items"])
    if "90s" in entry.get("examples", ()):
        return "duration"
    names = {"string": "text", "integer": "number", "boolean": "true, false", "object": "mapping"}
    kinds = entry.get("type", "anything")
    return " or ".join(names.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


# ----------------------------------------------------------------------------------------------------------------- events


def event(name: str) -> Callable[[], str]:
    """The fields of one of avro/*.avsc."""

    def part() -> str:
        schema = json.loads((ROOT / "avro" / f"{name}.avsc").read_text("utf-8"))
        return table(("field", "type", "meaning"), _fields("", schema))

    return part


def _fields(prefix: str, record: Schema) -> Iterator[tuple[str, str, str]]:
    for field in record["fields"]:
        kind, nullable = _avro(field["type"])
        inner = _record(field["type"])
        words = "list" if inner and kind == "array" else kind
        name = prefix + field["name"] + ("[]" if inner and kind == "array" else "")
        yield f"`{name}`", words + (", null" if nullable else ""), field["doc"]
        if inner:
            yield from _fields(f"{name}.", inner)


def _avro(kind: Any) -> tuple[str, bool]:  # noqa: ANN401 - an Avro schema is a text, a list or a mapping
    """A type's name, and whether it may be null."""
    if isinstance(kind, list):
        names = [_avro(one)[0] for one in kind if one != "null"]
        return " or ".join(names), "null" in kind
    if isinstance(kind, str):
        return kind, False
    logical = {"timestamp-micros": "time", "decimal": "decimal"}.get(kind.get("logicalType", ""))
    return logical or {"record": "object", "map": "map"}.get(kind["type"], kind["type"]), False


def _record(kind: Any) -> Schema | None:  # noqa: ANN401 - as above
    """The record inside a type, if there is one."""
    if isinstance(kind, list):
        return next((found for one in kind if (found := _record(one))), None)
    if not isinstance(kind, dict):
        return None
    if kind["type"] == "array":
        return _record(kind["items"])
    return kind if kind["type"] == "record" else None


# ------------------------------------------------------------------------------------------------------------- everything


def ten_metrics() -> str:
    """Those that matter most, in the order of ``TEN``."""
    head, rule, *lines = markdown_table().splitlines()
    rows = {line.split("`")[1]: line for line in lines}
    return "\n".join([head, rule, *(rows[f"failover_{name}"] for name in TEN)])


def log_events() -> str:
    """Every event that some line of the code writes; names that wait for their line are left out."""
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "connector").rglob("*.py")))
    written = set(_WRITTEN.findall(source))
    return table(("event", "meaning"), ((f"`{name}`", meaning.replace("``", "`")) for name, meaning in EVENTS.items() if name in written))


def reasons() -> str:
    """One table for each kind of reason code."""
    head = ("code", "meaning", "what to do")
    return "\n".join(
        f"## {title}\n\n" + table(head, ((f"`{code}`", row.says, row.remedy or "–") for code, row in rows.items()))
        for title, rows in tables()
    )


def transitions() -> str:
    """The send decision as a Mermaid flowchart. States with the same moves stand in one box; moves from a state to itself are left out."""
    alike = [list(states) for _, states in groupby(sorted(TRANSITIONS, key=_moves), key=_moves)]
    boxes = {state: f"box{number}" for number, states in enumerate(alike) if len(states) > 1 and TRANSITIONS[states[0]] for state in states}
    lines = ["```mermaid", "flowchart LR"]
    for states in alike:
        if states[0] in boxes:
            lines += [f"  subgraph {boxes[states[0]]}[ ]", *(f"    {state.name}" for state in sorted(states)), "  end"]
    for source in sorted(states[0] for states in alike):
        for target, words in _by_target(source):
            if not (target is source or (source in boxes and boxes.get(target) == boxes[source])):
                lines.append(f'  {boxes.get(source, source.name)} -->|"{", ".join(words)}"| {target.name}')
    return "\n".join([*lines, "```"])


def _moves(state: State) -> list[tuple[str, State]]:
    return sorted(TRANSITIONS[state].items())


def _by_target(source: State) -> Iterator[tuple[State, list[str]]]:
    targets = sorted(set(TRANSITIONS[source].values()))
    return ((target, [word for word, found in TRANSITIONS[source].items() if found is target]) for target in targets)


def topics_document() -> str:
    """The AsyncAPI document of a connector with the default settings."""
    nobody = {"application_id": "nobody", "application_secret": "nothing"}
    defaults = Settings.model_validate({"routee": nobody, "privacy": {"pepper": "of nobody, for no phone"}})
    return json.dumps(asyncapi(defaults), indent=2, ensure_ascii=False) + "\n"


def port_document() -> str:
    """The OpenAPI document of the public port."""
    return json.dumps(openapi(), indent=2, ensure_ascii=False) + "\n"


WHOLE: Final[Mapping[str, Callable[[], str]]] = {"docs/asyncapi.json": topics_document, "docs/openapi.json": port_document}

PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings,
    "rules": rules,
    "notification": event("notification"),
    "send-event": event("send"),
    "status-event": event("status"),
    "metrics": markdown_table,
    "ten-metrics": ten_metrics,
    "log-events": log_events,
    "reasons": reasons,
    "transitions": transitions,
    "status-words": status_table_markdown,
    "planted-bugs": lambda: planted_bugs(load()),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
