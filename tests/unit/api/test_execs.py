"""Commands beside tasks: what may be asked for, what the runtime is told, texts and shapes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from api_talks import talk, told
from pyswarm.api.asks import Local, RunExec
from pyswarm.api.execs import NO_COMMAND, PRIVILEGED
from pyswarm.api.local import Container, Containers, Exec, ExecOutput, ExecWish
from pyswarm.api.logs import MULTIPLEXED, RAW
from pyswarm.api.messages import Response, Streamed
from pyswarm.model import ContainerSpec, Task, TaskSpec, TaskState

ID = "e" * 64


def container(id: str, state: TaskState = TaskState.RUNNING) -> Container:
    spec = TaskSpec(ContainerSpec(image="x"))
    return Container(task=Task(id, "s", spec, slot=1, service_name="web", state=state), node_id="n")


RUNS, ENDED = container("t1"), container("t2", TaskState.FAILED)
HERE = Containers(1e6, (RUNS, ENDED))
WISH = ExecWish(argv=("cat", "x"), user="7", stdin=True, stdout=True)
CREATED = Exec(id=ID, task_id="t1", container_id=RUNS.id, wish=WISH)


def ask(
    method: str, target: str, body: Any = None, known: Exec | None = CREATED
) -> tuple[Response | Streamed, list[Any]]:
    answers = {"containers": HERE, "create_exec": ID, "exec": known}
    return talk(method, target, body, {**answers, "start_exec": None, "resize_exec": None})


def refused(method: str, target: str, body: Any = None, known: Exec | None = CREATED) -> Any:
    return told(ask(method, target, body, known)[0])


def test_creating_one() -> None:
    body = {
        "Cmd": ["sh", "-c", "x"],
        "Env": ["A=1", "B"],
        "User": "7:8",
        "WorkingDir": "/w",
        "Tty": True,
        "ConsoleSize": [24, 80],
        "AttachStdin": True,
        "AttachStdout": True,
        "DetachKeys": "ctrl-x",
    }
    answer, asked = ask("POST", "/containers/t1/exec", body)
    assert told(answer) == (201, {"Id": ID})
    wish = ExecWish(
        argv=("sh", "-c", "x"),
        env=("A=1", "B"),
        user="7:8",
        directory="/w",
        tty=True,
        size=(24, 80),
        stdin=True,
        stdout=True,
        detach_keys="ctrl-x",
    )
    assert asked[-1] == Local("create_exec", ("t1", RUNS.id, wish))
    assert "-c" not in repr(wish) and "A=1" not in repr(wish)


@pytest.mark.parametrize(
    ("target", "body", "answer"),
    [
        ("/containers/nosuch/exec", {"Cmd": ["x"]}, (404, "No such container: nosuch")),
        ("/containers/t2/exec", {"Cmd": ["x"]}, (409, f"container {ENDED.id} is not running")),
        (
            "/v1.41/containers/t2/exec",
            {"Cmd": ["x"]},
            (409, f"Container {ENDED.id} is not running"),
        ),
        ("/containers/t1/exec", {"Cmd": []}, (400, NO_COMMAND)),
        ("/containers/t1/exec", {"Cmd": ["x"], "Privileged": True}, (501, PRIVILEGED)),
        (
            "/containers/t1/exec",
            {"Cmd": ["x"], "ConsoleSize": [1]},
            (400, "invalid ConsoleSize: rows and columns are wanted"),
        ),
    ],
)
def test_what_cannot_be_created(target: str, body: Any, answer: Any) -> None:
    assert refused("POST", target, body) == answer


def test_starting_it_with_its_streams_on_the_connection() -> None:
    found, _ = ask("POST", f"/exec/{ID}/start", {"Detach": False, "Tty": False})
    assert isinstance(found, Streamed)
    assert (found.source, found.takes_over) == (RunExec(ID), True)
    assert found.content_type == MULTIPLEXED
    assert found.encode(ExecOutput("stdout", b"hi")) == b"\1\0\0\0\0\0\0\2hi"
    assert found.encode(ExecOutput("stderr", b"x")) == b"\2\0\0\0\0\0\0\1x"
    found, _ = ask("POST", f"/exec/{ID}/start", {"Tty": True, "ConsoleSize": [24, 80]})
    assert isinstance(found, Streamed)
    assert (found.source, found.content_type) == (RunExec(ID, (24, 80)), RAW)
    assert found.encode(ExecOutput("stdout", b"hi")) == b"hi"
    found, _ = ask("POST", f"/v1.41/exec/{ID}/start", {"Tty": False})
    assert isinstance(found, Streamed)
    assert found.content_type == RAW


def test_starting_it_alone() -> None:
    answer, asked = ask("POST", f"/exec/{ID}/start", {"Detach": True})
    assert told(answer)[0] == 200
    assert asked[-1] == Local("start_exec", (ID,))


@pytest.mark.parametrize(
    ("known", "answer"),
    [
        (None, (404, f"No such exec instance: {ID}")),
        (
            attrs.evolve(CREATED, has_begun=True),
            (409, f"Error: Exec command {ID} is already running"),
        ),
        (
            attrs.evolve(CREATED, has_begun=True, exit_code=0),
            (409, f"Error: Exec command {ID} has already run"),
        ),
        (attrs.evolve(CREATED, task_id="t2"), (409, f"container {ENDED.id} is not running")),
        (attrs.evolve(CREATED, task_id="gone"), (404, f"No such container: {ID}")),
    ],
)
def test_what_cannot_be_started(known: Exec | None, answer: Any) -> None:
    assert refused("POST", f"/exec/{ID}/start", {}, known) == answer


def test_looking_at_it() -> None:
    shown = refused("GET", f"/exec/{ID}/json")[1]
    assert shown == {
        "ID": ID,
        "Running": False,
        "ExitCode": None,
        "ProcessConfig": {
            "tty": False,
            "entrypoint": "cat",
            "arguments": ["x"],
            "privileged": False,
            "user": "7",
        },
        "OpenStdin": True,
        "OpenStderr": False,
        "OpenStdout": True,
        "CanRemove": False,
        "ContainerID": RUNS.id,
        "DetachKeys": "",
        "Pid": 0,
    }
    runs = attrs.evolve(CREATED, has_begun=True, pid=7)
    shown = refused("GET", f"/exec/{ID}/json", known=runs)[1]
    assert (shown["Running"], shown["ExitCode"], shown["Pid"]) == (True, None, 7)
    over = attrs.evolve(runs, exit_code=3)
    shown = refused("GET", f"/exec/{ID}/json", known=over)[1]
    assert (shown["Running"], shown["ExitCode"]) == (False, 3)
    assert refused("GET", "/exec/x/json", known=None) == (404, "No such exec instance: x")


def test_telling_its_terminal_a_size() -> None:
    runs = attrs.evolve(CREATED, has_begun=True)
    answer, asked = ask("POST", f"/exec/{ID}/resize?h=24&w=80", known=runs)
    assert (told(answer)[0], asked[-1]) == (200, Local("resize_exec", (ID, 24, 80)))
    assert refused("POST", f"/exec/{ID}/resize?h=x&w=80", known=runs)[0] == 400
    assert refused("POST", f"/exec/{ID}/resize?h=70000&w=80", known=runs)[0] == 400
    assert refused("POST", f"/exec/{ID}/resize?h=24&w=80")[0] == 409
