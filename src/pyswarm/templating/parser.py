"""From tokens to the tree, refusing what Go refuses, in Go's words.

Beyond that there are limits, since a template comes from outside: how deep blocks and parentheses
may be nested and how many actions there may be. ``define``, ``template`` and ``block`` are refused:
a text that is filled in by itself has nothing to share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from pyswarm.templating.errors import TemplateError
from pyswarm.templating.lexer import UNSUPPORTED, Lexer, Token, go_quote
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

BLOCKS_MAX = 16
"""Blocks inside one another: Python nests loops 20 deep."""

BRANCHES_MAX = 64
"""``else if`` in a row: each is nested in the one before."""

PARENS_MAX = 16
"""Parentheses inside one another."""

ACTIONS_MAX = 4096
"""Actions of one template: some seconds of work at most."""

TERMS_MAX = 256
"""Terms of one action."""

_ENDS = ("end", "else")


class Parser:
    """Makes the tree of one template; ``functions`` are the names that may be called."""

    def __init__(self, text: str, name: str, functions: Collection[str]) -> None:
        self._lexer = Lexer(text, name)
        self._tokens = self._lexer.tokens()
        self._back: list[Token] = []
        self._functions = functions
        self._scopes: list[dict[str, int]] = [{"$": 0}]
        self._cells = 0
        self._blocks = self._loops = self._parens = self._actions = self._terms = 0

    def parse(self) -> tuple[Node, ...]:
        """The whole template. Raises :class:`TemplateError`."""
        nodes, end = self._list()
        if end.kind != "eof":
            raise self._error(f"unexpected {{{{{end.text}}}}}", end)
        return nodes

    # -- tokens

    def _next(self) -> Token:
        return self._back.pop() if self._back else next(self._tokens)

    def _peek(self) -> Token:
        token = self._next()
        self._back.append(token)
        return token

    def _next_word(self) -> Token:
        """The next token that is not a space."""
        token = self._next()
        return self._next() if token.kind == "space" else token

    def _peek_word(self) -> Token:
        token = self._next_word()
        self._back.append(token)
        return token

    def _error(self, message: str, token: Token) -> TemplateError:
        return self._lexer.error(message, token.position)

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        return self._error(f"unexpected {token} in {context}", token)

    # -- blocks

    def _list(self) -> tuple[tuple[Node, ...], Token]:
        """Nodes up to ``end`` or ``else`` (consumed), or the end of the text."""
        nodes: list[Node] = []
        while (token := self._next()).kind != "eof":
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            self._actions += 1
            self._terms = 0
            if self._actions > ACTIONS_MAX:
                raise self._error(f"more than {ACTIONS_MAX} actions", token)
            word = self._peek_word()
            if word.kind != "keyword":
                nodes.append(Action(self._pipeline("command", "close")))
                continue
            self._next_word()
            if word.text in _ENDS:
                if word.text == "end":
                    self._close("end")
                return tuple(nodes), word
            nodes.append(self._keyword(word))
        return tuple(nodes), token

    def _close(self, context: str) -> None:
        token = self._next_word()
        if token.kind != "close":
            raise self._unexpected(token, context)

    def _keyword(self, word: Token) -> Node:
        if word.text in UNSUPPORTED:
            raise self._error(f"{{{{{word.text}}}}} is not supported here", word)
        if word.text in ("break", "continue"):
            self._close(f"{{{{{word.text}}}}}")
            if not self._loops:
                raise self._error(f"{{{{{word.text}}}}} outside {{{{range}}}}", word)
            return Jump(word.text, word.position)
        self._blocks += 1
        if self._blocks > BLOCKS_MAX:
            raise self._error(f"blocks are nested more than {BLOCKS_MAX} deep", word)
        block = self._block(word, 0)
        self._blocks -= 1
        return block

    def _block(self, word: Token, branch: int) -> Block:
        if branch > BRANCHES_MAX:
            raise self._error(f"more than {BRANCHES_MAX} branches", word)
        self._scopes.append({})
        pipeline = self._pipeline(word.text, "close")
        looping = word.text == "range"
        self._loops += looping
        self._scopes.append({})
        body, end = self._list()
        self._scopes.pop()
        self._loops -= looping
        otherwise: tuple[Node, ...] = ()
        if end.text == "else":
            otherwise, end = self._else(word.text, branch)
        if end.kind == "eof":
            raise self._error("unexpected EOF", end)
        if end.text == "else":
            raise self._error("expected end; found {{else}}", end)
        self._scopes.pop()
        return Block(word.text, pipeline, body, otherwise)

    def _else(self, keyword: str, branch: int) -> tuple[tuple[Node, ...], Token]:
        """What follows ``else``; an ``else if`` shares the ``end`` of the block."""
        word = self._next_word()
        if word.kind == "keyword" and word.text == keyword == "if":
            block = self._block(word, branch + 1)
            return (block,), Token("keyword", "end", word.position)
        if word.kind != "close":
            raise self._unexpected(word, "else")
        self._scopes.append({})
        found = self._list()
        self._scopes.pop()
        return found

    # -- expressions

    def _pipeline(self, context: str, end: str) -> Pipeline:
        start = self._peek_word()
        names, sign = self._assignment(context)
        commands: list[Command] = []
        while (token := self._next_word()).kind != end:
            if token.kind in ("close", "eof", ")", "|"):
                if token.kind == "|" and not commands:
                    raise self._error(f"missing value for {context}", token)
                raise self._unexpected(token, context)
            self._back.append(token)
            commands.append(self._command(end))
        if not commands:
            raise self._error(f"missing value for {context}", token)
        for number, command in enumerate(commands[1:], 2):
            if isinstance(command.args[0], (Literal, Dot)):
                what = f"non executable command in pipeline stage {number}"
                raise self._error(what, token)
        if sign == ":=":
            cells = tuple(map(self._declare, names))
            return Pipeline(tuple(commands), start.position, cells, (), tuple(names))
        cells = tuple(self._find(name, start) for name in names)
        return Pipeline(tuple(commands), start.position, (), cells, tuple(names))

    def _assignment(self, context: str) -> tuple[list[str], str]:
        """The variables before ``:=`` or ``=``, if the pipeline begins with some."""
        first = self._peek_word()
        if first.kind != "variable":
            return [], ""
        self._next_word()
        spaces = [self._next()] if self._peek().kind == "space" else []
        sign = self._next()
        if sign.kind in (":=", "="):
            return [first.text], sign.kind
        if sign.kind == "," and context == "range":
            second, sign = self._next_word(), self._next_word()
            if second.kind != "variable" or sign.kind not in (":=", "="):
                raise self._unexpected(second, "range")
            return [first.text, second.text], sign.kind
        if sign.kind == ",":
            raise self._error(f"too many declarations in {context}", sign)
        self._back += [sign, *spaces, first]
        return [], ""

    def _declare(self, name: str) -> int:
        self._cells += 1
        self._scopes[-1][name] = self._cells
        return self._cells

    def _find(self, name: str, token: Token) -> int:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise self._error(f"undefined variable {go_quote(name)}", token)

    def _command(self, end: str) -> Command:
        start = self._peek_word()
        args: list[Term] = []
        while True:
            token = self._next_word()
            self._back.append(token)
            if token.kind == "dot":
                operand: Term | None = Dot(self._next().position)
            else:
                operand = self._operand()
            if operand is not None:
                args.append(operand)
            token = self._next()
            if token.kind == "space" and operand is not None:
                continue
            if token.kind in ("close", ")"):
                self._back.append(token)
            elif token.kind != "|":
                raise self._unexpected(token, "operand")
            elif self._peek_word().kind == end:
                raise self._error("missing value for command", token)
            break
        if not args:
            raise self._error("empty command", token)
        return Command(tuple(args), start.position)

    def _operand(self) -> Term | None:
        """A term and the fields that follow it without a space."""
        term = self._term()
        if term is None or self._peek().kind != "field":
            return term
        position, names = self._peek().position, []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        match term:
            case Field(before, _):
                return Field((*before, *names), position)
            case Variable(name, cell, before, _):
                return Variable(name, cell, (*before, *names), position)
            case Pipeline():
                return Chain(term, tuple(names), position)
        raise self._lexer.error(f"unexpected . after term {go_quote(str(term))}", position)

    def _term(self) -> Term | None:
        token = self._next_word()
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise self._error(f"more than {TERMS_MAX} terms in an action", token)
        make = _TERMS.get(token.kind)
        if make is not None:
            return make(self, token)
        self._back.append(token)
        return None

    def _function(self, token: Token) -> Term:
        if token.text not in self._functions:
            raise self._error(f"function {go_quote(token.text)} not defined", token)
        return Function(token.text, token.position)

    def _variable(self, token: Token) -> Term:
        return Variable(token.text, self._find(token.text, token), (), token.position)

    def _parenthesized(self, token: Token) -> Term:
        self._parens += 1
        if self._parens > PARENS_MAX:
            raise self._error(f"parentheses are nested more than {PARENS_MAX} deep", token)
        inner = self._pipeline("parenthesized pipeline", ")")
        self._parens -= 1
        return inner

    def _number(self, token: Token) -> Term:
        value = number(token.text)
        if value is None:
            raise self._error(f"bad number syntax: {go_quote(token.text)}", token)
        return Literal(value, token.text, token.position)

    def _string(self, token: Token) -> Term:
        value = unquote(token.text)
        if value is None or (token.kind == "character" and len(value) != 1):
            what = "malformed character constant: " if token.kind == "character" else ""
            raise self._error(f"{what}{token.text}" if what else "invalid syntax", token)
        content = ord(value) if token.kind == "character" else value
        return Literal(content, token.text, token.position)


_TERMS: dict[str, Callable[[Parser, Token], Term]] = {
    "identifier": Parser._function,
    "variable": Parser._variable,
    "dot": lambda _, token: Dot(token.position),
    "field": lambda _, token: Field((token.text[1:],), token.position),
    "nil": lambda _, token: Literal(None, "nil", token.position),
    "bool": lambda _, token: Literal(token.text == "true", token.text, token.position),
    "number": Parser._number,
    "string": Parser._string,
    "character": Parser._string,
    "raw": lambda _, token: Literal(token.text[1:-1], token.text, token.position),
    "(": Parser._parenthesized,
}

INTEGER_BITS = 63
_OLD_OCTAL = re.compile(r"([+-]?)0([0-7]+)")


def number(text: str) -> int | float | None:
    """A number as Go writes them; None for what is none."""
    old = _OLD_OCTAL.fullmatch(text)
    try:
        whole = int(f"{old[1]}0o{old[2]}" if old else text, 0)
        return whole if -(1 << INTEGER_BITS) <= whole < 1 << INTEGER_BITS else None
    except ValueError:
        pass
    try:
        real = float(text)
    except ValueError:
        return None
    return real if abs(real) != float("inf") and real == real else None


_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))"
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unquote(text: str) -> str | None:
    """What a quoted string or character says; None for a bad escape."""
    bad: list[str] = []

    def one(found: re.Match[str]) -> str:
        simple, byte, short, long, octal, other = found.groups()
        if simple:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else int(byte or short or long or "110000", 16)
        wide = short or long
        if other is not None or code > (0x10FFFF if wide else 0xFF) or 0xD800 <= code < 0xE000:
            bad.append(found.group())
            return ""
        return chr(code) if wide or code < 0x80 else chr(0xDC00 + code)

    value = _ESCAPE.sub(one, text[1:-1])
    return None if bad else value
