"""Rules files to a RoutingTable. Everything that is wrong is told at once, each with file and line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connector.core.fields import Draft, Flaw, nearest
from connector.core.routing import RoutingTable
from connector.core.rules import Rule, compile_rule
from connector.core.template import Engine
from connector.errors import ConfigError, Problem
from connector.rules_model import (
    Button,
    File,
    LimitDoc,
    Play,
    QuietHoursDoc,
    RuleDoc,
    RulesDoc,
    Say,
    Sms,
    StepDoc,
    UrlShortener,
    Verb,
    Viber,
    ViberOtp,
    ViberTemplate,
    Video,
    Voice,
)
from connector.rules_yaml import Path as Place
from connector.rules_yaml import Source, read_yaml

ENV_PREFIX = "RULE_"  # only these variables are seen as env.* : rules are written by people who must not read the process's secrets

# Which model judges what stands under a key: for the hint after an unknown key.
_MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "rules": (RuleDoc,),
    "steps": (StepDoc,),
    "sms": (Sms,),
    "url_shortener": (UrlShortener,),
    "viber free-form": (Viber, ViberTemplate),
    "viber template": (ViberTemplate, Viber),
    "viber_otp": (ViberOtp,),
    "voice": (Voice,),
    "say": (Say,),
    "play": (Play,),
    "verbs": (Verb,),
    "button": (Button,),
    "file": (File,),
    "video": (Video,),
    "quiet_hours": (QuietHoursDoc,),
    "limit": (LimitDoc,),
}
# pydantic's names for what a value is not, in the file's words.
_KINDS = dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping of keys and values") | {
    "list_type": "a list",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
}
_BRANCHES = frozenset({"viber free-form", "viber template", "switch", "short links"})


def load_rules(path: Path, env: Mapping[str, str]) -> tuple[RoutingTable, tuple[Problem, ...]]:
    """The table of a rules file or directory (``*.yaml``, ``*.yml`` in sorted order), and warnings. Raises ConfigError."""
    sources = [_read(file, name) for file, name in _files(path)]
    engine = Engine({name: value for name, value in env.items() if name.startswith(ENV_PREFIX)})
    problems: list[Problem] = []
    warnings: list[Problem] = []
    rules: list[Rule] = []
    for source in sources:
        problems += source.problems
        if not source.problems:
            misshapen = _shape(source)
            problems += misshapen.values()
            rules += _compile(source, engine, _rules_at(misshapen), problems, warnings)
    problems += _twice(rules)
    if problems:
        raise ConfigError(_in_order(problems, sources))
    warnings += _never_reached(rules)
    return RoutingTable(tuple(rules), _version(sources, engine)), tuple(warnings)


def rules_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a rules file, for editors and CI."""
    schema = _without_defaults(RulesDoc.model_json_schema(by_alias=True))
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "failover-connector rules"}


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The models only judge; what a left-out key means is decided in the core."""
    return {
        key: _without_defaults(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key != "default" or isinstance(value, dict)
    }


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
        return Source(
            name, problems=[Problem(str(file), what, "the setting `rules` in connector.yaml names the file, or a folder of them")]
        )
    return read_yaml(text, name)


# ------------------------------------------------------------------------------------------------------------------ shape


def _shape(source: Source) -> dict[tuple[int | str, ...], Problem]:
    """What pydantic has to say, by its location."""
    try:
        RulesDoc.model_validate(source.data if source.data is not None else {})
    except ValidationError as error:
        return {details["loc"]: _problem(source, details) for details in error.errors(include_url=False)}
    return {}


def _rules_at(misshapen: Iterable[tuple[int | str, ...]]) -> Callable[[int], bool]:
    """Whether the shape of a rule is right, so that the rest of it can be judged too."""
    bad = {place[1] if len(place) > 1 and place[0] == "rules" else None for place in misshapen}
    return lambda index: None not in bad and index not in bad


def _problem(source: Source, details: ErrorDetails) -> Problem:
    path = _path({} if source.data is None else source.data, details["loc"])
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
    if kind in _KINDS:
        models = _MODELS.get(name, ())
        return Problem(source.where(path), f"{name} must be {_KINDS[kind]}", f"its keys: {', '.join(_keys(models[0]))}" if models else "")
    said = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return Problem(source.where(path), f"{name}: {said}")


def _in_order(problems: Iterable[Problem], sources: Sequence[Source]) -> tuple[Problem, ...]:
    """As somebody mends them: file by file, from top to bottom."""
    files = {source.name: number for number, source in enumerate(sources)}

    def place(problem: Problem) -> tuple[int, int]:
        name, _, line = problem.where.rpartition(":")
        return files.get(name, -1), int(line) if line.isdecimal() else 0

    return tuple(sorted(problems, key=place))


def _path(data: Any, loc: tuple[int | str, ...]) -> Place:  # noqa: ANN401 - any YAML
    """The location that pydantic gives, without the names of its unions' branches. The last part may be a key that is missing."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif isinstance(data, dict) and isinstance(part, str) and part not in _BRANCHES:
            data = data.get(part)
        else:
            continue
        path.append(part)
    return tuple(path)


def _known_keys(name: str, loc: tuple[int | str, ...]) -> str:
    around = next((_MODELS[part] for part in reversed(loc[:-1]) if isinstance(part, str) and part in _MODELS), None)
    if around is None:
        return nearest(name, _keys(RulesDoc))
    if len(around) > 1 and name in _keys(around[1]):
        free = "a free-form message (without template) has it, a template step does not"
        return free if around[0] is ViberTemplate else "only a template step (with template: …) has it"
    return nearest(name, _keys(around[0]))


def _keys(model: type[BaseModel]) -> list[str]:
    """The keys as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


# ---------------------------------------------------------------------------------------------------------------- meaning


def _compile(source: Source, engine: Engine, sound: Callable[[int], bool], problems: list[Problem], warnings: list[Problem]) -> list[Rule]:
    rules: list[Rule] = []
    found = source.data.get("rules") if isinstance(source.data, dict) else None
    for index, doc in enumerate(found if isinstance(found, list) else ()):
        if not sound(index):
            continue
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
