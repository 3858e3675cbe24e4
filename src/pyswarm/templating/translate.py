"""From our tree to one of jinja2's, which holds nothing but calls of the engine's own functions.

No name, attribute or item of the template becomes one of jinja2's: ``.A.B`` is the call
``field(site, dot, "A", "B")`` on plain data, and a variable is a numbered cell. What jinja2 runs
are blocks, loops, ``and`` and ``or``, text, and those calls, in its sandbox. A *site* is the number
of a place in the template that an error may have to name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyswarm.templating.functions import LAZY
from pyswarm.templating.lexer import Lexer
from pyswarm.templating.syntax import (
    Action,
    Block,
    Chain,
    Command,
    Dot,
    Field,
    Function,
    Jump,
    Literal,
    Node,
    Pipeline,
    Term,
    Text,
    Variable,
)

if TYPE_CHECKING:
    from jinja2 import nodes

DEPTH_MAX = 50
"""Calls inside one another: Python reads 200 parentheses, and a call takes up to three."""


class Translator:
    """Makes a jinja2 tree; afterwards ``sites`` are the places, by number."""

    def __init__(self, lexer: Lexer) -> None:
        from jinja2 import nodes

        self._nodes: Any = nodes
        self._lexer = lexer
        self.sites: list[tuple[int, str]] = []
        self._dots: list[int] = []
        self._next_dot = -1  # cells below zero: what `with` and `range` made the dot

    def template(self, tree: Sequence[Node]) -> nodes.Template:
        made: nodes.Template = self._nodes.Template(self._list(tree))
        made.set_lineno(1)
        return made

    # -- blocks

    def _list(self, tree: Sequence[Node]) -> list[Any]:
        return [self._node(one) for one in tree]

    def _node(self, node: Node) -> Any:
        match node:
            case Text(text):
                return self._nodes.Output([self._nodes.TemplateData(text)])
            case Action(pipeline):
                quiet = pipeline.declares or pipeline.assigns
                shown = self._call("hide" if quiet else "show", self._pipeline(pipeline, 1))
                return self._nodes.Output([shown])
            case Jump(keyword):
                return self._nodes.Break() if keyword == "break" else self._nodes.Continue()
            case Block():
                return self._block(node)

    def _block(self, block: Block) -> Any:
        if block.keyword == "range":
            return self._range(block)
        test = self._pipeline(block.pipeline, 1)
        if block.keyword == "if":
            return self._branches(block, test)
        dot = self._new_dot()
        test = self._call("put", self._const(dot), test)
        body = self._inside(dot, block.body)
        return self._nodes.If(test, body, [], self._list(block.otherwise))

    def _branches(self, block: Block, test: Any) -> Any:
        """``else if`` becomes jinja2's ``elif``: a row of them is not nested."""
        made = self._nodes.If(test, self._list(block.body), [], [])
        rest = block.otherwise
        while len(rest) == 1 and isinstance(rest[0], Block) and rest[0].keyword == "if":
            test = self._pipeline(rest[0].pipeline, 1)
            made.elif_.append(self._nodes.If(test, self._list(rest[0].body), [], []))
            rest = rest[0].otherwise
        made.else_ = self._list(rest)
        return made

    def _range(self, block: Block) -> Any:
        pipeline = block.pipeline
        value = self._commands(pipeline, 1)
        cells = pipeline.declares or pipeline.assigns
        dot = self._new_dot()
        site = self._site(pipeline.position, str(pipeline))
        each = self._call("each", site, value, self._const(dot), *map(self._const, cells))
        body = self._inside(dot, block.body)
        target = self._nodes.Name("round", "store")
        return self._nodes.For(target, each, body, self._list(block.otherwise), None, False)

    def _new_dot(self) -> int:
        self._next_dot -= 1
        return self._next_dot

    def _inside(self, dot: int, body: Sequence[Node]) -> list[Any]:
        self._dots.append(dot)
        made = self._list(body)
        self._dots.pop()
        return made

    # -- expressions

    def _const(self, value: object) -> Any:
        return self._nodes.Const(value)

    def _call(self, name: str, *args: Any) -> Any:
        return self._nodes.Call(self._nodes.Name(name, "load"), list(args), [], None, None)

    def _site(self, position: int, text: str) -> Any:
        self.sites.append((position, text))
        return self._const(len(self.sites) - 1)

    def _fail(self, position: int, text: str, message: str) -> Any:
        return self._call("fail", self._site(position, text), self._const(message))

    def _pipeline(self, pipeline: Pipeline, depth: int) -> Any:
        value = self._commands(pipeline, depth)
        for cell in pipeline.declares or pipeline.assigns:
            value = self._call("put", self._const(cell), value)
        return value

    def _commands(self, pipeline: Pipeline, depth: int) -> Any:
        depth += len(pipeline.commands)
        if depth > DEPTH_MAX:
            raise self._lexer.error("the expression is nested too deeply", pipeline.position)
        value = None
        for command in pipeline.commands:
            value = self._command(command, value, depth)
        return value

    def _command(self, command: Command, final: Any, depth: int) -> Any:
        first, *rest = command.args
        if isinstance(first, Function):
            args = [self._term(arg, depth) for arg in rest]
            return self._function(first, command, args if final is None else [*args, final])
        at = first.position, str(first)
        if rest or final is not None:
            if isinstance(first, (Field, Variable, Chain)) and first.names:
                what = f"{first.names[-1]} has arguments but cannot be invoked as function"
                return self._fail(*at, what)
            return self._fail(*at, f"can't give argument to non-function {command.args[0]}")
        if isinstance(first, Literal) and first.value is None:
            return self._fail(*at, "nil is not a command")
        return self._term(first, depth)

    def _function(self, function: Function, command: Command, args: list[Any]) -> Any:
        if function.name in LAZY:
            if not args:
                what = f"wrong number of args for {function.name}: want at least 1 got 0"
                return self._fail(function.position, function.name, what)
            return self._lazy(self._nodes.And if function.name == "and" else self._nodes.Or, args)
        name = self._site(function.position, function.name)
        whole = self._site(command.position, str(command))
        return self._call("call", name, whole, *args)

    def _lazy(self, join: Any, args: list[Any]) -> Any:
        """Halves of halves, so that a long row is not deep."""
        if len(args) == 1:
            return args[0]
        middle = len(args) // 2
        return join(self._lazy(join, args[:middle]), self._lazy(join, args[middle:]))

    def _term(self, term: Term, depth: int) -> Any:
        match term:
            case Literal(value):
                return self._const(value)
            case Dot():
                return self._dot()
            case Field(names):
                return self._fields(self._dot(), names, term)
            case Variable(_, cell, names):
                return self._fields(self._call("cell", self._const(cell)), names, term)
            case Chain(inner, names):
                return self._fields(self._pipeline(inner, depth + 1), names, term)
            case Pipeline():
                return self._pipeline(term, depth + 1)
            case Function():
                return self._function(term, Command((term,), term.position), [])

    def _dot(self) -> Any:
        return self._call("cell", self._const(self._dots[-1] if self._dots else 0))

    def _fields(self, value: Any, names: Sequence[str], term: Term) -> Any:
        if not names:
            return value
        site = self._site(term.position, str(term))
        return self._call("field", site, value, *map(self._const, names))
