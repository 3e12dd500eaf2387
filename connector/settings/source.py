"""Reading the settings, and showing them without their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connector.errors import ConfigError, Problem
from connector.settings import checks
from connector.settings.layers import Layers, Place, explain, is_secret, read_layers, section_of
from connector.settings.tree import Callbacks, OtpApplication, Privacy, Routee, Settings

_SECRET_PROPERTY: Final = re.compile(r"password|secret|token|user\.info|\.key$|\.pem$|config$", re.IGNORECASE)


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file and ``CONNECTOR_…`` over it. Raises ConfigError with every problem found."""
    layers = read_layers(Settings, path, environ)
    settings, errors = _validated(layers)
    problems = [*layers.problems, *explain(layers, errors)]
    wrong = {tuple(error["loc"][:2]) for error in errors}
    findings = [found for found in checks.errors(settings) if not wrong & {place[:2] for place in found.concerns}] if settings else []
    problems += [layers.problem(found.place, found.what, found.hint) for found in findings]
    if problems or settings is None:
        raise ConfigError(tuple(sorted(problems, key=_line)))
    return settings


def advice(settings: Settings, name: str) -> tuple[Problem, ...]:
    """What is allowed and yet worth a second look (``check`` prints it). ``name``: the settings file's."""
    return tuple(Problem(name, f"`{'.'.join(map(str, found.place))}` {found.what}", found.hint) for found in checks.advice(settings))


def _line(problem: Problem) -> tuple[str, int]:
    name, _, line = problem.where.rpartition(":")
    return (name, int(line)) if line.isdecimal() else (problem.where, 0)


def _validated(layers: Layers) -> tuple[Settings | None, list[ErrorDetails]]:
    """The tree and what is wrong. What is wrong is taken out and tried once more, so that cross checks see the rest."""
    context = {"folder": layers.folder}
    try:
        return Settings.model_validate(layers.data, context=context), []
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    data = layers.data
    for detail in errors:
        data = _without(Settings, data, tuple(detail["loc"]))
    try:
        return Settings.model_validate(data, context=context), errors
    except ValidationError:
        return None, errors


def _without(model: type[BaseModel], data: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """A copy of ``data`` in which the setting at ``place`` has its default, or stands filled in where it has none."""
    name, copy = str(place[0]), dict(data)
    info = model.model_fields.get(name)
    section = section_of(info) if info else None
    held = copy.pop(name, {})
    if section:
        copy[name] = {field: "?" * 64 for field, inner in section.model_fields.items() if inner.is_required()}
        if isinstance(held, dict):
            copy[name] |= _without(section, held, place[1:]) if len(place) > 1 else {}
    elif info and info.is_required():
        copy[name] = "?" * 64
    return copy


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings in force as JSON values, for the log: secrets are stars, also those in properties and the proxy."""
    shown = settings.model_dump(mode="json")
    for section in ("kafka", "schema_registry"):
        properties = shown[section]["properties"]
        shown[section]["properties"] = {key: "**********" if _SECRET_PROPERTY.search(key) else value for key, value in properties.items()}
    if proxy := shown["routee"]["proxy"]:
        shown["routee"]["proxy"] = re.sub(r"//[^/@]*@", "//**********@", proxy)
    return shown


def dotted(shown: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values under one name each, as people write settings: ``kafka.group_id``."""
    flat: dict[str, Any] = {}
    for name, value in shown.items():
        flat |= dotted(value, f"{above}{name}.") if isinstance(value, dict) and value else {above + name: value}
    return flat


def settings_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the settings file, for editors and charts; secrets may also be given as ``<key>_file``."""
    schema = Settings.model_json_schema()
    for model in (OtpApplication, Routee, Callbacks, Privacy):
        shape = schema["$defs"][model.__name__]
        for name, info in model.model_fields.items():
            if is_secret(info):
                shape["properties"][f"{name}_file"] = {"type": "string", "description": f"a file that holds {name}"}
                shape["required"] = [key for key in shape.get("required", ()) if key != name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
