"""Go's JSON parser: what it takes, what it refuses, and in which words.

Python's parser does the work. Where it refuses, a reader of tokens goes through the text again to
find Go's words for it: what was looked for where the character stands that does not fit.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

DEPTH_MAX = 200
"""Nested lists and objects. Nothing in the API is deeper than 15; Go's own limit is 10,000, which
no recursive reader survives."""

DIGITS_MAX = 400
"""Of one number: more cannot be held in any of Go's types, and long ones are slow to read."""


class BadJson(Exception):
    """No JSON; the text is Go's."""


def kind_of(value: Any) -> str:
    """How Go calls a value that is of the wrong type."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "null"


def wrong_base64_at(text: str) -> int:
    """Where Go's decoder stops in a text that is no base64; line ends are gone from it."""
    found = re.match(r"[A-Za-z0-9+/]*", text)
    good = found.end() if found is not None else 0
    begun = good % 4
    if good == len(text):
        return good - begun
    if text[good] != "=" or begun < 2:
        return good
    if begun == 3 or text[good + 1 :] == "":
        return good + 1
    return good + 2 if text[good + 1] == "=" else good


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _number(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError("too many digits")
    return int(text)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_number)
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(data: bytes) -> tuple[Any, int]:
    """The first value of a text, and where it ends, blanks after it included.

    Raises :class:`BadJson`. As in Go, bytes and escapes that are no characters become U+FFFD.
    """
    text = data.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    _check_depth(text)
    try:
        value, end = _decoder.raw_decode(text, start)
    except ValueError:
        raise BadJson(_words(text)) from None
    if "\\u" in text:
        value = _cleaned(value)
    rest = text[end:].lstrip(" \t\r\n")
    return value, len(data) - len(rest.encode()) if rest else len(data)


def parse_whole(data: bytes) -> Any:
    """The one value of a text: Go's ``Unmarshal``. Raises :class:`BadJson`."""
    try:
        value, end = parse(data)
    except BadJson as problem:
        if str(problem) == _EOF:
            raise BadJson("unexpected end of JSON input") from None
        raise
    if end < len(data):
        raise BadJson(_wrong(data[end:].decode("utf-8", "replace")[0], "after top-level value"))
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1
            if depth > DEPTH_MAX:
                raise BadJson("exceeded max depth")
        elif found[2]:
            depth -= 1


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case list():
            return [_cleaned(one) for one in value]
        case dict():
            return {_cleaned(key): _cleaned(one) for key, one in value.items()}
    return value


# -- Go's words


_EOF = "unexpected EOF"
_BLANK = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class _Words(Exception):
    pass


def _wrong(char: str, where: str) -> str:
    shown = {"'": "\\'", '"': '"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if shown is None and char > "\x7f":  # Go looks at bytes, and shows each as a character
        char = chr(char.encode()[0])
    if shown is None:
        shown = char if char.isprintable() else f"\\x{ord(char):02x}"
    return f"invalid character '{shown}' {where}"


def _words(text: str) -> str:
    """Why Go does not take ``text``, which is no JSON."""
    try:
        _Reader(text).value()
    except _Words as found:
        return str(found)
    return _EOF


class _Reader:
    """Goes through a text until something does not fit."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _fail(self, where: str) -> NoReturn:
        if self._at >= len(self._text):
            raise _Words(_EOF)
        raise _Words(_wrong(self._text[self._at], where))

    def _peek(self) -> str:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at
        return self._text[self._at : self._at + 1]

    def value(self) -> None:
        """One value; its depth is bounded before."""
        match self._peek():
            case "{":
                self._object()
            case "[":
                self._list()
            case '"':
                self._string()
            case "t":
                self._literal("true")
            case "f":
                self._literal("false")
            case "n":
                self._literal("null")
            case char if char and char in "-0123456789":
                self._number()
            case _:
                self._fail("looking for beginning of value")

    def _object(self) -> None:
        self._at += 1
        if self._peek() == "}":
            self._at += 1
            return
        while True:
            if self._peek() != '"':
                self._fail("looking for beginning of object key string")
            self._string()
            if self._peek() != ":":
                self._fail("after object key")
            self._at += 1
            self.value()
            if not self._goes_on("}", "after object key:value pair"):
                return

    def _list(self) -> None:
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            self.value()
            if not self._goes_on("]", "after array element"):
                return

    def _goes_on(self, end: str, where: str) -> bool:
        char = self._peek()
        if char not in (",", end) or not char:
            self._fail(where)
        self._at += 1
        return char == ","

    def _string(self) -> None:
        found = _STRING.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        if self._text[self._at : self._at + 1] == '"':
            self._at += 1
            return
        if self._text[self._at : self._at + 1] != "\\":
            self._fail("in string literal")
        self._at += 1
        if self._text[self._at : self._at + 1] != "u":
            self._fail("in string escape code")
        self._at += 1
        while self._text[self._at : self._at + 1] in tuple("0123456789abcdefABCDEF"):
            self._at += 1
        self._fail("in \\u hexadecimal character escape")

    def _literal(self, word: str) -> None:
        for place, char in enumerate(word):
            if self._text[self._at : self._at + 1] != char:
                expected = f" (expecting '{char}')" if place else ""
                self._fail(f"in literal {word}{expected}")
            self._at += 1

    def _number(self) -> None:
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            self._at += 1
            self._fail("in numeric literal")
        self._at = found.end()
        if len(found[0]) > DIGITS_MAX:
            raise _Words("number literal too long")
        char = self._text[self._at : self._at + 1]
        if char == "." and "." not in found[0] and not found[0].lower().count("e"):
            self._at += 1
            self._fail("after decimal point in numeric literal")
        if char in ("e", "E") and not found[0].lower().count("e"):
            self._at += 1
            if self._text[self._at : self._at + 1] in ("+", "-"):
                self._at += 1
            self._fail("in exponent of numeric literal")
