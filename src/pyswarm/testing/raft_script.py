"""Raft stories as text: commands, and below them what they did.

A script is a text file of blocks, separated by blank lines. ``#`` begins a comment::

    # One of three is elected.
    add-nodes 3
    campaign 1
    stabilize
    ----
    1 is pre-candidate at term 1
    ...

What stands below ``----`` is written by the program: ``python -m pyswarm.testing.raft_script FILE``
prints the script with fresh output, and the final state and log of every member. What is no command
ends it with one line that names the file's, and exit code 2.

=========================================== ====================================================
command                                     what it does
=========================================== ====================================================
``add-nodes N [learners=M] [setting=V ...]`` founds a cluster; settings are RaftConfig's
``add-node ID``                             starts the host of a member that was added
``campaign ID``                             starts an election
``propose ID DATA ...``                     proposes commands
``propose-conf-change ID CHANGE``           ``add [voter]``, ``promote N``, ``demote N``,
                                            ``remove N [force]``
``transfer-leadership ID [N]``              hands leadership over
``read ID NAME``                            asks for a read index
``tick ID COUNT``                           ticks
``tick-heartbeat ID``                       ticks until heartbeats are due
``tick-election ID``                        ticks until the longest election timeout is over
``process-ready ID ... [sync=no]``          takes one Ready; without sync the disk does not finish
``sync ID ...``                             the disk finishes
``deliver-msgs [ID ...] [type=T] [from=N]`` delivers what waits (for these members)
``drop [ID ...] [type=T] [from=N]``         loses it
``stabilize [ID ...] [type=T] [from=N]``    all of it until nobody has anything to do
``isolate ID ...``, ``heal``                cuts links, mends all
``crash ID [keep]``, ``restart ID``         what was not synced is lost, unless ``keep``
``compact ID [keep=N]``                     takes a snapshot, keeps N entries before it
``report-unreachable ID N``                 the transport of ID cannot reach N
``step-down ID``                            gives up leadership
``status ID``                               the leader's view of its followers
``raft-state``, ``raft-log [ID ...]``       where everybody is, what they hold
=========================================== ====================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Sequence
from typing import TypeAlias

import attrs

from pyswarm.errors import SwarmError
from pyswarm.raft import (
    AddMember,
    DemoteMember,
    MemberID,
    MembershipChange,
    Message,
    PromoteMember,
    RaftConfig,
    RemoveMember,
    Role,
)
from pyswarm.testing.raft_cluster import ROUNDS_MAX, LocalRaft
from pyswarm.testing.raft_text import (
    lines_of_log,
    lines_of_ready,
    text_of_follower,
    text_of_message,
    text_of_state,
)

SEPARATOR = "----"
MEMBERS_MAX = 99
NUMBER_MAX = 10_000
"""Of ticks, members and entries: somebody wants to read what becomes of them."""
MESSAGE_NAMES = tuple(sorted(kind.__name__ for kind in Message.__subclasses__()))
SETTINGS = tuple(field.name for field in attrs.fields(RaftConfig) if field.name != "id")


class ScriptError(Exception):
    """A command is not understood."""


class Words:
    """A command's arguments: plain words and ``key=value`` pairs. ``members`` are those there are.

    Everything raises ``ScriptError``."""

    def __init__(self, words: Sequence[str], members: Container[MemberID]) -> None:
        self.plain = [word for word in words if "=" not in word]
        self.named = dict(word.split("=", 1) for word in words if "=" in word)
        self._members = members

    def ids(self) -> list[MemberID]:
        """All plain words as ids of members."""
        return [self.id(position) for position in range(len(self.plain))]

    def id(self, position: int = 0) -> MemberID:
        """One plain word as the id of a member."""
        id = self.number(position)
        if id not in self._members:
            raise ScriptError(f"there is no member {id}")
        return id

    def number(self, position: int = 0) -> int:
        """One plain word as a number from 1 on."""
        if position >= len(self.plain):
            raise ScriptError("a number is missing")
        return number(self.plain[position], 1)

    def option(self, name: str, default: int = 0) -> int:
        """A named number."""
        return number(self.named[name], 0) if name in self.named else default

    def chooses(self) -> Callable[[Message], bool]:
        """The filter that ``type=`` and ``from=`` describe."""
        kind, sender = self.named.get("type", ""), self.option("from")
        if not any(name.startswith(kind) for name in MESSAGE_NAMES):
            raise ScriptError(f"no message is a {kind!r}: {', '.join(MESSAGE_NAMES)}")

        def choose(message: Message) -> bool:
            right_kind = type(message).__name__.startswith(kind)
            return right_kind and (not sender or message.from_ == sender)

        return choose


def number(text: str, least: int) -> int:
    """``text`` as a number that makes sense in a story."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= value <= NUMBER_MAX:
        raise ScriptError(f"{text!r} is no number from {least} to {NUMBER_MAX}")
    return value


class Script:
    """Runs commands; collects what they did."""

    def __init__(self) -> None:
        self.cluster = LocalRaft(0)
        self.cluster.nodes.clear()
        self.roles: dict[MemberID, tuple[Role, int]] = {}
        self.out: list[str] = []

    def run(self, line: str) -> None:
        """One command line; a command that Raft refuses prints its error. Raises ``ScriptError``
        for what makes no sense."""
        name, *rest = line.split()
        command = COMMANDS.get(name)
        if command is None:
            raise ScriptError(f"unknown command {name!r}")
        words = Words(rest, self.cluster.nodes)
        strange = [] if command.options is None else sorted(set(words.named) - {*command.options})
        if strange or not command.least <= len(words.plain) <= command.most:
            raise ScriptError(f"usage: {name} {command.text}".rstrip())
        try:
            command.do(self, words)
        except SwarmError as error:
            self.out.append(f"{error.code}: {error}")
        self.note_roles()

    def note_roles(self) -> None:
        """Says who changed role or term."""
        for id in self.cluster.up:
            replica = self.cluster[id]
            now = (replica.role, replica.term)
            if self.roles.get(id, (Role.FOLLOWER, 1)) != now:
                self.out.append(f"{id} is {replica.role.value} at term {replica.term}")
            self.roles[id] = now

    def take(self, id: MemberID, sync: bool = True) -> bool:
        """One Ready of a member."""
        ready = self.cluster.process_ready(id)
        if ready is not None:
            self.out += lines_of_ready(id, ready)
        if sync:
            self.cluster.sync(id)
        self.note_roles()
        return ready is not None

    def deliver(self, ids: list[MemberID], choose: Callable[[Message], bool]) -> bool:
        """Delivers, one by one, the messages that wait now."""
        waiting = [m for m in self.cluster.messages if (not ids or m.to in ids) and choose(m)]
        for message in waiting:
            self.cluster.deliver(choose=lambda m, this=message: m is this)  # type: ignore[misc]
            link = (message.from_, message.to)
            lost = link in self.cluster.cut_links or message.to not in self.cluster.up
            self.out.append(f"{'lost' if lost else 'deliver'} {text_of_message(message)}")
            self.note_roles()
        return bool(waiting)


Handler: TypeAlias = Callable[[Script, Words], None]


def add_nodes(script: Script, words: Words) -> None:
    learners = words.option("learners")
    settings: dict[str, int | bool] = {}
    for name, value in words.named.items():
        setting = name.replace("-", "_")
        if setting in SETTINGS:
            settings[setting] = value == "yes" if value in ("yes", "no") else number(value, 0)
        elif name != "learners":
            raise ScriptError(f"no setting is called {name!r}")
    if words.number() + learners > MEMBERS_MAX:
        raise ScriptError(f"more than {MEMBERS_MAX} members")
    script.cluster = LocalRaft(words.number(), learners=learners, **settings)


def add_node(script: Script, words: Words) -> None:
    id = words.number()
    if id in script.cluster.nodes:
        raise ScriptError(f"member {id} is there already")
    script.cluster.add(id)


def campaign(script: Script, words: Words) -> None:
    script.cluster[words.id()].campaign()


def propose(script: Script, words: Words) -> None:
    replica = script.cluster[words.id()]
    for data in words.plain[1:]:
        replica.propose(data.encode())


def propose_conf_change(script: Script, words: Words) -> None:
    index = script.cluster[words.id()].propose_membership(parse_change(words))
    script.out.append(f"proposed at {index}")


def parse_change(words: Words) -> MembershipChange:
    """``add [voter]``, ``promote N``, ``demote N``, ``remove N [force]``."""
    kind = words.plain[1] if len(words.plain) > 1 else ""
    if kind == "add":
        return AddMember(voter="voter" in words.plain)
    if kind == "promote":
        return PromoteMember(words.number(2))
    if kind == "demote":
        return DemoteMember(words.number(2))
    if kind == "remove":
        return RemoveMember(words.number(2), force="force" in words.plain)
    raise ScriptError(f"unknown change {kind!r}")


def transfer_leadership(script: Script, words: Words) -> None:
    to = words.number(1) if len(words.plain) > 1 else None
    script.cluster[words.id()].transfer_leadership(to)


def read(script: Script, words: Words) -> None:
    script.cluster[words.id()].read_index(words.plain[1])


def tick(script: Script, words: Words) -> None:
    script.cluster.tick(words.id(), words.number(1))


def tick_heartbeat(script: Script, words: Words) -> None:
    for id in words.ids():
        script.cluster.tick(id, script.cluster.nodes[id].config.heartbeat_ticks)


def tick_election(script: Script, words: Words) -> None:
    for id in words.ids():
        for _ in range(2 * script.cluster.nodes[id].config.election_timeout_ticks):
            before = script.cluster[id].role
            script.cluster.tick(id)
            if script.cluster[id].role is not before:
                break


def process_ready(script: Script, words: Words) -> None:
    sync = words.named.get("sync", "yes")
    if sync not in ("yes", "no"):
        raise ScriptError("sync is yes or no")
    for id in words.ids():
        if not script.take(id, sync == "yes"):
            script.out.append(f"ready {id}: nothing")


def sync(script: Script, words: Words) -> None:
    for id in words.ids():
        script.cluster.sync(id)


def deliver_msgs(script: Script, words: Words) -> None:
    if not script.deliver(words.ids(), words.chooses()):
        script.out.append("no messages")


def drop(script: Script, words: Words) -> None:
    for message in script.cluster.drop(*words.ids(), choose=words.chooses()):
        script.out.append(f"drop {text_of_message(message)}")


def stabilize(script: Script, words: Words) -> None:
    for _ in range(ROUNDS_MAX):
        busy = False
        for id in words.ids() or script.cluster.up:
            while script.take(id):
                busy = True
        if not script.deliver(words.ids(), words.chooses()) and not busy:
            return
    raise ScriptError("the members do not come to rest")


def isolate(script: Script, words: Words) -> None:
    script.cluster.isolate(*words.ids())


def heal(script: Script, words: Words) -> None:
    script.cluster.heal()


def crash(script: Script, words: Words) -> None:
    id, *more = words.id(), *words.plain[1:]
    if more not in ([], ["keep"]):
        raise ScriptError("usage: crash ID [keep]")
    if id not in script.cluster.up:
        raise ScriptError(f"member {id} is down")
    script.cluster.crash(id, keep_writes=bool(more))


def restart(script: Script, words: Words) -> None:
    id = words.id()
    if id in script.cluster.up:
        raise ScriptError(f"member {id} is up")
    script.roles.pop(id, None)
    script.cluster.restart(id)


def compact(script: Script, words: Words) -> None:
    script.cluster.compact(words.id(), words.option("keep"))


def report_unreachable(script: Script, words: Words) -> None:
    script.cluster[words.id()].report_unreachable(words.number(1))


def step_down(script: Script, words: Words) -> None:
    script.cluster[words.id()].step_down()


def status(script: Script, words: Words) -> None:
    record = script.cluster[words.id()].status()
    script.out.append(text_of_state(script.cluster[words.id()]))
    script.out += [f"  {text_of_follower(follower)}" for follower in record.followers]


def raft_state(script: Script, words: Words) -> None:
    for id, node in script.cluster.nodes.items():
        script.out.append(f"{id}: down" if node.replica is None else text_of_state(node.replica))


def raft_log(script: Script, words: Words) -> None:
    for id in words.ids() or list(script.cluster.nodes):
        node = script.cluster.nodes[id]
        script.out.append(f"log of {id}:")
        script.out += lines_of_log(node.disk, node.replica)


@attrs.frozen
class Command:
    """What it does, and how it is written: how many plain words, and which named ones (None: it
    says)."""

    do: Handler
    text: str = ""
    least: int = 0
    most: int = 0
    options: tuple[str, ...] | None = ()


def _one(do: Handler) -> Command:
    return Command(do, "ID", 1, 1)


def _some(do: Handler) -> Command:
    return Command(do, "ID ...", 1, MEMBERS_MAX)


def _filter(do: Handler) -> Command:
    return Command(do, "[ID ...] [type=T] [from=N]", 0, MEMBERS_MAX, ("type", "from"))


COMMANDS: dict[str, Command] = {
    "add-nodes": Command(add_nodes, "N [learners=M] [setting=V ...]", 1, 1, None),
    "add-node": _one(add_node),
    "campaign": _one(campaign),
    "propose": Command(propose, "ID DATA ...", 2, NUMBER_MAX),
    "propose-conf-change": Command(
        propose_conf_change, "ID add [voter] | promote N | demote N | remove N [force]", 2, 4
    ),
    "transfer-leadership": Command(transfer_leadership, "ID [N]", 1, 2),
    "read": Command(read, "ID NAME", 2, 2),
    "tick": Command(tick, "ID COUNT", 2, 2),
    "tick-heartbeat": _some(tick_heartbeat),
    "tick-election": _some(tick_election),
    "process-ready": Command(process_ready, "ID ... [sync=no]", 1, MEMBERS_MAX, ("sync",)),
    "sync": _some(sync),
    "deliver-msgs": _filter(deliver_msgs),
    "drop": _filter(drop),
    "stabilize": _filter(stabilize),
    "isolate": _some(isolate),
    "heal": Command(heal),
    "crash": Command(crash, "ID [keep]", 1, 2),
    "restart": _one(restart),
    "compact": Command(compact, "ID [keep=N]", 1, 1, ("keep",)),
    "report-unreachable": Command(report_unreachable, "ID N", 2, 2),
    "step-down": _one(step_down),
    "status": _one(status),
    "raft-state": Command(raft_state),
    "raft-log": Command(raft_log, "[ID ...]", 0, MEMBERS_MAX),
}


def render(text: str, script: Script | None = None) -> str:
    """The script with fresh output in place of what stands there. Raises ``ScriptError``."""
    script = script or Script()
    out: list[str] = []
    lines = enumerate(text.splitlines(), 1)
    pending = False
    for place, line in lines:
        if line.strip() == SEPARATOR:
            for _ in iter(lambda: next(lines, (0, ""))[1].strip(), ""):
                pass  # The old output, up to the blank line.
            line = ""
        if line.strip():
            out.append(line)
            if not line.startswith("#"):
                try:
                    script.run(line)
                except (ScriptError, AssertionError) as error:
                    raise ScriptError(f"{place}: {error}") from None
                pending = True
            continue
        if pending:
            out += [SEPARATOR, *(script.out or ["ok"])]
            script.out = []
            pending = False
        out.append("")
    if pending:
        out += [SEPARATOR, *(script.out or ["ok"])]
        script.out = []
    return "\n".join(out).rstrip() + "\n"


def final(script: Script) -> str:
    """State and log of every member at the end."""
    script.out = []
    script.run("raft-state")
    script.run("raft-log")
    return "\n".join(script.out) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one file; exit code 2 if it cannot be read or is not understood."""
    names = sys.argv[1:] if arguments is None else list(arguments)
    if len(names) != 1:
        print("usage: python -m pyswarm.testing.raft_script FILE", file=sys.stderr)
        return 2
    script = Script()
    try:
        with open(names[0], encoding="utf-8") as file:
            print(render(file.read(), script))
    except ScriptError as error:
        print(f"{names[0]}:{error}", file=sys.stderr)
        return 2
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        print(f"{names[0]}: {why}", file=sys.stderr)
        return 2
    print(final(script), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
