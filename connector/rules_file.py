"""Rules files to a RoutingTable. Everything that is wrong is told at once, each with file and line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from connector.core.fields import Draft, Flaw, nearest
from connector.core.routing import RoutingTable
from connector.core.rules import Rule, compile_rule
from connector.core.template import Engine
from connector.errors import ConfigError, Problem
from connector.rules_model import BRANCHES, MODELS, RulesDoc, ViberTemplate, keys_of
from connector.rules_yaml import Path as Place
from connector.rules_yaml import Source, read_yaml

ENV_PREFIX = "RULE_"  # only these variables are seen as env.* : rules are written by people who must not read the process's secrets


def load_rules(path: Path, env: Mapping[str, str]) -> tuple[RoutingTable, tuple[Problem, ...]]:
    """The table of a rules file or directory (``*.yaml``, ``*.yml`` in sorted order), and warnings. Raises ConfigError."""
    sources = [_read(file, name) for file, name in _files(path)]
    engine = Engine({name: value for name, value in env.items() if name.startswith(ENV_PREFIX)})
    problems: list[Problem] = []
    warnings: list[Problem] = []
    rules: list[Rule] = []
    for source in sources:
        problems += source.problems or _shape(source)
        if not source.problems:
            rules += _compile(source, engine, problems, warnings)
    problems += _twice(rules)
    if problems:
        raise ConfigError(tuple(problems))
    warnings += _never_reached(rules)
    return RoutingTable(tuple(rules), _version(sources, engine)), tuple(warnings)


def rules_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a rules file, for editors and CI."""
    schema = RulesDoc.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "failover-connector rules"} | schema


def _files(path: Path) -> list[tuple[Path, str]]:
    if not path.is_dir():
        return [(path, path.name)]
    # Names with a dot in front are the shadow directories of a Kubernetes ConfigMap.
    found = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"} and not file.name.startswith("."))
    if not found:
        raise ConfigError((Problem(str(path), "the directory holds no rules", "rules are read from *.yaml and *.yml"),))
    return [(file, f"{path.name}/{file.name}") for file in found]


def _read(file: Path, name: str) -> Source:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = "the file is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        return Source(name, problems=[Problem(str(file), what)])
    return read_yaml(text, name)


# ------------------------------------------------------------------------------------------------------------------ shape


def _shape(source: Source) -> list[Problem]:
    try:
        RulesDoc.model_validate(source.data if source.data is not None else {})
    except ValidationError as error:
        return [_problem(source, details) for details in error.errors(include_url=False)]
    return []


def _problem(source: Source, details: ErrorDetails) -> Problem:
    path = _path(source.data, details["loc"])
    name = str(path[-1]) if path else "the file"
    kind = details["type"]
    if kind == "extra_forbidden":
        return Problem(source.where(path), f"unknown key {name}", _known_keys(name, details["loc"]))
    if kind == "missing":
        return Problem(source.where(path[:-1]), f"{name} is missing")
    if kind == "string_type":
        quoted = isinstance(details["input"], int | float)
        return Problem(source.where(path), f"{name} must be a text", "write it in quotes" if quoted else "")
    if kind == "literal_error":
        expected = str(details.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        return Problem(source.where(path), f"{name}: {details['input']!r} is not known here", nearest(str(details["input"]), expected))
    return Problem(source.where(path), f"{name}: {details['msg'].removeprefix('Value error, ')}")


def _path(data: Any, loc: tuple[int | str, ...]) -> Place:  # noqa: ANN401 - any YAML
    """The location that pydantic gives, without the names of its unions' branches. The last part may be a key that is missing."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict) and isinstance(part, str) and part not in BRANCHES:
            data = data.get(part)
        else:
            continue
        path.append(part)
    return tuple(path)


def _known_keys(name: str, loc: tuple[int | str, ...]) -> str:
    around = next((MODELS[part] for part in reversed(loc[:-1]) if isinstance(part, str) and part in MODELS), None)
    if around is None:
        return "the file has one key: rules"
    if len(around) > 1 and name in keys_of(around[1]):
        free = "a free-form message (without template) has it, a template step does not"
        return free if around[0] is ViberTemplate else "only a template step (with template: …) has it"
    return nearest(name, keys_of(around[0]))


# ---------------------------------------------------------------------------------------------------------------- meaning


def _compile(source: Source, engine: Engine, problems: list[Problem], warnings: list[Problem]) -> list[Rule]:
    rules: list[Rule] = []
    for index, doc in enumerate(source.data["rules"]):
        draft = Draft(engine, doc["name"], ("rules", index))
        rules.append(compile_rule(draft, doc, source.where(draft.path)))
        problems += (_told(source, flaw) for flaw in draft.flaws)
        warnings += (_told(source, flaw) for flaw in draft.warnings)
    return rules


def _told(source: Source, flaw: Flaw) -> Problem:
    return Problem(source.where(flaw.path, flaw.line), flaw.what, flaw.hint)


def _twice(rules: list[Rule]) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, Rule] = {}
    for rule in rules:
        other = first.setdefault(rule.name, rule)
        if other is not rule:
            what = f"a rule named {rule.name} is at {other.where} already"
            problems.append(Problem(rule.where, what, "flows are found by the rule's name"))
    defaults = [rule for rule in rules if rule.default]
    problems += [Problem(rule.where, f"a default rule is at {defaults[0].where} already", "there can be one") for rule in defaults[1:]]
    return problems


def _never_reached(rules: list[Rule]) -> list[Problem]:
    warnings: list[Problem] = []
    first: dict[bytes, Rule] = {}
    for rule in rules:
        if rule.default:
            continue
        key = orjson.dumps(rule.match.source, option=orjson.OPT_SORT_KEYS)
        if key in first:
            what = f"{rule.name} is never reached: {first[key].name} ({first[key].where}) takes the same events first"
            warnings.append(Problem(rule.where, what))
        elif rule.when is None and not rule.continues:
            first[key] = rule
    return warnings


def _version(sources: list[Source], engine: Engine) -> str:
    """Twelve hex digits over the rules' content: comments, layout and file names do not count."""
    rules = [rule for source in sources for rule in source.data["rules"]]
    content = orjson.dumps([rules, engine.env if engine.reads_env else {}], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:12]
