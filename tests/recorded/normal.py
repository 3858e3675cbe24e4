"""What two outputs of a command have in common, whoever ran it and when.

Ids, times, addresses of nodes, versions, tokens and the widths of columns say nothing. Outputs that
are JSON are compared as such, whatever the order of keys. Of a service's progress the beginning and
the end count; of a service's tasks, not on which of equal nodes they run, nor what ran before. A
name that was invented for a service says nothing, and may fit a filter by chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_VERSION = r"0\.\d+\.\d+\.dev\d+|20\.10\.24(\+dfsg1)?|2[89]\.\d+\.\d+(\+\w+)?"

_NORMAL: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----", "<certificate>"),
        (r"SWMTKN-[12]-[0-9a-z]+-[0-9a-z]+", "<token>"),
        (r"SWMKEY-1-[0-9A-Za-z+/]{43}", "<key>"),
        (r"sha256:[0-9a-f]{64}", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<hex>"),
        (r"\b[0-9a-z]{25}\b", "<id>"),
        (r"\b(?=[0-9a-z]*[0-9])[0-9a-z]{12}\b", "<id12>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|\+0000 (utc|UTC)|\+00:00))?", "<time>"),
        (
            r"(?i)(less than a second|about an? (minute|hour)|\d+ (seconds?|minutes?|hours?)) ago",
            "<ago>",
        ),
        (r"Up (Less than a second|About an? (minute|hour)|\d+ (seconds?|minutes?))", "Up <time>"),
        (r"\b127\.\d+\.\d+\.\d+:(500[01])\b", r"<registry>:\1"),
        (r"(?<=stored unencrypted in )'[^']*'", "<path>"),
        (r"(10\.99\.0|127\.\d+\.\d+)\.1[1-8]\b", "<host>"),
        (rf"(?<![\d.])({_VERSION})(?![\d./])", "<version>"),
        (r"\b(Sun|Mon|Tue|Wed|Thu|Fri|Sat) \w{3} +\d+ \d\d:\d\d:\d\d \S+ \d{4}\b", "<date>"),
        (r"\bM[A-Za-z0-9+/]{15,}={0,2}", "<der>"),
        (r"(/var/lib/reference|/tmp/tmp\w+/n\d)/[^\s\"']*", "<path>"),
        (r"(?<=following services: ).*", "<services>"),
        (r"verify: Service( \S+)? converged", "verify: Service converged"),
        (r"Runtimes: .*", "Runtimes: <runtimes>"),
        (r"docker (28\.\d+\.\d+|20\.10\.\d+\S*)", "docker <version>"),
    )
)
_MEANT = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"Monitoring Period: (5|30)s$", "Monitoring Period: <default>"),
        (r"^(Log|Network|Volume): [a-z, -]+$", r"\1: <plugins>"),
    )
)
"""What differs everywhere, and is meant to: see :data:`recorded.differences.EVERYWHERE`."""

_DEFAULT_MONITORS = (5_000_000_000, 30_000_000_000)
_ADDRESSES = ("Addr", "Subnet", "Gateway", "IPv4Address", "MacAddress", "VIP", "EndpointIP")
_ADDRESS = r"10\.(?!99\.0\.)|172\.30\.|02:42"
_UNDER_WAY = re.compile(r"\b(Running|Ready) (Assigned|Accepted|Preparing|Ready|Starting|Running) ")
_INVENTED = re.compile(r"[a-z]+_[a-z]+")
_RANDOM_NAME = re.compile(r"(^|(?<= ))[a-z]+_[a-z]+(?= replicated )")
_ROW = re.compile(r"^[0-9a-z]{12}(?= |$)")

_OWN_NETWORK = re.compile(r"<id12> (bridge bridge|docker_gwbridge bridge) local")
"""What a node had before it was in a swarm: with the recorded ones that differs too."""

_PROGRESS = re.compile(
    r"^(overall progress: .*|active tasks: .*|verify: (Waiting|Detected) .*|\d+/\d+:.*|<id>: .*"
    r"|[a-z0-9]{12}: .*|rollback: .*)$"
)
_LOOSE_NUMBERS = frozenset(
    {"Index", "NanoCPUs", "MemoryBytes", "NCPU", "MemTotal", "PID", "Pid", "Size", "LocalLBIndex"}
)


def normal(text: str, cmd: str = "") -> str:
    """``text``, the output of ``cmd``, without what differs from run to run."""
    documents = _documents(text)
    if documents is not None:
        shown = [json.dumps(_plain(one), indent=1, sort_keys=True) for one in documents]
        return "\n".join(sorted(shown) if " ls " in cmd else shown)
    lines = [_meant(" ".join(line.split())) for line in _leaf(text).splitlines()]
    if re.search(r"\b(ls|ps|services)\b", cmd):
        lines = [_RANDOM_NAME.sub("<name>", _ROW.sub("<id12>", line)) for line in lines]
    if re.search(r"\b(node ls|service ls|stack rm)\b", cmd):
        lines.sort()
    if "--filter name=" in cmd:
        lines = [line for line in lines if "<name>" not in line]
    if "network ls" in cmd:
        lines = [line for line in lines if not _OWN_NETWORK.fullmatch(line)]
    if re.search(r"\b(service|node|stack) ps\b", cmd):
        lines = _tasks(lines)
    if "service logs" in cmd:
        lines = sorted(re.sub(r"@node-\d", "@<node>", line) for line in lines)
    if re.search(r"\b(service|node|secret|config) ls -q", cmd):
        lines.sort()
    return "\n".join(_progress(lines))


def _meant(line: str) -> str:
    for pattern, to in _MEANT:
        line = pattern.sub(to, line)
    return line


def _tasks(lines: list[str]) -> list[str]:
    """The rows of tasks as a set, those of now apart from those before."""
    rows = [
        re.sub(r"\bnode-\d\b", "<node>", _UNDER_WAY.sub("<under way> ", line)) for line in lines
    ]
    return sorted(frozenset(re.sub(r"(?<=\S)\.\d+ ", ".<slot> ", row) for row in rows))


def _documents(text: str) -> list[Any] | None:
    """The JSON documents that ``text`` is; None if it is something else."""
    decoder = json.JSONDecoder()
    found, at = [], 0
    stripped = text.strip()
    if not stripped.startswith(("[", "{")):
        return None
    while at < len(stripped):
        try:
            value, at = decoder.raw_decode(stripped, at)
        except ValueError:
            return None
        found.append(value)
        while at < len(stripped) and stripped[at].isspace():
            at += 1
    return found


def _plain(value: Any, key: str = "") -> Any:
    if key == "Plugins" and isinstance(value, list):
        return "<plugins>"
    if key in _ADDRESSES and isinstance(value, str) and re.match(_ADDRESS, value):
        return "<address>"
    if key == "ID" and isinstance(value, str) and len(value) == 12:
        return "<id12>"
    if key == "Name" and isinstance(value, str) and _INVENTED.fullmatch(value):
        return "<name>"
    if isinstance(value, Mapping):
        return {_leaf(name): _plain(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return _leaf(value)
    if key in _LOOSE_NUMBERS or (key == "Monitor" and value in _DEFAULT_MONITORS):
        return 0
    return value


def _leaf(text: str) -> str:
    for pattern, to in _NORMAL:
        text = pattern.sub(to, text)
    return text


def _progress(lines: list[str]) -> Iterator[str]:
    """How progress went depends on timing; that it began and how it ended does not."""
    in_progress = False
    for line in lines:
        if line.startswith(("overall progress:", "job progress:", "active tasks:")):
            in_progress = True
            continue
        if in_progress and _PROGRESS.match(line) and not line.startswith("verify: Service"):
            continue
        yield line
