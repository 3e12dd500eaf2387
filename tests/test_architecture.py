"""The rules of the house, held by reading the source: who may import whom, what the core must not know, and how big a thing may be."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "connector"

# What each part may import of ours; imports point inwards.
LAYERS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "core": frozenset({"core", "errors"}),
    "ports": frozenset({"core", "errors"}),
    "settings": frozenset({"core", "errors", "settings", "rules_yaml"}),
    "rules_file": frozenset({"core", "errors", "rules_model", "rules_yaml"}),
    "rules_model": frozenset({"core", "errors"}),
    "rules_yaml": frozenset({"core", "errors"}),
    "logs": frozenset({"core", "errors"}),
    "metrics": frozenset({"core", "errors"}),
    "services": frozenset({"services", "ports", "core", "errors", "metrics", "logs"}),
    "adapters": frozenset({"adapters", "ports", "core", "errors", "metrics", "logs"}),
    "simulator": frozenset({"simulator", "core", "errors"}),
    "unenforced": frozenset({"settings", "core", "errors"}),
    "wiring": frozenset({"settings", "services", "adapters", "ports", "core", "errors", "metrics"}),  # where services meet adapters
    "demo": frozenset({"demo", "simulator", "wiring", "settings", "adapters", "core", "errors", "logs"}),
}
EVERYTHING = frozenset({"app", "cli", "__main__"})  # the composition root and the command line may import all

# The core is values in, values out.
CORE_LIBRARIES = frozenset({"minijinja", "orjson", "phonenumbers", "tzdata"})
IMPURE = frozenset({
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "requests", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
})  # fmt: skip
IMPURE_CALLS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "open", "print", "input"})

FILE_LINES = 300
FUNCTION_LINES = 40
# Each longer thing with its reason; a reason is a property of the thing, not of our time.
LONGER: dict[str, str] = {}
# A task outside a TaskGroup must have somebody who awaits it: who that is.
BARE_TASKS: dict[str, str] = {
    "connector.adapters.http_socket": "connect() awaits all it began, and cancels all but the winner in its finally",
    "connector.adapters.registry": "one lookup for many askers: each awaits it, shielded, so that none takes it from the others",
    "connector.adapters.single_flight": "the same for any work; aclose() cancels and awaits it",
    "connector.services.rows": "a gap's read is begun from a delivery report; its end, whatever it is, is heard by _gap_read()",
    "connector.services.stopping": "unless() waits for the first of the two, and ends the other before it returns",
    "connector.simulator.posting": "workers, cancelled and awaited by stop()",
    "connector.simulator.wire": "belongs to its connection, which cancels it when it is lost",
}


# Declared although nothing of ours imports it: who does.
NEEDED_BY: dict[str, str] = {
    "attrs": "confluent-kafka's registry client",
    "cachetools": "the same",
    "tzdata": "zoneinfo, where the system has no time zones",
}


OURS = frozenset({"connector", "examples", "tests", "scripts"})


class Import(NamedTuple):
    """One imported module with the line it is imported on."""

    name: str
    line: int


class Span(NamedTuple):
    """A file or function with the lines it takes."""

    name: str
    lines: int


def dotted(path: Path) -> str:
    """A file's module name: ``connector.core.flow``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer(module: str) -> str:
    """The part of the package a module belongs to; the package itself counts as ``errors``, which imports nothing."""
    return [*module.split("."), "errors"][1]


def imports(tree: ast.AST) -> Iterator[Import]:
    """All imports of a module, those inside functions too. ``from a import b`` counts as ``a.b`` where a is our package itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "connector" else [node.module or ""]
            yield from (Import(name, node.lineno) for name in names)


def wrong_directions(module: str, tree: ast.AST) -> Iterator[str]:
    """Imports that point outwards."""
    part = layer(module)
    if part in EVERYTHING:
        return
    for name, line in imports(tree):
        if name.split(".")[0] != "connector" or name == "connector.__version__":
            continue
        if layer(name) not in LAYERS[part]:
            yield f"{module}:{line} imports {name}"


def impurities(module: str, tree: ast.AST) -> Iterator[str]:
    """What a core module must not touch: I/O, clocks, chance, logging, and libraries outside the agreed ones."""
    if layer(module) != "core":
        return
    for name, line in imports(tree):
        top = name.split(".")[0]
        if top in IMPURE or not (top in sys.stdlib_module_names or top in CORE_LIBRARIES or top == "connector"):
            yield f"{module}:{line} imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPURE_CALLS:
                yield f"{module}:{node.lineno} calls {called}()"


def bare_tasks(module: str, tree: ast.AST) -> Iterator[str]:
    """Tasks that no TaskGroup owns: ``asyncio.create_task``, ``loop.create_task``, ``ensure_future``."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = ast.unparse(node.func.value)
        loop_owned = owner == "asyncio" or owner.endswith(("loop", "get_running_loop()", "get_event_loop()"))
        if node.func.attr == "ensure_future" or (node.func.attr == "create_task" and loop_owned):
            yield f"{module}:{node.lineno} {owner}.{node.func.attr}"


def blanket_handlers(module: str, tree: ast.AST) -> Iterator[str]:
    """``except:``, ``except Exception`` and ``except BaseException`` in the services, where a failure must be a known one."""
    if layer(module) != "services":
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else {"Exception"}
        if caught & {"Exception", "BaseException"}:
            yield f"{module}:{node.lineno} except {ast.unparse(node.type) if node.type else ''}"


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from ``def`` to its end, without its docstring."""
    documented = (
        isinstance(first := node.body[0], ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def spans(module: str, text: str) -> Iterator[Span]:
    """The file and its functions, as far as they are over their limits."""
    if (lines := sum(1 for line in text.splitlines() if line.strip())) > FILE_LINES:
        yield Span(module, lines)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := code_lines(node)) > FUNCTION_LINES:
            yield Span(f"{module}.{node.name}", lines)


def unused() -> set[str]:
    """Distributions that pyproject.toml declares for running although nothing of ours imports them."""
    declared = {Requirement(one).name for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]}
    imported = {name.split(".")[0] for text in SOURCES.values() for name, _ in imports(ast.parse(text))}
    distributions = packages_distributions()
    used = {canonicalize_name(name) for top in imported for name in distributions.get(top, [])}
    return {name for name in declared if canonicalize_name(name) not in used}


def undeclared(folder: str, extras: Iterable[str]) -> Iterator[str]:
    """Libraries that the modules of a folder import without pyproject.toml naming the distribution they come from."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    declared = {canonicalize_name(Requirement(one).name) for one in wanted} | {"pydantic-core"}  # pydantic's other half
    distributions = packages_distributions()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for top in {name.split(".")[0] for name, _ in imports(ast.parse(path.read_text()))} - OURS - sys.stdlib_module_names:
            if not declared & {canonicalize_name(name) for name in distributions.get(top, [top])}:
                yield f"{path.relative_to(ROOT)} imports {top}"


Check = Callable[[str, ast.AST], Iterator[str]]
SOURCES = {dotted(path): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def breaches(check: Check) -> list[str]:
    """What a check finds in the whole package."""
    return [found for name, text in SOURCES.items() for found in check(name, ast.parse(text))]


def test_every_module_belongs_to_a_layer() -> None:
    """A new part of the package is given its place here before it is given code."""
    assert not {layer(name) for name in SOURCES} - LAYERS.keys() - EVERYTHING


def test_imports_point_inwards() -> None:
    """cli, app → services, adapters → ports → core → errors; services and adapters never meet."""
    assert not breaches(wrong_directions)


def test_the_core_is_pure() -> None:
    """The core has no I/O, clock, chance or logging, and uses only agreed libraries."""
    assert not breaches(impurities)


def test_no_task_is_left_alone() -> None:
    """Every task belongs to a TaskGroup, or its module is on the list with the one who awaits it."""
    assert not [found for found in breaches(bare_tasks) if found.split(":")[0] not in BARE_TASKS]


def test_services_know_what_they_catch() -> None:
    """No blanket handler in the services: an unknown failure must reach the TaskGroup."""
    assert not breaches(blanket_handlers)


@pytest.mark.parametrize(("folder", "extras"), [("connector", ()), ("examples", ()), ("tests", ("dev",)), ("scripts", ("dev",))])
def test_every_library_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    """What is imported is named in pyproject.toml: nothing works only because something else happens to bring it along."""
    assert not list(undeclared(folder, extras))


def test_no_library_is_declared_in_vain() -> None:
    """What nobody imports is not installed on other people's machines; each exception is needed."""
    assert unused() == NEEDED_BY.keys()


def test_sizes() -> None:
    """A file is at most 300 lines, blank ones not counted, a function at most 40; each exemption has its reason and is needed."""
    over = [span for name, text in SOURCES.items() for span in spans(name, text)]
    assert not [span for span in over if span.name not in LONGER]
    assert not LONGER.keys() - {span.name for span in over}


@pytest.mark.parametrize(
    ("module_name", "source", "check"),
    [
        ("connector.core.flow", "from connector.services.lane import Lane", wrong_directions),
        ("connector.services.lane", "from connector import adapters", wrong_directions),
        ("connector.adapters.routee", "import connector.services.lane", wrong_directions),
        ("connector.core.flow", "import structlog", impurities),
        ("connector.core.flow", "def f():\n    import time", impurities),
        ("connector.core.flow", "from datetime import datetime\ndatetime.now()", impurities),
        ("connector.services.lane", "import asyncio\nasyncio.create_task(f())", bare_tasks),
        ("connector.services.lane", "asyncio.get_running_loop().create_task(f())", bare_tasks),
        ("connector.services.lane", "try:\n    f()\nexcept (ValueError, Exception):\n    pass", blanket_handlers),
        ("connector.services.lane", "try:\n    f()\nexcept:\n    pass", blanket_handlers),
    ],
)
def test_a_breach_is_seen(module_name: str, source: str, check: Check) -> None:
    """Each check finds a planted breach of its rule."""
    assert list(check(module_name, ast.parse(source)))


def test_a_long_function_is_seen() -> None:
    """The size check counts code, not docstrings."""
    body = "".join(f"    x{n} = {n}\n" for n in range(FUNCTION_LINES - 1))
    assert not list(spans("m", f'def f():\n    """Doc.\n\n    More.\n    """\n{body}'))
    assert list(spans("m", f"def f():\n{body}    pass\n"))
