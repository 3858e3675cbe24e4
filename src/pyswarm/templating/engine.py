"""Filling in a template: reading it, and running it within bounds.

A template comes from outside, and is filled in where a secret may lie beside it. So it sees the
data it is given and nothing else, it makes at most :data:`OUTPUT_MAX` characters, and it takes at
most :data:`STEPS_MAX` steps (a step is a look-up, a call, a printed value or a round of a loop),
making no more than :data:`WORK_MAX` characters on the way. jinja2 is loaded with the
first text that has a ``{{`` in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NoReturn

import attrs

from pyswarm.templating.errors import TemplateError, place
from pyswarm.templating.formats import OUTPUT_MAX
from pyswarm.templating.functions import BUILTINS, LAZY, MANY, text_of
from pyswarm.templating.lexer import Lexer
from pyswarm.templating.parser import Parser
from pyswarm.templating.translate import Translator
from pyswarm.templating.values import Failure, field_of, show

if TYPE_CHECKING:
    from jinja2 import Environment, Template

STEPS_MAX = 20_000
"""Some hundredths of a second."""

WORK_MAX = 4 * OUTPUT_MAX
"""Characters made by all steps together."""

KEPT_TEXT_MAX = 4096
KEPT_MAX = 512
"""Translated templates that are kept, of services' fields: the same few, again and again."""

NAME = "expansion"
"""How Swarm calls every template."""

Lookup = Callable[[str], str]
"""A function of the caller's own: one text in, one text out; raises :class:`Failure`."""


@attrs.frozen(eq=False)
class Program:
    """A template that was read."""

    text: str = attrs.field(repr=False)
    template: Template
    sites: Sequence[tuple[int, str]] = attrs.field(repr=False)


def expand(
    text: str,
    data: object,
    *,
    functions: Mapping[str, Lookup] | None = None,
) -> str:
    """``text`` with what stands between ``{{`` and ``}}`` filled in from ``data``.

    ``data`` is what ``.`` stands for: a mapping (of mappings, lists, text, numbers, None), or a
    :class:`Struct`. ``functions`` are more names that the template may call, each with one text.
    Raises :class:`TemplateError`, with the place, for a template that is wrong, for a key or field
    that is not there, and where it makes too much or takes too long. Source: Go's text/template
    with ``missingkey=error``.
    """
    if "{{" not in text:
        return text
    extra = functions or {}
    read = _kept if len(text) <= KEPT_TEXT_MAX and not extra else _read
    return _Run(read(text, tuple(extra)), data, extra).output()


def check(text: str, *, functions: Sequence[str] = ()) -> None:
    """Raise :class:`TemplateError` for a template that cannot be read, whatever its data."""
    if "{{" in text:
        _read(text, tuple(functions))


def _read(text: str, extra: tuple[str, ...] = ()) -> Program:
    try:
        tree = Parser(text, NAME, (*BUILTINS, *LAZY, *extra)).parse()
        translator = Translator(Lexer(text, NAME))
        made = _environment().from_string(translator.template(tree))
    except (RecursionError, SyntaxError, MemoryError):  # what Python will not read either
        raise TemplateError(f"template: {NAME}: nested too deeply") from None
    return Program(text, made, translator.sites)


_kept = lru_cache(KEPT_MAX)(_read)


@cache
def _environment() -> Environment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(cache_size=0, autoescape=False, optimized=False)
    for names in (made.globals, made.filters, made.tests):
        names.clear()
    return made


class _Run:
    """One filling in. Its methods are all that the translated template can call."""

    def __init__(self, program: Program, data: object, extra: Mapping[str, Lookup]) -> None:
        self._program = program
        self._extra = extra
        self._cells: dict[int, object] = {0: data}
        self._steps = self._work = 0

    def output(self) -> str:
        parts: list[str] = []
        size = 0
        names = ("show", "hide", "field", "call", "cell", "put", "each", "fail")
        try:
            for part in self._program.template.generate({n: getattr(self, n) for n in names}):
                parts.append(part)
                size += len(part)
                if size > OUTPUT_MAX:
                    raise TemplateError(
                        f"template: {NAME}: makes more than {OUTPUT_MAX} characters"
                    )
        except RecursionError:
            raise TemplateError(f"template: {NAME}: nested too deeply") from None
        return "".join(parts)

    def _spend(self, characters: int = 0) -> None:
        self._steps += 1
        self._work += characters
        if self._steps > STEPS_MAX or self._work > WORK_MAX:
            what = f"takes more than {STEPS_MAX} steps"
            if self._work > WORK_MAX:
                what = f"works on more than {WORK_MAX} characters"
            raise TemplateError(f"template: {NAME}: {what}")

    # -- what the template calls

    def show(self, value: object) -> str:
        """A value as output."""
        text = show(value)
        self._spend(len(text))
        return text

    def hide(self, value: object) -> str:
        """An assignment prints nothing."""
        return ""

    def cell(self, number: int) -> object:
        self._spend()
        return self._cells[number]

    def put(self, number: int, value: object) -> object:
        self._spend()
        self._cells[number] = value
        return value

    def field(self, site: int, value: object, *names: str) -> object:
        for name in names:
            self._spend()
            try:
                value = field_of(value, name)
            except Failure as failure:
                self.fail(site, str(failure))
        return value

    def call(self, site: int, whole: int, *args: object) -> object:
        """The function that is named at ``site``; ``whole`` is its command."""
        name = self._program.sites[site][1]
        function, least, most = BUILTINS.get(name) or (self._lookup(name), 1, 1)
        if not least <= len(args) <= most:
            want = f"at least {least}" if most == MANY else str(least)
            self.fail(site, f"wrong number of args for {name}: want {want} got {len(args)}")
        self._spend(sum(len(arg) for arg in args if isinstance(arg, str)))
        try:
            value = function(*args)
        except Failure as failure:
            self.fail(whole, f"error calling {name}: {failure}")
        self._spend(len(value) if isinstance(value, str) else 0)
        return value

    def _lookup(self, name: str) -> Callable[..., object]:
        return lambda value: self._extra[name](text_of(value))

    def each(self, site: int, value: object, dot: int, *cells: int) -> Iterator[None]:
        """The rounds of a loop; the dot and the variables are set before each."""
        match value:
            case None:
                return
            case str() | int() | float():
                self.fail(site, f"range can't iterate over {show(value)}")
            case Mapping():
                rounds: Iterator[tuple[object, object]] = ((k, value[k]) for k in sorted(value))
            case Sequence():
                rounds = iter(enumerate(value))
            case _:
                self.fail(site, f"range can't iterate over {show(value)}")
        for key, one in rounds:
            self._spend()
            self._cells[dot] = one
            if cells:
                self._cells[cells[-1]] = one
                if len(cells) == 2:
                    self._cells[cells[0]] = key
            yield

    def fail(self, site: int, message: str) -> NoReturn:
        """Stop, and say where."""
        position, text = self._program.sites[site]
        line, column = place(self._program.text, position)
        where = f'template: {NAME}:{line}:{column}: executing "{NAME}" at <{text}>'
        raise TemplateError(f"{where}: {message}", line=line, column=column)
