"""The house rules, read from the source: who may import whom, what pure code must not do, sizes.

The rules are data in ``tidy/house.py``. Imports inside functions and under ``TYPE_CHECKING`` count
too: a dependency is one wherever it is written. Then imports are tried for real, in fresh
processes: what is said to be lazy must stay lazy.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import pyswarm
from tidy import house
from tidy.source import (
    FUNCTIONS,
    ROOT,
    Import,
    Module,
    called,
    imports,
    inner_nodes,
    loops_over_sets,
    modules,
    named_in_tests,
    ordered_by_identity,
    parse,
    shadowed,
    strings,
)

SET_UP = "python3 -m venv .venv && .venv/bin/pip install -e"
README_COMMANDS = [
    f"{SET_UP} . && .venv/bin/python examples/quickstart.py",
    f"{SET_UP} '.[test]' && .venv/bin/pytest",
]


def report(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def pure_modules() -> Iterator[Module]:
    return (module for module in modules().values() if module.unit in house.PURE)


# -- imports ---------------------------------------------------------------------------------------


def test_every_package_is_on_the_map() -> None:
    report([name for name, module in modules().items() if module.unit not in house.MAY_IMPORT])


def why_refused(unit: str, found: Import) -> str | None:
    """Why the map does not let ``unit`` import this, or None."""
    parts = found.target.split(".")
    own = parts[0] == "pyswarm"
    other = parts[1] if own and len(parts) > 1 else "__init__" if own else parts[0]
    if (unit, other) in house.ONLY_INSIDE_FUNCTIONS and not found.inside:
        return "only inside a function"
    if (unit, found.target) in house.STDLIB_EXCEPTIONS or (own and other == unit):
        return None
    if found.target == "pyswarm.__version__" and unit not in house.PURE:
        return None
    if not own and other in sys.stdlib_module_names:
        if unit not in house.PURE:
            return None
        if parts[-1] in house.BANNED_MEMBERS.get(other, ()):
            return "reads the world, or differs between platforms"
        if not house.HARMLESS & {other, ".".join(parts[:2])}:
            return "not on the list of harmless modules"
        return None
    allowed = house.MAY_IMPORT[unit]
    known = "attrs" if other == "attr" else other
    return None if allowed is None or known in allowed else f"not in the row of {unit}"


def test_imports_follow_the_map() -> None:
    report(
        [
            f"{module.place(found.node)} imports {found.target}: {why}"
            for module in modules().values()
            for found in imports(module)
            if (why := why_refused(module.unit, found))
        ]
    )


def test_every_module_is_used() -> None:
    """By an import, as a string (a lazy table, an entry point), or as a package's face."""
    used = {"pyswarm", "pyswarm.__main__", "pyswarm.blocking"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tables = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    used |= {target.partition(":")[0] for table in tables for target in table.values()}
    for module in modules().values():
        for found in imports(module):
            for target in (found.target, found.target.rpartition(".")[0]):
                if target != module.name:
                    used.add(target)
        used |= set(strings(module))
    used |= named_in_tests("pyswarm.testing")  # kits for other people's tests; ours use them too
    report([name for name, module in modules().items() if not module.is_init and name not in used])


@pytest.mark.parametrize("unit", sorted({m.unit for m in modules().values()} - {"__main__"}))
def test_importing_loads_no_more_than_it_says(unit: str) -> None:
    name = "pyswarm" if unit == "__init__" else f"pyswarm.{unit}"
    code = f"import sys, {name}; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    banned = (house.OPTIONAL | house.HEAVY) - house.MAY_LOAD.get(unit, set())
    if unit == "__init__":
        banned |= {"attr", "attrs", "cattrs", "msgpack"}
    assert sorted(banned & set(done.stdout.split())) == []


# -- what pure code must not do --------------------------------------------------------------------


def test_pure_code_calls_nothing_that_reads_the_world() -> None:
    found = []
    for module in pure_modules():
        excused = shadowed(module.tree)
        excused |= {(node, "hash") for node in inner_nodes(module.tree, "__hash__")}
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            owner, name = called(node)
            if (
                not owner and name in house.BANNED_CALLS and (id(node), name) not in excused
            ) or name in house.BANNED_MEMBERS.get(owner, ()):
                found.append(f"{module.place(node)} calls {owner}{'.' * bool(owner)}{name}()")
    report(found)


def test_pure_code_depends_on_no_order_that_differs_between_processes() -> None:
    report(
        [
            f"{module.place(node)} {what}: {ast.unparse(node)}"
            for what, find in {
                "goes through a set": loops_over_sets,
                "orders by id()": ordered_by_identity,
            }.items()
            for module in pure_modules()
            for node in find(module)
        ]
    )


# -- sizes and faces -------------------------------------------------------------------------------


def test_sizes() -> None:
    found = []
    for name, module in modules().items():
        lines = module.text.splitlines()
        bound = house.FILE_LINES_MAX
        if module.is_init:
            bound = house.INIT_LINES_EXCEPTIONS.get(name, house.INIT_LINES_MAX)
        if len(lines) > bound:
            found.append(f"{module.place(module.tree)} has {len(lines)} lines, more than {bound}")
        for number, line in enumerate(lines, 1):
            if len(line) > house.LINE_CHARACTERS_MAX:
                found.append(f"{module.path.relative_to(ROOT)}:{number} has {len(line)} characters")
        for node in ast.walk(module.tree):
            if isinstance(node, FUNCTIONS):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > house.FUNCTION_LINES_MAX:
                    found.append(f"{module.place(node)} {node.name} has {size} lines")
    report(found)


def test_every_module_opens_with_its_theory() -> None:
    report([name for name, module in modules().items() if not ast.get_docstring(module.tree)])


@pytest.mark.parametrize("name", sorted(n for n, module in modules().items() if module.is_init))
def test_a_package_names_its_public_face(name: str) -> None:
    package = import_module(name)
    assert hasattr(package, "__all__"), "no __all__"
    assert len(package.__all__) == len(set(package.__all__)), "a name stands twice"
    if name != "pyswarm":  # lazy; its names have a test of their own
        report([f"{name}.{item}" for item in package.__all__ if not hasattr(package, item)])


@pytest.mark.parametrize("home", pyswarm._NAMES_BY_MODULE)
def test_public_names_resolve(home: str) -> None:
    module = import_module(home)
    names = pyswarm._NAMES_BY_MODULE[home].split()
    report([name for name in names if not hasattr(module, name) or name not in dir(pyswarm)])
    assert all(getattr(pyswarm, name) is getattr(module, name) for name in names)


def test_the_version_is_that_of_the_distribution() -> None:
    assert pyswarm.__version__ == version("pyswarm-orchestrator")


def test_public_names_are_the_same_for_type_checkers() -> None:
    typed = {found.target for found in imports(modules()["pyswarm"]) if not found.inside}
    table = {f"{module}.{name}" for name, module in pyswarm._HOME.items()}
    assert {target for target in typed if target.startswith("pyswarm.")} == table


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clutser'"):
        _ = pyswarm.Clutser  # type: ignore[attr-defined]


# -- the rules themselves --------------------------------------------------------------------------


def sample(text: str, unit: str = "raft") -> Module:
    return parse(f"pyswarm.{unit}.sample", ROOT / "sample.py", text)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("from pyswarm.env import Rng", False),
        ("from . import log", False),
        ("import msgpack", False),
        ("from pyswarm.model import Task", True),
        ("def f():\n    from pyswarm.store import Store", True),
        ("if TYPE_CHECKING:\n    import trio", True),
        ("import os.path", True),
        ("from random import random", True),
        ("from math import exp", True),
        ("import_module('pyswarm.runtime.drive')", True),
    ],
)
def test_the_map_refuses(text: str, refused: bool) -> None:
    assert [why_refused("raft", found) is not None for found in imports(sample(text))] == [refused]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("for x in {1, 2}: ...", 1),
        ("[x for x in set(names)]", 1),
        ("def f(ids: set[str] | None):\n    return list(ids)", 1),
        ("def f():\n    seen = set()\n    return [*seen]", 1),
        ("class A:\n    ids: set[str]\n    def f(self):\n        for x in self.ids: ...", 1),
        ("for x in old.keys() - new.keys(): ...", 1),
        ("for x in sorted({1, 2}): ...", 0),
        ("{x for x in set(names)}; any(x for x in set(names))", 0),
        ("def f(ids: list[str]):\n    for x in ids: ...", 0),
    ],
)
def test_a_loop_over_a_set_is_seen(text: str, count: int) -> None:
    assert len(set(map(ast.unparse, loops_over_sets(sample(text))))) == count


def test_an_order_by_identity_is_seen() -> None:
    text = "sorted(xs, key=id); max(id(x) for x in xs); id(a) < id(b); known[id(a)] = min(xs)"
    assert len(list(ordered_by_identity(sample(text)))) == 3


# -- beside the source -----------------------------------------------------------------------------


def test_changelog_fragments_are_well_formed() -> None:
    """``+slug.kind.md``, one or more whole sentences."""
    found = []
    for path in sorted((ROOT / "changelog.d").iterdir()):
        if path.name == "README.md":
            continue
        text = path.read_text(encoding="utf-8")
        match = re.fullmatch(r"\+[a-z0-9-]+\.([a-z]+)\.md", path.name)
        if not match or match[1] not in house.FRAGMENT_KINDS:
            found.append(f"{path.name}: not named +slug.kind.md, kind one of the known")
        if not re.fullmatch(r"[A-Z`].*\.\n", text, re.DOTALL) or "\n\n" in text:
            found.append(f"{path.name}: not one paragraph of whole sentences")
    report(found)


def test_the_readme_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if line.strip() in README_COMMANDS] == README_COMMANDS


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", ["demo"], "cli"),
        ("h11", ["daemon", "--state-dir", "state", "-H", "unix:///nowhere/x.sock"], "daemon"),
    ],
)
def test_without_its_extra_the_command_names_it_in_one_line(
    tmp_path: Path, missing: str, arguments: list[str], extra: str
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['pyswarm', *{arguments!r}]\n"
        "from pyswarm.cli import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"pip install 'pyswarm-orchestrator[{extra}]'" in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was made"


@pytest.mark.parametrize("name", ["pyswarm", "pyswarm.model"])
def test_whoever_asks_for_help_on_a_public_class_gets_some(name: str) -> None:
    package = import_module(name)
    classes = {n: c for n in package.__all__ if isinstance(c := getattr(package, n), type)}
    report([f"{name}.{n} has no docstring" for n, c in classes.items() if not vars(c)["__doc__"]])
