"""Where the recorded calls and ours differ, and why: the one table.

What differs in every run is taken out before two outputs are compared (:data:`EVERYWHERE`); single
calls that differ are listed by number, with the reason. All of it is shown by
``docs/docker-cli.md``; to write that anew: ``pytest tests/recorded --rewrite``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from golden import differences as requests

EVERYWHERE: Mapping[str, str] = {
    "ids, times, tokens, keys, digests, certificates": "they are drawn anew in every swarm",
    "addresses": (
        "`ingress` takes the last subnet of the last pool, so that a user's networks count from "
        "the start of the first pool; in Docker it takes the first one (the recorded subnets are "
        "compared on their own)"
    ),
    "the default monitoring period": "30 s, as documented; Docker 20.10 takes 5 s",
    "engine version, plugins, runtimes": "this engine's own: log drivers json-file, local and none",
    "networks that a node has by itself": "`bridge` is always shown; in Docker flags decide",
    "on which node a task runs": "equal nodes tie, at random in Docker",
    "steps on the way to running": "the recording saw tasks on their way; here it takes an instant",
    "progress between the first line and the last": "depends on timing",
    "the order of equal rows, and of the services that use a secret": "random in Docker",
}


@attrs.frozen
class Difference:
    """Calls that differ for one reason. A range is inclusive."""

    reason: str
    numbers: tuple[int | tuple[int, int], ...]

    def all(self) -> Iterable[int]:
        """The numbers, one by one."""
        for one in self.numbers:
            first, last = (one, one) if isinstance(one, int) else one
            yield from range(first, last + 1)


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "an autolocked manager can begin its swarm anew by `--force-new-cluster`; Docker 20.10 "
        "loses its state over it, and these calls show what was left",
        (783, (790, 794), 987, (992, 994), 996, (1006, 1007), (1013, 1022), 1326),
    ),
    Difference(
        "right after its start Docker's engine calls itself inactive until its state is read; ours "
        "knows before it answers",
        (946, 974),
    ),
    Difference("a join that was refused leaves nothing behind that would have to leave", (147,)),
    Difference(
        "a role that is changed back before the change was carried out is taken back; in Docker "
        "that is a race",
        (211,),
    ),
    Difference(
        "`sleep` as a container's first process ignores SIGTERM and takes its whole grace period; "
        "as a process of the host it ends at once",
        (217, 219, 684, 727, 733),
    ),
    Difference(
        "a worker is told of the networks that it is on, not of its peers there",
        (241,),
    ),
    Difference(
        "timing: the recording looked earlier or later than the replay does",
        (253, 424, 690, 1000, 1076, 1077, 1208, 1219, 1341, 1360),
    ),
    Difference(
        "an update that does not say for how long is watched for 30 s, so it is not over yet",
        (678, 838),
    ),
    Difference(
        "a task's environment, users and files are those of the host, not of an image",
        (259, 269, 427, 573, 574, 1238, (1241, 1243), 1334, 1335, 1336, 1342),
    ),
    Difference(
        "what a node cannot give a task is refused in its own words, before the task starts",
        (267, 364, 365),
    ),
    Difference("the order of a service's secrets is the client's, and random", (589,)),
    Difference("where equal nodes ran the tasks that are asked for", (1324,)),
    Difference("finished tasks of a job that was removed go with it", (1124,)),
    Difference(
        "a job that is rolled back runs anew, as after any change of it; Docker leaves it in a "
        "rollback that never ends",
        (1073, 1074),
    ),
    Difference(
        "an image is a name here, which a node has or has not: neither its tag and digest nor a "
        "password decide",
        (274, 1146, 1169, 1170, 1172),
    ),
    Difference(
        "a network that no pool can serve, or whose subnet overlaps another's, is refused; Docker "
        "accepts it in silence and never gives it addresses",
        ((71, 72), 77, 78, 92, 121),
    ),
    Difference("the CLI hides commands that do not go with the state of the node", (35,)),
    Difference(
        "configs are limited like secrets: to 512,000 bytes, not 1,024,000",
        (504, (507, 509), 514, 515, 519, 522),
    ),
    Difference(
        "the default address pool is shown; Docker shows it once another manager has led", (123,)
    ),
    Difference(
        "a task that ended with its node fails with `node restarted`; Docker names a container, or "
        "the exit code of one",
        (954, 1129, 1130, 1143, 1287, 1295, 1361, 1362, 1380),
    ),
    Difference("a task that was killed for its memory says so", (1268,)),
    Difference("a node that leaves says so; in Docker its heartbeats are missed", (1229,)),
    Difference(
        "a manager without a quorum says so at once, also where it is only asked what there is; "
        "Docker answers with what it knew, then loses its leadership, then lets calls wait",
        ((1296, 1312), 1346),
    ),
    Difference(
        "who was a manager before `--force-new-cluster` can leave, and join again; in Docker 20.10 "
        "both may hang",
        ((1374, 1379),),
    ),
    Difference(
        "a manager that leaves is down at once and gives its seat up, so that the swarm keeps its "
        "quorum; in Docker it looks alive for a while, and its vote is missed",
        (1403, 1408, 1411, 1412, (1414, 1418), 1424),
    ),
    Difference("the recorded daemon was not running", (1389,)),
    Difference(
        "slots are replaced in an order of their own (random in Docker), so addresses differ",
        (1040, 1041),
    ),
    Difference("a port that nobody asked for is the next one after the last that is free", (1008,)),
    Difference(
        "the CLI is a newer one than the recorded 20.10.24",
        (
            *(1087, 1090, 1096, 1097, 1099, 1183, 1186, 1191, 1201, 1205, 1206, 1207),
            *(1216, 1217, (1224, 1226)),
        ),
    ),
    Difference("`docker run` makes containers, which this node does not", ((1261, 1266),)),
    Difference("of the events a part was recorded; containers make none here", (1086, 1356)),
)

KNOWN: Mapping[int, str] = {number: one.reason for one in DIFFERENCES for number in one.all()}
"""Reason by number."""


def table() -> str:
    """All of it, as docs/docker-cli.md shows it."""
    lines = ["| in every call | why |", "| --- | --- |"]
    lines += [f"| {what} | {why} |" for what, why in EVERYWHERE.items()]
    lines += ["", "| recorded calls | why they differ |", "| --- | --- |"]
    lines += [f"| {_shown(one.numbers)} | {one.reason} |" for one in DIFFERENCES]
    lines += ["", "| recorded requests | status here | why they differ |", "| --- | --- | --- |"]
    for one in requests.DIFFERENCES:
        case = one.case.replace("|", "\\|") + (f" with `{one.body}`" if one.body else "")
        lines.append(f"| {case} | {one.status} | {one.reason} |")
    lines += [
        f"| {case.strip()} | not replayed | {reason} |"
        for case, reason in requests.NOT_REPLAYED.items()
    ]
    return "\n".join(lines)


def _shown(numbers: tuple[int | tuple[int, int], ...]) -> str:
    return ", ".join(str(one) if isinstance(one, int) else f"{one[0]}-{one[1]}" for one in numbers)
