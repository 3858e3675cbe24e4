"""``/containers/{id}/exec`` and ``/exec``: commands that run beside a task of this node.

A command is described first and gets an id; then it is started, once: with its streams on the
connection, or without anybody to listen. Whoever started it asks afterwards how it ended. What runs
it and keeps its streams is the runtime; a command that cannot begin says so where its output would
be, as with Docker, and its exit code is 126, or 127 if it was not found.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyswarm.api.asks import Local, RunExec
from pyswarm.api.bodies import BOOL, INT, STRING, List, Struct, decode
from pyswarm.api.containers import check_runs, find_container
from pyswarm.api.errors import Refused
from pyswarm.api.local import Containers, Exec, ExecOutput, ExecWish
from pyswarm.api.logs import MULTIPLEXED, MULTIPLEXED_SINCE, RAW, STDERR, STDOUT
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route, Streamed
from pyswarm.api.rendering import answer

CREATE = Struct(
    "container.ExecOptions",
    User=STRING,
    Privileged=BOOL,
    Tty=BOOL,
    ConsoleSize=List(INT),
    AttachStdin=BOOL,
    AttachStderr=BOOL,
    AttachStdout=BOOL,
    DetachKeys=STRING,
    Env=List(STRING),
    WorkingDir=STRING,
    Cmd=List(STRING),
)
START = Struct("container.ExecStartOptions", Detach=BOOL, Tty=BOOL, ConsoleSize=List(INT))

NO_COMMAND = "No exec command specified"
PRIVILEGED = (
    "privileged: a command has the capabilities of the task it runs beside, and cannot get more"
)
SIDE_MAX = 65535
"""Of a terminal: the kernel counts in 16 bits."""


def create(request: HttpRequest, reference: str) -> Conversation:
    """Describe a command."""
    body = decode(request, CREATE)
    if not body.get("Cmd"):
        raise Refused(400, NO_COMMAND)
    one = yield from find_container(reference)
    check_runs(one, request)
    if body.get("Privileged"):
        raise Refused(501, PRIVILEGED)
    wish = ExecWish(
        argv=tuple(word or "" for word in body["Cmd"]),
        env=tuple(one for one in body.get("Env", ()) if one),
        user=body.get("User", ""),
        directory=body.get("WorkingDir", ""),
        tty=body.get("Tty", False),
        size=_size(body),
        stdin=body.get("AttachStdin", False),
        stdout=body.get("AttachStdout", False),
        stderr=body.get("AttachStderr", False),
        detach_keys=body.get("DetachKeys", ""),
    )
    id = yield Local("create_exec", (one.task.id, one.id, wish))
    return answer({"Id": id}, 201)


def start(request: HttpRequest, id: str) -> Conversation:
    """Begin it, and become its streams unless nobody is to listen."""
    body = decode(request, START)
    one = yield from _usable(request, id)
    if one.exit_code is not None:
        raise Refused(409, f"Error: Exec command {id} has already run")
    if one.has_begun:
        raise Refused(409, f"Error: Exec command {id} is already running")
    if body.get("Detach"):
        yield Local("start_exec", (one.id,))
        return Response(200)
    tty = body.get("Tty", False)
    framed = not tty and request.version >= MULTIPLEXED_SINCE
    return Streamed(
        RunExec(one.id, _size(body)),
        _raw if tty else _framed,
        content_type=MULTIPLEXED if framed else RAW,
        takes_over=True,
    )


def inspect(request: HttpRequest, id: str) -> Conversation:
    """What it is, and how it ended."""
    one = yield from _find(id)
    wish = one.wish
    return answer(
        {
            "ID": one.id,
            "Running": one.is_running,
            "ExitCode": one.exit_code,
            "ProcessConfig": {
                "tty": wish.tty,
                "entrypoint": wish.argv[0],
                "arguments": list(wish.argv[1:]),
                "privileged": False,
                **({"user": wish.user} if wish.user else {}),
            },
            "OpenStdin": wish.stdin,
            "OpenStderr": wish.stderr,
            "OpenStdout": wish.stdout,
            "CanRemove": one.exit_code is not None,
            "ContainerID": one.container_id,
            "DetachKeys": wish.detach_keys,
            "Pid": one.pid,
        }
    )


def resize(request: HttpRequest, id: str) -> Conversation:
    """Tell its terminal how large it is."""
    rows, columns = (_side(request, name) for name in ("h", "w"))
    one = yield from _usable(request, id)
    if not one.is_running:
        raise Refused(409, f"exec process {id} is not running")
    yield Local("resize_exec", (one.id, rows, columns))
    return Response(200)


def _find(id: str) -> Generator[Any, Any, Exec]:
    one: Exec | None = yield Local("exec", (id,))
    if one is None:
        raise Refused(404, f"No such exec instance: {id}")
    return one


def _usable(request: HttpRequest, id: str) -> Generator[Any, Any, Exec]:
    """One whose task runs. What was found holds until the handler asks for something else."""
    known = yield from _find(id)
    here: Containers = yield Local("containers")
    container = next((one for one in here.all if one.task.id == known.task_id), None)
    if container is None:
        raise Refused(404, f"No such container: {id}")
    check_runs(container, request)
    return (yield from _find(id))


def _size(body: dict[str, Any]) -> tuple[int, int]:
    size = body.get("ConsoleSize") or (0, 0)
    if len(size) != 2 or not all(0 <= (side or 0) <= SIDE_MAX for side in size):
        raise Refused(400, "invalid ConsoleSize: rows and columns are wanted")
    return size[0] or 0, size[1] or 0


def _side(request: HttpRequest, name: str) -> int:
    text = request.param(name)
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= SIDE_MAX):
        raise Refused(400, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _raw(output: ExecOutput) -> bytes:
    return output.data


def _framed(output: ExecOutput) -> bytes:
    head = STDERR if output.stream == "stderr" else STDOUT
    return head + len(output.data).to_bytes(4, "big") + output.data


ROUTES: tuple[Route, ...] = (
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("GET", "/exec/{id}/json", inspect),
    Route("POST", "/exec/{id}/resize", resize),
)
