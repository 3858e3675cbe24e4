"""The tree of a template, as Go's own parser has it. ``str`` of a part is how errors quote it.

``position`` is where Go says a part is: for ``.A.B`` that of ``.B``, since the chain is made when
its second field is met.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Literal:
    """A string, number, true, false or nil; ``source`` is how it was written."""

    value: object
    source: str
    position: int

    def __str__(self) -> str:
        return self.source


@attrs.frozen
class Dot:
    position: int

    def __str__(self) -> str:
        return "."


@attrs.frozen
class Field:
    """``.A.B``: fields of the value at hand."""

    names: tuple[str, ...]
    position: int

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@attrs.frozen
class Variable:
    """``$x.A``; ``cell`` is the declaration it belongs to, 0 being the whole context (``$``)."""

    name: str
    cell: int
    names: tuple[str, ...]
    position: int

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@attrs.frozen
class Function:
    name: str
    position: int

    def __str__(self) -> str:
        return self.name


@attrs.frozen
class Chain:
    """``(…).A``."""

    inner: Pipeline
    names: tuple[str, ...]
    position: int

    def __str__(self) -> str:
        return f"({self.inner})" + "".join(f".{name}" for name in self.names)


@attrs.frozen
class Command:
    """Something and its arguments."""

    args: tuple[Term, ...]
    position: int

    def __str__(self) -> str:
        return " ".join(f"({a})" if isinstance(a, Pipeline) else str(a) for a in self.args)


@attrs.frozen
class Pipeline:
    """Commands, the value of each being the last argument of the next. ``declares`` and
    ``assigns`` are cells of variables."""

    commands: tuple[Command, ...]
    position: int
    declares: tuple[int, ...] = ()
    assigns: tuple[int, ...] = ()
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        sign = ":=" if self.declares else "="
        start = f"{', '.join(self.variables)} {sign} " if self.variables else ""
        return start + " | ".join(map(str, self.commands))


Term = Literal | Dot | Field | Variable | Function | Chain | Pipeline


@attrs.frozen
class Text:
    text: str


@attrs.frozen
class Action:
    """``{{ pipeline }}``."""

    pipeline: Pipeline


@attrs.frozen
class Block:
    """``if``, ``with`` or ``range``, up to its ``end``."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@attrs.frozen
class Jump:
    """``break`` or ``continue``."""

    keyword: str
    position: int


Node = Text | Action | Block | Jump
