"""Plays recorded calls of the real ``docker`` CLI against daemons of ours, and compares.

A record is one call: who made it, the command line, what came out and with which exit code. What
was done between the calls (a node killed, a label set by other means) is a table
(:mod:`recorded.script`). Two outputs are the same when they agree after
:func:`recorded.normal.normal`. What only looks is asked again until it agrees or ``patience_s`` is
over: the recording was made some time after what it shows. Ids and tokens of the recording that
appear in later commands are replaced by ours, learnt from the outputs.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import time
from pathlib import Path

import attrs

from recorded.daemons import Daemons
from recorded.normal import normal
from recorded.registry import Registries
from recorded.script import BEFORE, PATIENCE_S, PREFIXES, STDIN

NETWORK = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}."
"""Of this process alone: two that play at once on one machine must not meet."""
REGISTRY = f"{NETWORK}200"
REGISTRY_IMAGES = (f"{REGISTRY}:5000/busybox=sleep infinity",)
"""What nodes can have of the registries."""
GOLDEN = Path(__file__).parent.parent / "golden"
API_VERSION = "1.41"
CALL_S = 30.0
GIVEN_UP = -1
"""Stands for the exit code of a call that did not end in this time."""
STEP_S = 60.0
HOLD_UP_S = 3.0
"""Longer than managers wait for a leader."""
PAUSE_S = 0.2
NOT_YET = ("update out of sequence", "requires at least 1 argument")
"""An update of before was still under way, or what the call is about was not there."""

_LOOKS = re.compile(
    r"(sleep \d+; ?)?docker (\S+ )?"
    r"(ls|ps|inspect|services|logs|info|events|version|join-token|unlock-key)\b"
)
_ID = re.compile(r"\b[0-9a-z]{25}\b")
_DIGEST = re.compile(r"(?<=SWMTKN-1-)[0-9a-z]{50}")
_TOKEN = re.compile(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}|SWMKEY-1-[0-9A-Za-z+/]{43}")


@attrs.frozen
class Record:
    """One recorded call; ``rc`` is None where it was given up."""

    number: int
    topic: str
    node: str
    cli: str
    cmd: str
    rc: int | None
    stdout: str
    stderr: str


@attrs.frozen
class Outcome:
    """What one call said here, and whether it agrees with the recording."""

    record: Record
    rc: int
    stdout: str
    stderr: str

    @property
    def agrees(self) -> bool:
        """Exit code and both outputs."""
        return not self.differences()

    def differences(self) -> list[str]:
        """What differs, as lines of a diff."""
        one, found = self.record, []
        if (GIVEN_UP if one.rc is None else one.rc) != self.rc:
            found.append(f"  exit code {one.rc} recorded, {self.rc} here")
        for name, theirs, ours in (
            ("stdout", one.stdout, self.stdout),
            ("stderr", one.stderr, self.stderr),
        ):
            lines = [normal(text, one.cmd).splitlines() for text in (theirs, ours)]
            diff = difflib.unified_diff(*lines, f"{name} recorded", f"{name} here", "", "", 1, "")
            found += [f"  {line}" for line in diff if not line.startswith("@@")]
        return found

    def show(self) -> str:
        """For people."""
        head = f"#{self.record.number} {self.record.node} $ {self.record.cmd[:300]}"
        return "\n".join([head, *self.differences()])


def records(path: Path = GOLDEN / "transcripts.jsonl") -> list[Record]:
    """All recorded calls, in order."""
    fields = [field.name for field in attrs.fields(Record)[1:]]
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [Record(number, *(one[name] for name in fields)) for number, one in enumerate(found)]


def _text(said: bytes | str | None) -> str:
    """What a command that was given up had said: bytes, whatever was asked for."""
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


class Player:
    """Plays records, and learns what the ids of the recording are called here."""

    def __init__(
        self, daemons: Daemons, *, patience_s: float, registries: Registries | None = None
    ) -> None:
        self._daemons = daemons
        self._registries = registries
        self._patience_s = patience_s
        self._names: dict[str, str] = {}
        self.keys: dict[str, str] = {}

    def play(self, record: Record, *, patience_s: float | None = None) -> Outcome:
        """What was done before, then the call; again while it only looks and does not agree."""
        patience = PATIENCE_S.get(record.topic, self._patience_s)
        if patience_s is not None:
            patience = patience_s
        for step in BEFORE.get(record.number, ()):
            self.do(step)
        deadline = time.monotonic() + patience
        while True:
            outcome = self._once(record)
            again = _LOOKS.match(record.cmd) or any(one in outcome.stderr for one in NOT_YET)
            if outcome.agrees or not again or time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S)
        self._learn(outcome)
        return outcome

    def do(self, step: str) -> None:
        """``n1 kill``, ``n1 leads`` …, or ``n1 docker …``."""
        node, _, what = step.partition(" ")
        if what == "key":
            self.keys[node] = self._run(node, "docker swarm unlock-key -q").stdout.strip()
        elif what.startswith("moves"):
            assert self._registries is not None
            self._registries.move_tag(what.removeprefix("moves "))
        elif what == "leads":
            self._let_lead(node)
        elif what.startswith("joins"):
            _, other, role = what.split()
            token = self._run(other, f"docker swarm join-token -q {role}").stdout.strip()
            self._insist(node, f"docker swarm join --token {token} 10.99.0.1{other[1:]}:2377")
        elif what.startswith("docker"):
            self._insist(node, what)
        else:
            getattr(self._daemons, what)(node)

    def _insist(self, node: str, cmd: str) -> None:
        deadline = time.monotonic() + STEP_S
        while (done := self._run(node, self._here(node, cmd))).returncode != 0:
            assert time.monotonic() < deadline, f"{node} {cmd}: {done.stderr}"
            time.sleep(PAUSE_S)

    def _let_lead(self, node: str) -> None:
        """Who follows a leader that is gone is chance; to have it be ``node``, any other that leads
        is held up until it does not."""
        deadline = time.monotonic() + STEP_S
        while (leader := self._leader(node)) != node:
            assert time.monotonic() < deadline, f"{leader} leads, not {node}"
            if leader:
                self._daemons.pause(leader)
                time.sleep(HOLD_UP_S)
                self._daemons.resume(leader)
            time.sleep(PAUSE_S)

    def _leader(self, node: str) -> str:
        """The node that leads, as ``node`` sees it; "" if none does."""
        managers = 'docker node ls --format "{{.ManagerStatus}} {{.Hostname}}"'
        found = re.search(r"^Leader node-(\d)$", self._run(node, managers).stdout, re.M)
        return f"n{found[1]}" if found else ""

    def _once(self, record: Record) -> Outcome:
        cmd = self._here(record.node, record.cmd)
        if prefix := PREFIXES.get(record.number):
            whole = next((one for one in self._names if one.startswith(prefix)), prefix)
            cmd = cmd.replace(prefix, self._names.get(whole, prefix)[: len(prefix)])
        stdin = self.keys.get(record.node, "") + "\n" if record.number in STDIN else ""
        done = self._run(record.node, cmd, stdin)
        return Outcome(record, done.returncode, done.stdout, done.stderr)

    def _run(self, node: str, cmd: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{self._daemons.socket(node)}",
            "DOCKER_API_VERSION": API_VERSION,
            "DOCKER_CLI_HINTS": "false",
            "HOME": str(self._daemons.folder),
        }
        try:
            return subprocess.run(
                ["sh", "-c", cmd],
                cwd=self._daemons.folder,
                env=environment,
                input=stdin,
                capture_output=True,
                timeout=CALL_S,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired as cut:
            return subprocess.CompletedProcess(cmd, GIVEN_UP, _text(cut.stdout), _text(cut.stderr))

    def _here(self, node: str, cmd: str) -> str:
        """The command with our ids, tokens and addresses for those of the recording.

        The recorded nodes each had a network namespace; here each has a loopback address. Pauses
        that the recording made before it looked are not needed.
        """
        host = f"{NETWORK}1{node[1:]}"
        cmd = re.sub(r"^sleep \d+; ?", "", cmd)
        cmd = cmd.replace("10.99.0.", NETWORK).replace("127.0.0.1:500", f"{REGISTRY}:500")
        cmd = cmd.replace("--listen-addr 0.0.0.0:2377", f"--listen-addr {host}:2377")
        if "--help" not in cmd and "swarm init" in cmd:
            if "--listen-addr" not in cmd:
                cmd = cmd.replace("swarm init", f"swarm init --listen-addr {host}:2377")
            if "--advertise-addr" not in cmd:
                cmd = cmd.replace("swarm init", f"swarm init --advertise-addr {host}")
        if "--help" not in cmd and "swarm join " in cmd:
            ours = f"swarm join --listen-addr {host}:2377 --advertise-addr {host}:2377 "
            cmd = cmd.replace("swarm join ", ours)
        for pattern in (_TOKEN, _DIGEST, _ID):
            cmd = pattern.sub(lambda found: self._names.get(found[0], found[0]), cmd)
        return cmd

    def _learn(self, outcome: Outcome) -> None:
        """Ids of lines that say the same are the same; else those at the same place."""
        cmd = outcome.record.cmd
        here: dict[str, list[str]] = {}
        for line in outcome.stdout.splitlines():
            here.setdefault(normal(line, cmd), []).append(line)
        for line in outcome.record.stdout.splitlines():
            if found := here.get(normal(line, cmd)):
                self._pair(line, found.pop(0))
        self._pair(outcome.record.stdout, outcome.stdout)

    def _pair(self, theirs: str, ours: str) -> None:
        for pattern in (_TOKEN, _DIGEST, _ID):
            names = pattern.findall(theirs), pattern.findall(ours)
            if len(names[0]) == len(names[1]):
                for one, other in zip(*names, strict=True):
                    self._names.setdefault(one, other)
