"""Settings in layers: the file, the environment over it, secrets out of files of their own; and where each value came from.

Works on any tree of pydantic models. ``CONNECTOR_KAFKA__GROUP_ID`` sets ``kafka.group_id``; lists and maps are JSON; a secret ``key`` may
be given as ``key_file``, in the file and in the environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import isclass
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import orjson
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from connector.errors import ConfigError, Problem
from connector.rules_yaml import read_yaml

Place = tuple[str | int, ...]
"""Where a setting stands: ``("topics", "copy_headers", 0)``."""

PREFIX: Final = "CONNECTOR_"
_FILE: Final = "_file"
_WORDS: Final[Mapping[str, str]] = {
    "string_type": "must be text (put it in quotes)",
    "model_type": "must be a mapping of settings",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


@dataclass(slots=True)
class Layers:
    """What was read, and from where. ``data`` may hold secrets. Mutable while the layers are laid; ``problems`` collects."""

    model: type[BaseModel]
    name: str  # of the file, as the user named it
    folder: Path
    data: dict[str, Any] = field(repr=False)
    origins: dict[Place, str] = field(repr=False)
    problems: list[Problem]

    def where(self, place: Place) -> str:
        """The environment variable, or ``file:line``, that gave the value at ``place`` (or the nearest thing around it)."""
        while place and place not in self.origins:
            place = place[:-1]
        return self.origins.get(place, f"{self.name}:1")

    def problem(self, place: Place, what: str, hint: str = "") -> Problem:
        """Make a problem of what stands at ``place``."""
        return Problem(self.where(place), f"`{dotted(place)}` {what}" if place else what, hint)


def read_layers(model: type[BaseModel], path: Path, environ: Mapping[str, str]) -> Layers:
    """Read the file and put the layers together; relative paths of secret files start from its folder.

    Raises ConfigError when the file itself cannot be used: not there, not UTF-8, no YAML, a key twice, no mapping.
    """
    name = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError((Problem(name, f"cannot be read: {error.strerror}", "name another file with --config FILE"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(name, "is not UTF-8 text"),)) from error
    source = read_yaml(text, name)
    if source.problems:
        raise ConfigError(tuple(source.problems))
    data = {} if source.data is None else source.data
    if not isinstance(data, dict):
        raise ConfigError((Problem(f"{name}:1", "must be a mapping of sections (`kafka:`, `topics:` …)"),))
    origins = {place: f"{name}:{line}" for place, line in source.lines.items()}
    layers = Layers(model, name, path.parent, _filled(model, data), origins, [])
    for variable in sorted(environ):
        _apply(layers, variable, environ[variable])
    _read_secrets(layers, model, layers.data, ())
    return layers


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    valid = ", ".join(names)
    return f"did you mean `{near[0]}`? valid: {valid}" if near else f"valid: {valid}"


def explain(layers: Layers, errors: Iterable[ErrorDetails]) -> Iterator[Problem]:
    """Pydantic's errors as problems with their place. Never shows the offending value of a secret (nor of anything else)."""
    for error in errors:
        place = tuple(error["loc"])
        if error["type"] == "missing":
            variable = PREFIX + "__".join(str(part).upper() for part in place)
            yield layers.problem(place, "is missing", f"set it in the file, or as {variable} in the environment{_file_hint(layers, place)}")
        elif error["type"] == "extra_forbidden":
            parent = model_at(layers.model, place[:-1])
            yield layers.problem(place, "is no setting", did_you_mean(str(place[-1]), parent.model_fields if parent else ()))
        else:
            yield layers.problem(place, _wording(error))


def _wording(error: ErrorDetails) -> str:
    if error["type"] in ("string_too_short", "too_short"):
        least = error["ctx"]["min_length"]
        return "must not be empty" if least == 1 else f"must be {least} characters or longer"
    return _WORDS.get(error["type"], error["msg"].removeprefix("Value error, ").replace("Input should be", "must be"))


def dotted(place: Place) -> str:
    """``topics.copy_headers[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The model of the section at ``place``."""
    found: type[BaseModel] | None = model
    for part in place:
        info = found.model_fields.get(str(part)) if found else None
        found = section_of(info) if info else None
    return found


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, if it is a section."""
    return info.annotation if isclass(info.annotation) and issubclass(info.annotation, BaseModel) else None


def is_secret(info: FieldInfo) -> bool:
    """Whether a field holds a secret, or a list of them."""
    return SecretStr in set(_parts(info.annotation))


def _is_collection(info: FieldInfo) -> bool:
    return any(part in (tuple, list, dict, Mapping) for part in _parts(info.annotation))


def _is_map(info: FieldInfo) -> bool:
    return any(part in (dict, Mapping) for part in _parts(info.annotation))


def _parts(annotation: object) -> Iterator[object]:
    yield get_origin(annotation) or annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def _file_hint(layers: Layers, place: Place) -> str:
    parent = model_at(layers.model, place[:-1])
    info = parent.model_fields.get(str(place[-1])) if parent else None
    return f", or its file as `{dotted(place)}{_FILE}`" if info and is_secret(info) else ""


def _filled(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which a section with nothing under it (``kafka:``) is an empty one."""
    copy = dict(data)
    for name, info in model.model_fields.items():
        section = section_of(info)
        if section and name in copy and (copy[name] is None or isinstance(copy[name], dict)):
            copy[name] = _filled(section, copy[name] or {})
    return copy


# ------------------------------------------------------------------------------------------------------------ environment


def _apply(layers: Layers, name: str, text: str) -> None:
    if not name.startswith(PREFIX):
        return
    place = tuple(name.removeprefix(PREFIX).lower().split("__"))
    if len(place) == 1 and place[0] not in layers.model.model_fields:
        # Kubernetes puts CONNECTOR_PORT and the like here for a Service called "connector": only a likely slip is refused.
        slips = {"_".join(known): known for known in _places(layers.model, ())}
        if slip := slips.get(place[0]):
            layers.problems.append(Problem(name, "is no setting", f"did you mean {PREFIX}{'__'.join(slip).upper()}?"))
        return
    info, complaint = _leaf(layers.model, place)
    if info is None:
        layers.problems.append(Problem(name, *complaint))
        return
    try:
        value = _value(info, place, text)
    except ValueError:
        layers.problems.append(Problem(name, "must be JSON", """as in '["a", "b"]' or '{"key": "value"}'"""))
        return
    _put(layers, place, value, name)


def _leaf(model: type[BaseModel], place: tuple[str, ...]) -> tuple[FieldInfo | None, tuple[str, str]]:
    """The field that a variable sets, or what is wrong with its name (what, hint)."""
    for depth, part in enumerate(place):
        info = model.model_fields.get(part) or _secret_twin(model, part)
        if info is None:
            return None, ("is no setting", did_you_mean(part, model.model_fields))
        section = section_of(info)
        rest = place[depth + 1 :]
        if section is None:
            fits = not rest or (_is_map(info) and len(rest) == 1)
            return (info, ("", "")) if fits else (None, (f"is no setting: `{part}` has no keys of its own", ""))
        model = section
    return None, ("names a section, not a setting", f"set one of its keys: {', '.join(model.model_fields)}")


def _secret_twin(model: type[BaseModel], name: str) -> FieldInfo | None:
    info = model.model_fields.get(name.removesuffix(_FILE)) if name.endswith(_FILE) else None
    return info if info and is_secret(info) else None


def _value(info: FieldInfo, place: tuple[str, ...], text: str) -> object:
    if text in ("", "null") and type(None) in _parts(info.annotation):
        return None
    wants_json = _is_collection(info) and not place[-1].endswith(_FILE) and not (_is_map(info) and text[:1] not in ("{", "["))
    return orjson.loads(text) if wants_json else text


def _put(layers: Layers, place: tuple[str, ...], value: object, name: str) -> None:
    target = layers.data
    for part in place[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    key = place[-1]
    twin = key.removesuffix(_FILE) if key.endswith(_FILE) else key + _FILE
    for stale in (key, twin):  # the environment is over the file, in whichever of the two ways a secret is given
        if layers.origins.get((*place[:-1], stale), PREFIX).startswith(PREFIX):
            continue
        target.pop(stale, None)
        prefix = (*place[:-1], stale)
        for old in [old for old in layers.origins if old[: len(prefix)] == prefix]:
            del layers.origins[old]
    target[key] = value
    layers.origins[place] = name


def _places(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        section = section_of(info)
        if section:
            yield from _places(section, (*above, name))
        else:
            yield (*above, name)
            if is_secret(info):
                yield (*above, name + _FILE)


# ---------------------------------------------------------------------------------------------------------- secret files


def _read_secrets(layers: Layers, model: type[BaseModel], data: dict[str, Any], above: Place) -> None:
    """Replace each ``key_file`` by ``key`` with the file's content."""
    for name, info in model.model_fields.items():
        section = section_of(info)
        held = data.get(name)
        if section and isinstance(held, dict):
            _read_secrets(layers, section, held, (*above, name))
        elif name == "properties" and isinstance(held, dict):
            held = data[name] = dict(held)
            for key in [str(key) for key in held if str(key).endswith(_FILE)]:
                _read_secret(layers, held, (*above, name, key), many=False)
        elif is_secret(info) and name + _FILE in data:
            _read_secret(layers, data, (*above, name + _FILE), many=_is_collection(info))


def _read_secret(layers: Layers, data: dict[str, Any], place: Place, *, many: bool) -> None:
    key_file = str(place[-1])
    key = key_file.removesuffix(_FILE)
    path = data.pop(key_file)
    if path is None:
        return
    if data.get(key) is not None:
        layers.problems.append(layers.problem(place, f"and `{key}` are both given", "keep one of them"))
        return
    try:
        text = (layers.folder / str(path)).read_text("utf-8").strip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        layers.problems.append(layers.problem(place, f"cannot be read: {path}: {reason}"))
        data[key] = [_UNREAD] if many else _UNREAD
        return
    data[key] = [line.strip() for line in text.splitlines() if line.strip()] if many else text
    layers.origins.setdefault((*place[:-1], key), layers.where(place))


_UNREAD: Final = "?" * 64  # stands in for a secret that could not be read, so that only that is complained about
