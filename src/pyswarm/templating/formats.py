"""``printf``, as Go's ``fmt`` does it: ``%s %v %d %q %t %x %X %o %b %c %U %e %f %g %T %%``.

What does not fit is said in the output (``%!d(string=x)``, ``%!s(MISSING)``, ``%!(EXTRA …)``),
never refused, so that a message with a mistake in it still arrives. A width or precision beyond the
limit is ``%!(BADWIDTH)`` or ``%!(BADPREC)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pyswarm.templating.lexer import go_quote, unicode_name
from pyswarm.templating.values import Failure, inner, type_of

WIDTH_MAX = 10_000
"""Go allows a million; a host name or variable needs no such width."""

OUTPUT_MAX = 1 << 20
"""Characters of one text, and of all that one template makes: a config and a secret at their
largest fit together."""

_DIRECTIVE = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?(.)?", re.DOTALL)


def sprintf(form: str, values: Sequence[object]) -> str:
    """``form`` with the values in their places. Raises :class:`Failure` for too much output."""
    parts: list[str] = []
    taken = end = size = 0
    for found in _DIRECTIVE.finditer(form):
        parts.append(form[end : found.start()])
        end = found.end()
        text, taken = _one(found, values, taken)
        parts.append(text)
        size += len(text)
        if size > OUTPUT_MAX:
            raise Failure("too much output")
    parts.append(form[end:])
    if taken < len(values):
        extra = ", ".join(
            "<nil>" if v is None else f"{type_of(v)}={inner(v)}" for v in values[taken:]
        )
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


def _one(found: re.Match[str], values: Sequence[object], taken: int) -> tuple[str, int]:
    """One directive, and how many values were taken then."""
    flags, width, precision, verb = found.groups()
    if verb is None:
        return "%!(NOVERB)", taken
    if verb == "%":
        return "%", taken
    problem = ""
    numbers: list[int | None] = []
    dotted = "." in found.group()[len(flags) :].split(verb)[0]
    for text, bad in ((width, "WIDTH"), (precision, "PREC")):
        number = None
        if text == "*":
            given = values[taken] if taken < len(values) else None
            taken += 1
            number = given if isinstance(given, int) and not isinstance(given, bool) else None
            problem += "" if number is not None else f"%!(BAD{bad})"
        elif text:
            number = int(text) if len(text) < 8 else WIDTH_MAX + 1
        if number is not None and abs(number) > WIDTH_MAX:
            number, problem = None, f"{problem}%!(BAD{bad})"
        numbers.append(number)
    if dotted and precision is None:
        numbers[1] = 0
    if taken >= len(values):
        return f"{problem}%!{verb}(MISSING)", max(taken, len(values))
    if numbers[0] is not None and numbers[0] < 0:
        flags, numbers[0] = flags + "-", -numbers[0]
    return problem + _formatted(verb, flags, numbers[0], numbers[1], values[taken]), taken + 1


def _formatted(
    verb: str, flags: str, width: int | None, precision: int | None, value: object
) -> str:
    make = _VERBS.get(verb)
    text = make(value, flags, precision) if make else None
    if text is None:
        shown = "<nil>" if value is None else f"{type_of(value)}={inner(value)}"
        return f"%!{verb}({shown})"
    missing = (width or 0) - len(text)
    if missing <= 0:
        return text
    if "-" in flags:
        return text + " " * missing
    if "0" in flags and isinstance(value, (int, float)):
        sign = text[:1] if text[:1] in ("+", "-", " ") else ""
        return sign + "0" * missing + text[len(sign) :]
    return ("0" if "0" in flags and verb in "sq" else " ") * missing + text


def _signed(text: str, flags: str) -> str:
    if text.startswith("-"):
        return text
    return ("+" if "+" in flags else " " if " " in flags else "") + text


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(value: object, flags: str, precision: int | None) -> str | None:
    if isinstance(value, str) and "#" in flags:
        return go_quote(value)
    if isinstance(value, str):
        return value if precision is None else value[:precision]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _signed(inner(value), flags)
    return inner(value)


def _string(value: object, flags: str, precision: int | None) -> str | None:
    if value is None or isinstance(value, (bool, int, float)):
        return None
    text = inner(value)
    return text if precision is None else text[:precision]


def _quoted(value: object, flags: str, precision: int | None) -> str | None:
    if _is_int(value):
        return _character(value, flags, precision, quoted=True)
    text = _string(value, flags, precision)
    return None if text is None else go_quote(text)


def _character(
    value: object, flags: str, precision: int | None, quoted: bool = False
) -> str | None:
    if not _is_int(value):
        return None
    assert isinstance(value, int)
    character = chr(value) if 0 <= value < 0xD800 or 0xE000 <= value < 0x110000 else "\ufffd"
    return f"'{go_quote(character)[1:-1]}'" if quoted else character


def _unicode(value: object, flags: str, precision: int | None) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return unicode_name(chr(value)).partition(" ")[0] if value < 0x110000 else f"U+{value:X}"


def _whole(form: str, prefix: str) -> Callable[[object, str, int | None], str | None]:
    def make(value: object, flags: str, precision: int | None) -> str | None:
        if isinstance(value, str) and form in "xX":
            return value.encode("utf-8", "surrogateescape").hex()
        if not _is_int(value):
            return None
        assert isinstance(value, int)
        digits = format(abs(value), form).rjust(precision or 0, "0")
        return _signed(
            ("-" if value < 0 else "") + (prefix if "#" in flags else "") + digits, flags
        )

    return make


def _upper_hex(value: object, flags: str, precision: int | None) -> str | None:
    text = _whole("x", "0x")(value, flags, precision)
    return None if text is None else text.upper()


def _real(form: str) -> Callable[[object, str, int | None], str | None]:
    def make(value: object, flags: str, precision: int | None) -> str | None:
        if not isinstance(value, float):
            return None
        if form in "gG" and precision is None:
            return _signed(inner(value), flags)
        return _signed(format(value, f".{6 if precision is None else precision}{form}"), flags)

    return make


_VERBS: dict[str, Callable[[object, str, int | None], str | None]] = {
    "v": _value,
    "s": _string,
    "q": _quoted,
    "c": _character,
    "U": _unicode,
    "t": lambda value, flags, _: inner(value) if isinstance(value, bool) else None,
    "T": lambda value, flags, _: type_of(value),
    "d": _whole("d", ""),
    "b": _whole("b", "0b"),
    "o": _whole("o", "0"),
    "x": _whole("x", "0x"),
    "X": _upper_hex,
    **{verb: _real(verb) for verb in "eEfFgG"},
}
