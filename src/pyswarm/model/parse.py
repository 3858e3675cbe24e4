"""The short texts people write: ``10m30s``, ``512M``, ``8080:80/tcp@host``.

The grammars are Docker's (Go's for durations). Whatever has a type already (a number of seconds, a
number of bytes) is taken as it is. Everything wrong raises
:class:`~pyswarm.errors.InvalidArgument` with the text in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from pyswarm.errors import InvalidArgument
from pyswarm.model.resources import NANO
from pyswarm.model.specs import Healthcheck, Mount, PortConfig, Preference
from pyswarm.model.states import MountType, Protocol, PublishMode

_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_duration_part = re.compile(r"([0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_size = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_port = re.compile(
    r"(?:(?P<published>[0-9]{1,5})(?:-(?P<published_to>[0-9]{1,5}))?:)?"
    r"(?P<target>[0-9]{1,5})(?:-(?P<target_to>[0-9]{1,5}))?"
    r"(?:/(?P<protocol>[a-z]+))?(?:@(?P<mode>[a-z]+))?"
)

PORT_MAX = 65_535


def parse_duration(text: str | float) -> float:
    """Seconds of ``"1h10m"``, ``"300ms"``, ``"1.5s"``; numbers are seconds already."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not isfinite(text):
            raise InvalidArgument(f"time: invalid duration {text}")
        return float(text)
    if not isinstance(text, str):
        raise InvalidArgument(f"time: invalid duration {text!r}")
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, place = 0.0, 0
    while place < len(rest):
        part = _duration_part.match(rest, place)
        if part is None:
            break
        total += float(part[1]) * _UNIT_SECONDS[part[2]]
        place = part.end()
    if not rest or place < len(rest):
        raise InvalidArgument(
            f'time: invalid duration "{text}"', hint='write it like "1m30s" or "500ms"'
        )
    return sign * round(total * 1e9) / 1e9  # whole nanoseconds, as Go has them


def parse_bytes(text: str | int) -> int:
    """Bytes of ``"512M"``, ``"10g"``, ``"1GiB"`` (multiples of 1024); or an integer of bytes."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _size.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise InvalidArgument(f"invalid size: {text!r}", hint='write it like "512M" or "1GiB"')
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def parse_cpus(amount: float | str) -> int:
    """Nano-CPUs of a number of CPUs (``0.5``, ``"1.5"``)."""
    try:
        cpus = float(amount)
    except (TypeError, ValueError):
        cpus = float("nan")
    if not isfinite(cpus) or isinstance(amount, bool):
        raise InvalidArgument(f"invalid number of CPUs: {amount!r}")
    return round(cpus * NANO)


def parse_ports(text: str | int | PortConfig) -> tuple[PortConfig, ...]:
    """The ports of ``"8080:80"`` or a range ``"8000-8003:80-83/udp"``."""
    if isinstance(text, PortConfig):
        return (text,)
    match = _port.fullmatch(str(text)) if not isinstance(text, bool) else None
    if match is None:
        raise InvalidArgument(
            f"invalid port: {text!r}", hint='write it like "8080:80", "53/udp" or "80:80@host"'
        )
    targets = _range(text, match["target"], match["target_to"])
    published: range | list[int] = [0] * len(targets)
    if match["published"]:
        published = _range(text, match["published"], match["published_to"])
    if len(published) != len(targets):
        raise InvalidArgument(f"invalid port: {text!r}: the ranges differ in length")
    return tuple(
        PortConfig(target, given, _protocol(match), _publish_mode(match))
        for target, given in zip(targets, published, strict=True)
    )


def _range(text: object, first: str, last: str | None) -> range:
    start, end = int(first), int(last or first)
    if not start <= end <= PORT_MAX:
        raise InvalidArgument(f"invalid port: {text!r}: ports are 1 to {PORT_MAX}")
    return range(start, end + 1)


def _protocol(match: re.Match[str]) -> Protocol:
    word = match["protocol"] or "tcp"
    try:
        return Protocol(word)
    except ValueError:
        raise InvalidArgument(f"invalid protocol {word!r}: tcp, udp or sctp") from None


def _publish_mode(match: re.Match[str]) -> PublishMode:
    word = match["mode"] or "ingress"
    try:
        return PublishMode(word)
    except ValueError:
        raise InvalidArgument(f"invalid publish mode {word!r}: ingress or host") from None


_MOUNT_HINT = 'write it like "data:/var/lib:ro", or give a Mount, which says all there is to say'


def parse_mount(text: str | Mount) -> Mount:
    """A mount of ``"source:target"`` or ``"source:target:ro"``; a name as source is a volume."""
    if isinstance(text, Mount):
        return text
    parts = text.split(":") if isinstance(text, str) else []
    if parts and "=" in parts[0]:  # the words of docker's --mount would be a strange path
        raise InvalidArgument(f"invalid mount: {text!r}", hint=_MOUNT_HINT)
    if len(parts) == 1 and parts[0]:
        return Mount(target=parts[0])
    if len(parts) not in (2, 3) or not parts[1] or parts[2:] not in ([], ["ro"], ["rw"]):
        raise InvalidArgument(f"invalid mount: {text!r}", hint=_MOUNT_HINT)
    kind = MountType.BIND if parts[0].startswith(("/", ".", "~")) else MountType.VOLUME
    return Mount(target=parts[1], source=parts[0], type=kind, read_only=parts[2:] == ["ro"])


def parse_preference(text: str | Preference) -> Preference:
    """A placement preference of ``"spread=node.labels.zone"``."""
    if isinstance(text, Preference):
        return text
    strategy, _, descriptor = str(text).partition("=")
    if strategy != "spread" or not descriptor:
        raise InvalidArgument(
            f"invalid placement preference {text!r}", hint='write it like "spread=node.labels.zone"'
        )
    return Preference(descriptor)


_HEALTH_TIMES = ("interval", "timeout", "start_period", "start_interval")


def parse_healthcheck(check: str | Mapping[str, Any] | Healthcheck) -> Healthcheck:
    """A health check of a shell command, or of a mapping: ``test`` (a text for the shell, or
    ``["CMD", …]``), ``interval``, ``timeout``, ``retries``, ``start_period``, ``start_interval``.
    ``"NONE"`` is none at all."""
    if isinstance(check, Healthcheck):
        return check
    if isinstance(check, str):
        check = {"test": check}
    if not isinstance(check, Mapping):
        raise InvalidArgument(f"invalid health check: {check!r}")
    fields = dict(check)
    test = fields.pop("test", ())
    if isinstance(test, str):
        test = ("NONE",) if test == "NONE" else ("CMD-SHELL", test)
    retries = fields.pop("retries", 0)
    unknown = [name for name in fields if name not in _HEALTH_TIMES]
    if unknown:
        raise InvalidArgument(f"a health check has no {unknown[0]!r}")
    times = {name: parse_duration(text) for name, text in fields.items()}
    return Healthcheck(test=tuple(test), retries=retries, **times)


_REFERENCE_FIELDS = {
    "source": "source", "src": "source", "target": "target", "uid": "uid", "gid": "gid",
    "mode": "mode",
}  # fmt: skip


def parse_reference(text: str) -> dict[str, Any]:
    """``source=NAME[,target=FILE][,uid=N][,gid=N][,mode=0444]`` as a mapping.

    A mode's base follows from its prefix, as in Go: ``0440`` and ``0o440`` are octal, ``440`` is
    decimal.
    """
    fields: dict[str, Any] = {}
    for part in text.split(","):
        key, sign, content = part.partition("=")
        if not sign:
            raise InvalidArgument(f"invalid field '{part}' must be a key=value pair")
        name = _REFERENCE_FIELDS.get(key.strip().lower())
        if name is None:
            raise InvalidArgument(f"invalid field in secret or config request: {key}")
        fields[name] = _mode(content) if name == "mode" else content
    if not fields.get("source"):
        raise InvalidArgument("source is required")
    return fields


def _mode(text: str) -> int:
    octal = len(text) > 1 and text[0] == "0" and text[1].isdigit()
    try:
        mode = int(text, 8 if octal else 0)
    except ValueError:
        mode = -1
    if not 0 <= mode < 1 << 32:
        raise InvalidArgument(f"invalid mode specified: {text!r}")
    return mode
