"""Reading the source: modules, their imports, and loops over sets."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent.parent
SRC = ROOT / "src"
BUILTIN_NAMES = frozenset(dir(builtins))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@attrs.frozen
class Module:
    """One file: ``pyswarm.raft.log``; a package's ``__init__`` is named as the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        """Its row of the map: ``raft``; the root package is ``__init__``."""
        return self.name.split(".")[1] if "." in self.name else "__init__"

    @property
    def is_init(self) -> bool:
        return self.path.name == "__init__.py"

    def place(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@attrs.frozen
class Import:
    """``target`` is dotted, the imported name included; ``inside`` a function or not."""

    target: str
    inside: bool
    node: ast.AST


def parse(name: str, path: Path, text: str) -> Module:
    return Module(name, path, text, ast.parse(text, str(path)))


@cache
def modules() -> dict[str, Module]:
    """Every module of the package, by name, in order."""
    found = {}
    for path in sorted((SRC / "pyswarm").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = parse(name, path, path.read_text(encoding="utf-8"))
    return found


def strings(module: Module) -> Iterator[str]:
    """Every literal string: a lazy table names modules in them."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named_in_tests(prefix: str) -> set[str]:
    """The dotted names below ``prefix`` that our own tests import."""
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py")))
    return {name for text in texts for name in re.findall(re.escape(prefix) + r"\.[.\w]+", text)}


def inner_nodes(tree: ast.AST, name: str | None = None) -> set[int]:
    """The identities of all nodes inside functions (inside those called ``name``, if given)."""
    return {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, FUNCTIONS) and name in (None, function.name)
        for node in ast.walk(function)
    }


def shadowed(tree: ast.AST) -> set[tuple[int, str]]:
    """(node, name) for all nodes inside a function in which that name is a local one."""
    found: set[tuple[int, str]] = set()
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS):
            nodes = list(ast.walk(function))
            names = {argument.arg for argument in parameters(function)}
            names |= {
                node.id
                for node in nodes
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            found.update((id(node), name) for name in names & BUILTIN_NAMES for node in nodes)
    return found


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def imports(module: Module) -> Iterator[Import]:
    """Every import, wherever it stands: ``import_module("name")`` is one too."""
    package = module.name.split(".")
    if not module.is_init:
        package.pop()
    inside = inner_nodes(module.tree)
    for node in ast.walk(module.tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            targets = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and called(node)[1] == "import_module":
            named = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            targets = [name for name in named if isinstance(name, str)]
        for target in targets:
            yield Import(target, id(node) in inside, node)


def called(call: ast.Call) -> tuple[str, str]:
    """(owner, name) of what is called: ``datetime.now()`` -> ``("datetime", "now")``."""
    if isinstance(call.func, ast.Attribute):
        return getattr(call.func.value, "id", "?"), call.func.attr
    return "", getattr(call.func, "id", "")


ORDERING = {"sorted", "sort", "min", "max", "insort", "bisect"}
ORDERING |= {"heappush", "heappop", "nsmallest", "nlargest"}


def ordered_by_identity(module: Module) -> Iterator[ast.AST]:
    """Where addresses decide an order; as a key that finds the same object again they are fine."""
    local = shadowed(module.tree)
    for node in ast.walk(module.tree):
        ordering = isinstance(node, ast.Call) and called(node)[1] in ORDERING
        ordering |= isinstance(node, ast.Compare) and any(
            isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for operator in node.ops
        )
        if ordering and any(
            isinstance(inner, ast.Name) and inner.id == "id" and (id(inner), "id") not in local
            for inner in ast.walk(node)
        ):
            yield node


# -- loops over sets -------------------------------------------------------------------------------

SET_NAMES = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
# What they make of a set does not depend on its order.
ORDERLESS = {"sorted", "set", "frozenset", "any", "all", "len", "sum", "min", "max"}
ORDERED = {"list", "tuple", "iter", "enumerate", "next", "zip", "map", "filter", "reversed"}


def loops_over_sets(module: Module) -> Iterator[ast.AST]:
    """Expressions whose outcome depends on the order of a set, as far as one file shows it."""
    attributes = {
        node.target.id if isinstance(node.target, ast.Name) else node.target.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name | ast.Attribute)
        and is_set_type(node.annotation)
    }
    scopes = [node for node in ast.walk(module.tree) if isinstance(node, FUNCTIONS)]
    for scope in [module.tree, *scopes]:
        names = set_names(scope)
        excused = excused_iterables(scope)
        for node in ast.walk(scope):
            for iterable in iterables(node):
                if id(iterable) not in excused and is_set(iterable, names, attributes):
                    yield iterable


def iterables(node: ast.AST) -> list[ast.expr]:
    """What ``node`` goes through in order."""
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        return [node.iter]
    if isinstance(node, ast.Call) and called(node)[1] in ORDERED:
        return list(node.args)
    return [node.value] if isinstance(node, ast.Starred) else []


def excused_iterables(scope: ast.AST) -> set[int]:
    """What is gone through to make a set again, or by a function that does not mind the order."""
    excused: set[int] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.SetComp):
            excused.update(id(part.iter) for part in node.generators)
        elif isinstance(node, ast.Set):
            excused.update(id(part.value) for part in node.elts if isinstance(part, ast.Starred))
        elif isinstance(node, ast.Call) and called(node)[1] in ORDERLESS:
            for argument in node.args:
                excused.add(id(argument))
                if isinstance(argument, ast.GeneratorExp | ast.ListComp):
                    excused.update(id(part.iter) for part in argument.generators)
                elif isinstance(argument, ast.Starred):
                    excused.add(id(argument.value))
    return excused


def set_names(scope: ast.AST) -> set[str]:
    """The local names that are sets: annotated so, or given a set."""
    names: set[str] = set()
    if isinstance(scope, FUNCTIONS):
        names = {
            argument.arg
            for argument in parameters(scope)
            if argument.annotation is not None and is_set_type(argument.annotation)
        }
    for node in ast.walk(scope):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if is_set_type(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.Assign) and is_set(node.value, names, set()):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def is_set_type(annotation: ast.expr) -> bool:
    """``set[str]``, ``frozenset[int] | None`` …"""
    if isinstance(annotation, ast.BinOp):
        return is_set_type(annotation.left) or is_set_type(annotation.right)
    if isinstance(annotation, ast.Subscript):
        return is_set_type(annotation.value)
    return getattr(annotation, "id", getattr(annotation, "attr", "")) in SET_NAMES


def is_set(node: ast.expr, names: set[str], attributes: set[str]) -> bool:
    """Whether the expression is certainly a set."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call):
        return called(node)[1] in {"set", "frozenset"} | SET_METHODS
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub):
        sides = (node.left, node.right)
        if any(isinstance(side, ast.Call) and called(side)[1] == "keys" for side in sides):
            return True
        return any(is_set(side, names, attributes) for side in sides)
    if isinstance(node, ast.Attribute):
        return node.attr in attributes
    return isinstance(node, ast.Name) and node.id in names
