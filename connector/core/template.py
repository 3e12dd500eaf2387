"""Texts and conditions of a rule set, compiled once (docs/rules.md).

One minijinja environment per rule set: strict (a missing value is an error, never an empty text), without auto-escape, with fuel
against endless loops, and with ``debug`` off, because its messages would quote the event. What the engine would print but nobody
wants to read in a message (``None``, a list, a mapping, bytes) is an error as well. Null is the same as missing: Avro writes
optional fields as null, and ``default('…')`` must work for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import minijinja

from connector.core.model import JsonObject, Notification
from connector.errors import Unbuildable

ROOTS = ("event_id", "type", "tenant", "recipient", "data", "event", "env")
RECIPIENT = ("phone", "id", "locale", "timezone")
FUEL = 20_000  # instructions of one rendering; a message with a loop over a hundred items takes about 2,000

_FUNCTIONS = frozenset({"range", "dict", "namespace", "joiner", "cycler"})
_MARKUP = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_OTHER_FILES = re.compile(r"^[-+]?\s*(include|import|extends|from)\b")
_FILTERS = re.compile(r"\|\s*([a-zA-Z_]\w*)")
_TESTS = re.compile(r"\bis\s+(?:not\s+)?([a-zA-Z_]\w*)")
_SLICE = re.compile(r"(?<=[\w)\]])\[[^\[\]]*:[^\[\]]*\]")
_DEEPEST = 64


class BadTemplate(ValueError):
    """A text or condition that can never work. ``line`` counts from 1 within the text; ``hint`` may be empty."""

    def __init__(self, what: str, line: int = 1, hint: str = "") -> None:
        super().__init__(what)
        self.line = line
        self.hint = hint


class _NotAText(ValueError):
    """Raised inside the engine when a value comes out that no message should show."""


def _printable(value: object) -> object:
    if value is None or isinstance(value, Mapping | list | tuple | set | bytes):
        raise _NotAText
    return value


@dataclass(frozen=True, slots=True)
class Template:
    """One text of a rule. ``constant`` holds it when nothing in it depends on the event; then the engine is not asked."""

    path: str  # rules.<name>.steps[0].sms.body
    source: str
    constant: str | None = None
    names: tuple[str, ...] = ()  # dotted names it reads: data.order_id
    _engine: Engine | None = field(default=None, repr=False, compare=False)

    def render(self, context: JsonObject) -> str:
        """The text for one event. Raises Unbuildable: TEMPLATE_UNDEFINED, TEMPLATE_FUEL, TEMPLATE_FAILED."""
        if self._engine is None:
            return self.constant or ""
        return self._engine.run(self, context)

    def test(self, context: JsonObject) -> bool:
        """Whether a condition holds. Raises like ``render``."""
        return bool(self.render(context))


class Engine:
    """Compiles the texts of one rule set and runs them. ``env`` is what templates see as ``env``: pass only what may be seen."""

    def __init__(self, env: Mapping[str, str], fuel: int = FUEL) -> None:
        self.env = dict(env)
        self._roots: set[str] = set()
        self._names: dict[str, bool] = {}
        self._environment = minijinja.Environment(
            undefined_behavior="strict", fuel=fuel, debug=False, finalizer=_printable, auto_escape_callback=_no_escape
        )
        self._environment.remove_global("debug")  # it prints the whole context
        self._environment.add_global("env", self.env)

    @property
    def reads_env(self) -> bool:
        """Whether any text depends on ``env`` (then ``env`` belongs to the version of the rules)."""
        return "env" in self._roots

    def text(self, source: str, path: str) -> Template:
        """Compile a text. One line break at its end is dropped (YAML's ``|`` puts it there). Raises BadTemplate."""
        if not _MARKUP.search(source):
            return Template(path, source, constant=source.removesuffix("\n"))
        self._syntax(source, path)
        names = self._known_names(source)
        self._known_filters(source)
        template = Template(path, source, names=names, _engine=self)
        roots = {name.partition(".")[0] for name in names} | {root for root in ROOTS if re.search(rf"\b{root}\b", _bare_code(source))}
        self._roots |= roots
        return template if roots - {"env"} else self._constant(template)

    def condition(self, source: str, path: str) -> Template:
        """Compile an expression for ``Template.test``. Raises BadTemplate."""
        try:
            self._environment.eval_expr(source)
        except minijinja.TemplateError as error:
            if error.kind == "SyntaxError":
                hint = "a condition is written without braces: data.total > 0" if "{{" in source or "{%" in source else ""
                raise BadTemplate(error.detail or "this is no condition", error.line or 1, hint) from None
        return self.text("{% if (" + source + ") %}1{% endif %}", path)

    def run(self, template: Template, context: JsonObject) -> str:
        """Render a compiled text. Every failure, the engine's own panic included, becomes Unbuildable without any value of the event."""
        try:
            return self._environment.render_template(template.path, **context)
        except minijinja.TemplateError as error:
            raise _unbuildable(error.kind, template, context) from None
        except _NotAText:
            what = "a list, a mapping, bytes or nothing would be printed: use a filter such as join or default"
            raise Unbuildable("TEMPLATE_FAILED", what, template.path) from None
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise Unbuildable("TEMPLATE_FAILED", "the value cannot be used here", template.path) from None
            raise

    def context(self, notification: Notification) -> dict[str, Any]:
        """What templates see of an event. The whole record is only prepared when some text reads it."""
        recipient = notification.recipient
        known = {"phone": recipient.phone, "id": recipient.id, "locale": recipient.locale, "timezone": recipient.timezone}
        context: dict[str, Any] = {
            "event_id": notification.event_id,
            "type": notification.type,
            "recipient": {name: value for name, value in known.items() if value is not None},
            "data": _present(notification.data, 0),
        }
        if notification.tenant is not None:
            context["tenant"] = notification.tenant
        if "event" in self._roots:
            context["event"] = _present(notification.event, 0)
        return context

    def _syntax(self, source: str, path: str) -> None:
        try:
            self._environment.add_template(path, source)
        except minijinja.TemplateError as error:
            raise BadTemplate(f"template: {error.detail or 'cannot be read'}", error.line or 1, _braces(source)) from None

    def _known_names(self, source: str) -> tuple[str, ...]:
        found = self._environment.undeclared_variables_in_str(source, nested=True)
        with suppress(minijinja.TemplateError):  # the engine does not look into what is sliced: data.name[:20]
            found |= self._environment.undeclared_variables_in_str(_SLICE.sub("", source), nested=True)
        names = tuple(sorted(name for name in found if name.partition(".")[0] not in _FUNCTIONS))
        for name in names:
            root, _, rest = name.partition(".")
            if root not in ROOTS:
                raise BadTemplate(f"unknown name {root}", _line_of(root, source), _nearest(root, ROOTS))
            first = rest.partition(".")[0]
            if root == "recipient" and first and first not in RECIPIENT:
                raise BadTemplate(f"a recipient has no {first}", _line_of(first, source), _nearest(first, RECIPIENT))
            if root == "env" and first and first not in self.env:
                raise BadTemplate(f"env.{first} is not set", _line_of(first, source), "only variables that begin with RULE_ are seen")
        return names

    def _known_filters(self, source: str) -> None:
        for code in _CODE.finditer(_RAW.sub("", source)):
            block = code[2] or ""
            if other := _OTHER_FILES.match(block):
                raise BadTemplate(f"{other[1]} is not available: a rule's text stands alone", _line_of(other[1], source))
            bare = _QUOTED.sub("''", code[1] or block)
            for kind, pattern, probe in (("filter", _FILTERS, "1|{}"), ("test", _TESTS, "1 is {}")):
                for name in pattern.findall(bare):
                    self._known(kind, name, probe, source)

    def _known(self, kind: str, name: str, probe: str, source: str) -> None:
        key = f"{kind} {name}"
        if key not in self._names:
            try:
                self._environment.eval_expr(probe.format(name))
                self._names[key] = True
            except minijinja.TemplateError as error:
                self._names[key] = error.kind not in {"UnknownFilter", "UnknownTest"}
        if not self._names[key]:
            raise BadTemplate(f"unknown {key}", _line_of(name, source))

    def _constant(self, template: Template) -> Template:
        """A text that reads nothing of the event is rendered now: a failure shows at the start, not at night."""
        try:
            return Template(template.path, template.source, constant=self.run(template, {}))
        except Unbuildable as error:
            raise BadTemplate(error.detail) from None


def _bare_code(source: str) -> str:
    """What stands between braces, without quoted texts."""
    return " ".join(_QUOTED.sub("''", code[1] or code[2] or "") for code in _CODE.finditer(_RAW.sub("", source)))


def _no_escape(_name: str) -> bool:
    return False


def _present(value: Any, depth: int) -> Any:  # noqa: ANN401 - decoded JSON or Avro
    """The value without its null fields. Deeper than any rule reads, values stay as they are, so that no nesting ends the process."""
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {key: _present(inner, depth + 1) for key, inner in value.items() if inner is not None}
        if isinstance(value, list | tuple):
            return [_present(inner, depth + 1) for inner in value]
    return value


def _unbuildable(kind: str, template: Template, context: JsonObject) -> Unbuildable:
    if kind == "UndefinedError":
        missing = next((name for name in template.names if not _reaches(name, context)), "")
        return Unbuildable("TEMPLATE_UNDEFINED", f"{missing or 'a value that the text needs'} is missing", template.path)
    if kind == "OutOfFuel":
        return Unbuildable("TEMPLATE_FUEL", "the text takes too long to make", template.path)
    return Unbuildable("TEMPLATE_FAILED", f"the text cannot be made ({kind})", template.path)


def _reaches(name: str, context: JsonObject) -> bool:
    value: object = context
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return True
        if part not in value:
            return part == "env"
        value = value[part]
    return True


def _line_of(word: str, source: str) -> int:
    return source.count("\n", 0, max(source.find(word), 0)) + 1


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _braces(source: str) -> str:
    """What is mostly wrong with a text that the engine cannot read."""
    for opened, closed in (("{{", "}}"), ("{%", "%}"), ("{#", "#}")):
        if source.count(opened) != source.count(closed):
            return f"each {opened} needs its {closed}"
    return "" if "{%" not in source else "{% if … %} needs its {% endif %}, {% for … %} its {% endfor %}"
