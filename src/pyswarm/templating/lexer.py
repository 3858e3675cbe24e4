"""A template as a row of tokens: text, and the words between ``{{`` and ``}}``.

What counts is Go's ``text/template``: ``{{- `` eats the white space before it and `` -}}`` that
after it, ``{{/* … */}}`` says nothing, a string stands in ``"…"`` (with escapes) or in back quotes
(without), a character in ``'…'`` is its number. Tokens are made one at a time, so that the first
thing that is wrong in reading order is the one that is told.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import attrs

from pyswarm.templating.errors import TemplateError, place

SPACES = " \t\r\n"
KEYWORDS = ("if", "else", "end", "with", "range", "break", "continue")
UNSUPPORTED = ("define", "template", "block")
CONSTANTS = {"nil": "nil", "true": "bool", "false": "bool"}

_NUMBER = re.compile(r"[+-]?\.?\d(?:[eEpP][+-]|[\w.])*", re.ASCII)
_WORD = re.compile(r"\w+")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_CHARACTER = re.compile(r"'(?:[^'\\\n]|\\.)*'")
_SIMPLE = {"(": "(", ")": ")", "|": "|", "=": "=", ",": ","}
_AFTER_WORD = SPACES + ".,|:)("


@attrs.frozen
class Token:
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        """As Go shows it in an error."""
        if self.kind == "eof":
            return "EOF"
        if self.kind == "keyword":
            return f"<{self.text}>"
        shown = self.text if len(self.text) <= 10 else self.text[:10]
        return go_quote(shown) + ("..." if len(self.text) > 10 else "")


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_ESCAPES |= {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def go_quote(text: str) -> str:
    """A string as Go's ``%q`` writes it."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that was no text
        return f"\\x{number - 0xDC00:02x}"
    if character.isprintable():
        return character
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


class Lexer:
    """The tokens of one template; ``name`` is how errors call it."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self._parens = 0

    def error(self, message: str, position: int) -> TemplateError:
        """An error at a place, in Go's form (which tells the line only)."""
        line, column = place(self.text, position)
        return TemplateError(f"template: {self.name}:{line}: {message}", line=line, column=column)

    def tokens(self) -> Iterator[Token]:
        """Every token, the last of them ``eof``. Raises :class:`TemplateError`."""
        text, here = self.text, 0
        while (start := text.find("{{", here)) >= 0:
            trims = text.startswith("{{-", start) and text[start + 3 : start + 4] in tuple(SPACES)
            plain = text[here:start].rstrip(SPACES) if trims else text[here:start]
            if plain:
                yield Token("text", plain, here)
            inner = start + (4 if trims else 2)
            if text.startswith("/*", inner):
                here = self._comment(inner)
            else:
                yield Token("open", "{{", start)
                here = yield from self._action(inner)
        if here < len(text):
            yield Token("text", text[here:], here)
        yield Token("eof", "", len(text))

    def _close(self, here: int) -> int:
        """Where the text goes on if an action ends here, else -1."""
        if self.text.startswith("}}", here):
            return here + 2
        if self.text[here : here + 1] in tuple(SPACES) and self.text.startswith("-}}", here + 1):
            here += 4
            while here < len(self.text) and self.text[here] in SPACES:
                here += 1
            return here
        return -1

    def _comment(self, start: int) -> int:
        end = self.text.find("*/", start + 2)
        if end < 0:
            raise self.error("unclosed comment", start)
        after = self._close(end + 2)
        if after < 0:
            raise self.error("comment ends before closing delimiter", end)
        return after

    def _action(self, here: int) -> Generator[Token, None, int]:
        """The tokens up to the end of an action; returns where the text goes on."""
        text = self.text
        self._parens = 0
        while (after := self._close(here)) < 0:
            if here >= len(text):
                raise self.error("unclosed action", here)
            if text[here] in SPACES:
                end = here
                while text[end : end + 1] in tuple(SPACES) and self._close(end) < 0:
                    end += 1
                yield Token("space", text[here:end], here)
            else:
                token = self._token(here)
                yield token
                end = here + len(token.text)
            here = end
        if self._parens:
            raise self.error("unclosed left paren", here)
        yield Token("close", "}}", here)
        return after

    def _token(self, here: int) -> Token:
        text, character = self.text, self.text[here]
        following = text[here + 1 : here + 2]
        if character == ".":
            return self._dotted(here)
        if character == "$":
            return self._word("variable", here, here + 1)
        if character.isdigit() or character in "+-":
            return self._number(here)
        if character == "_" or character.isalpha():
            return self._word("identifier", here, here)
        if character == '"':
            return self._matched("string", _STRING, here, "unterminated quoted string")
        if character == "'":
            return self._matched("character", _CHARACTER, here, "unterminated character constant")
        if character == "`":
            end = text.find("`", here + 1)
            if end < 0:
                raise self.error("unterminated raw quoted string", here)
            return Token("raw", text[here : end + 1], here)
        if character == ":":
            if following != "=":
                raise self.error("expected :=", here)
            return Token(":=", ":=", here)
        if character in _SIMPLE:
            self._parens += (character == "(") - (character == ")")
            if self._parens < 0:
                raise self.error("unexpected right paren", here)
            return Token(_SIMPLE[character], character, here)
        raise self.error(f"unrecognized character in action: {unicode_name(character)}", here)

    def _dotted(self, here: int) -> Token:
        if self.text[here + 1 : here + 2].isdigit():
            return self._number(here)
        found = _WORD.match(self.text, here + 1)
        if found is None:
            self._must_end(here + 1)
            return Token("dot", ".", here)
        self._must_end(found.end())
        return Token("field", self.text[here : found.end()], here)

    def _word(self, kind: str, here: int, start: int) -> Token:
        found = _WORD.match(self.text, start)
        end = found.end() if found else start
        self._must_end(end)
        word = self.text[here:end]
        if kind == "identifier":
            if word in KEYWORDS or word in UNSUPPORTED:
                kind = "keyword"
            kind = CONSTANTS.get(word, kind)
        return Token(kind, word, here)

    def _must_end(self, end: int) -> None:
        """A word is followed by a space, by punctuation, or by the end of its action."""
        following = self.text[end : end + 1]
        if following and following not in _AFTER_WORD and not self.text.startswith("}}", end):
            raise self.error(f"bad character {unicode_name(following)}", end)

    def _number(self, here: int) -> Token:
        found = _NUMBER.match(self.text, here)
        if found is None:
            shown = go_quote(self.text[here : here + 2].rstrip(SPACES + "}"))
            raise self.error(f"bad number syntax: {shown}", here)
        return Token("number", found.group(), here)

    def _matched(self, kind: str, pattern: re.Pattern[str], here: int, problem: str) -> Token:
        found = pattern.match(self.text, here)
        if found is None:
            raise self.error(problem, here)
        return Token(kind, found.group(), here)


def unicode_name(character: str) -> str:
    """A character as Go's ``%#U`` writes it."""
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
