"""Constraints: which nodes a service may run on, as text that people write.

The language is Swarm's, to the letter: ``key == value`` or ``key != value``, nothing else. The
operators are looked for in the order ``==``, ``!=`` and the text is split at the first one found.
Keys of the node itself (``node.id``, ``node.role`` …) are matched without regard to case, as are
all values; the part of a label key after ``node.labels.`` or ``engine.labels.`` is not. There are
no globs: ``*`` in a value is a star. A missing label compares as the empty text, so it satisfies
every ``!=``. A key nobody knows is accepted and matches no node, with either operator.

What is refused is refused with Swarm's sentence; the hint shows where.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.model.objects import Node

OPERATORS = ("==", "!=")
# Go's `\s` is ASCII only, and its `$` never stops before a newline: hence the set and fullmatch.
KEY_PATTERN = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE)
VALUE_PATTERN = re.compile(
    r"[a-z0-9:\-_\t\n\f\r .*()?+\[\]\\^$|/]+",
    re.IGNORECASE,
)
NODE_LABELS = "node.labels."
ENGINE_LABELS = "engine.labels."
NODE_KEYS = ("node.id", "node.hostname", "node.ip")
"""Keys that tell single nodes apart: looked up directly, never part of a node's class."""

CLASS_KEYS = ("node.role", "node.platform.os", "node.platform.arch")
PARSED_MAX = 4096  # parsed constraints kept: more than the distinct ones of a large swarm

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def fold(text: str) -> str:
    """``text`` without regard to case: Unicode's simple folding, as far as values can tell."""
    # Of all letters only the long s and the Kelvin sign (which lower() handles) fold to ASCII ones.
    return text.lower().replace("ſ", "s")


def parse_ip(text: str) -> IPAddress | None:
    """The address that ``text`` says, or None; an IPv4 address in IPv6 form is the IPv4 one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def parse_cidr(text: str) -> IPNetwork | None:
    """The network that ``text`` says as ADDRESS/PREFIX; host bits may be set."""
    if not text.rpartition("/")[2].isdecimal():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


@attrs.frozen
class Constraint:
    """One constraint; ``key`` is as written, ``label`` the label's key if it is about a label."""

    key: str
    equal: bool
    value: str
    label: str = ""
    folded_key: str = ""
    folded_value: str = ""

    @staticmethod
    def parse(text: str) -> Constraint:
        """Read one constraint; :class:`InvalidArgument` with Swarm's sentence if it is none."""
        return _parse(text)

    def matches(self, node: Node) -> bool:
        """Whether ``node`` satisfies this."""
        if self.folded_key == "node.ip":
            return self.matches_address(parse_ip(node.addr))
        actual = self.actual(node)
        return actual is not None and (fold(actual) == self.folded_value) == self.equal

    def matches_address(self, address: IPAddress | None) -> bool:
        """Whether a node of this address satisfies this constraint on ``node.ip``."""
        wanted = parse_ip(self.value)
        if wanted is not None:
            return (wanted == address) == self.equal
        network = parse_cidr(self.value)
        if network is None:
            return False  # neither address nor network: no node, with either operator
        inside = address is not None and address.version == network.version and address in network
        return inside == self.equal

    def actual(self, node: Node) -> str | None:
        """What ``node`` has where this constraint looks; None where there is no such place."""
        key, description = self.folded_key, node.description
        if key == NODE_LABELS:
            return node.spec.labels.get(self.label, "")
        if key == ENGINE_LABELS:
            return description.engine_labels.get(self.label, "") if description else ""
        if key == "node.id":
            return node.id
        if key == "node.role":
            return node.role.name
        if key == "node.ip":
            return node.addr
        if key == "node.hostname":
            return node.hostname
        if key == "node.platform.os":
            return description.platform.os if description else ""
        if key == "node.platform.arch":
            return description.platform.architecture if description else ""
        return None

    def __str__(self) -> str:
        return f"{self.key}{'==' if self.equal else '!='}{self.value}"


def _refuse(message: str, text: str, at: int) -> InvalidArgument:
    hint = f"at the mark:\n  {text}\n  {' ' * at}^\na constraint is KEY==VALUE or KEY!=VALUE"
    return InvalidArgument(message, hint=hint, details={"constraint": text, "at": at})


def _first_bad(text: str, pattern: re.Pattern[str]) -> int:
    """Where ``text`` stops being what ``pattern`` allows."""
    found = pattern.match(text)
    return found.end() if found else 0


@lru_cache(maxsize=PARSED_MAX)
def _parse(text: str) -> Constraint:
    for operator in OPERATORS:
        at = text.find(operator)
        if at < 0:
            continue
        left, right = text[:at], text[at + len(operator) :]
        key, value = left.strip(), right.strip()
        if not KEY_PATTERN.fullmatch(key):
            start = len(left) - len(left.lstrip())
            bad = start + _first_bad(key, KEY_PATTERN)
            raise _refuse(f"key '{key}' is invalid", text, bad)
        if not VALUE_PATTERN.fullmatch(value):
            start = at + len(operator) + len(right) - len(right.lstrip())
            bad = start + _first_bad(value, VALUE_PATTERN)
            raise _refuse(f"value '{value}' is invalid", text, bad)
        return _resolve(key, operator == "==", value)
    single = text.find("=")
    message = f"constraint expected one operator from {', '.join(OPERATORS)}"
    raise _refuse(message, text, len(text) if single < 0 else single)


def _resolve(key: str, equal: bool, value: str) -> Constraint:
    """Sort out which place in a node the key means."""
    for prefix in (NODE_LABELS, ENGINE_LABELS):
        if len(key) > len(prefix) and fold(key[: len(prefix)]) == prefix:
            return Constraint(key, equal, value, key[len(prefix) :], prefix, fold(value))
    folded = fold(key)
    known = folded if folded in NODE_KEYS or folded in CLASS_KEYS else ""
    return Constraint(key, equal, value, "", known, fold(value))


def parse_all(texts: Sequence[str]) -> tuple[Constraint, ...] | None:
    """All of ``texts`` parsed, or None if one is malformed (the filter is then off, as in Swarm).

    Services are refused when they are created with such a constraint; this is for those that came
    from elsewhere.
    """
    try:
        return tuple(_parse(text) for text in texts)
    except InvalidArgument:
        return None
