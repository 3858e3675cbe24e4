"""The small process above each task: its parent, its reaper, its log, and its end.

This file is given to the process that is forked for each task (:mod:`.zygote`) as text, so it uses
the standard library alone, and little of it. It

- leads a session of its own and is *subreaper*: what a task leaves behind when a parent of it ends
  becomes a child of this process, so that all of it can be found and ended with the task;
- ends with its node: when the node closes the line, or the thread that started this process ends
  (a parent-death signal), everything below is killed, then its secret files are removed;
- has its task end with itself: the task's process asks for a parent-death signal too;
- writes what the task prints to log files that turn over by size.

The line is a socket at descriptor 0. The node first sends a frame (four bytes of length, then
fields with NUL between, see :func:`read_frame`), later lines: ``signal N`` for the task's main
process; ``kill``; ``probe N`` and ``unprobe N``: run the task's health check, or end it, answered
by ``probed N CODE``; ``execute N``: run another program beside the task, answered by ``executing N
PID`` and ``executed N CODE``; ``tell GENERATION OFFSET``: answer ``news`` when the log goes beyond
this. With ``execute`` come four descriptors: a socket, and the program's own three. Over the socket
comes a frame (:meth:`Supervisor.become_command`); what goes back is why it could not begin, and
nothing if it did. The answers are lines too: ``pid N`` or ``error STEP ERRNO`` once, ``news``, and
``exit CODE`` when everything is gone and the log is complete.

A log file is named by its generation (``log.000001``), opens with a magic and holds records: time
(seconds, double), stream (1 stdout, 2 stderr), length, bytes of one line without its newline.
"""

import os
import resource
import select
import signal
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAGIC = b"pyswarm log 1\n"
RECORD = struct.Struct(">dBI")
LINE_BYTES_MAX = 16384  # a longer line is cut into several: Docker's limit
CHUNK_BYTES = 65536
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
CONTROL = 0
COMMAND_DESCRIPTORS = 4
DESCRIPTORS_MAX = 16  # that one read brings
CANNOT_RUN = 126  # a shell's code for it, and Docker's


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; Linux only, and quietly nothing where it is refused."""
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


class Log:
    """The files a task's output goes to; ``files_max`` 0 throws it away."""

    def __init__(self, directory: str, size_max: int, files_max: int) -> None:
        self.directory, self.size_max, self.files_max = directory, size_max, files_max
        self.generation, self.size, self.fd = 0, 0, -1
        self.rest = {1: b"", 2: b""}

    def path(self, generation: int) -> str:
        return f"{self.directory}/log.{generation:06d}"

    def turn_over(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.generation += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self.fd = os.open(self.path(self.generation), flags, 0o600)
        self.size = os.write(self.fd, MAGIC)
        old = self.generation - self.files_max
        if old > 0 and os.path.exists(self.path(old)):
            os.unlink(self.path(old))

    def write(self, stream: int, data: bytes) -> bool:
        """Take output in; whether whole lines of it came to the log."""
        lines = (self.rest[stream] + data).split(b"\n")
        self.rest[stream] = lines.pop()
        while len(self.rest[stream]) > LINE_BYTES_MAX:
            lines.append(self.rest[stream][:LINE_BYTES_MAX])
            self.rest[stream] = self.rest[stream][LINE_BYTES_MAX:]
        if lines and self.files_max:
            self.append(stream, lines)
        return bool(lines)

    def append(self, stream: int, lines: "list[bytes]") -> None:
        now, records, size = time.time(), [], 0
        for line in lines:
            for start in range(0, len(line) or 1, LINE_BYTES_MAX):
                part = line[start : start + LINE_BYTES_MAX]
                records += [RECORD.pack(now, stream, len(part)), part]
                size += RECORD.size + len(part)
                if self.size + size >= self.size_max:
                    self.flush(b"".join(records))
                    records, size = [], 0
        if records:
            self.flush(b"".join(records))

    def flush(self, data: bytes) -> None:
        try:
            if self.fd < 0 or self.size >= self.size_max:
                self.turn_over()
            while data:
                written = os.write(self.fd, data)
                self.size += written
                data = data[written:]
        except OSError:
            # A full disk loses lines, never the task; what may be torn is left behind.
            self.size = self.size_max

    def finish(self) -> None:
        """What was printed last may lack its newline."""
        for stream, rest in self.rest.items():
            if rest and self.files_max:
                self.append(stream, [rest])
            self.rest[stream] = b""


class Supervisor:
    """One task from start to end."""

    def __init__(self, fields: "list[str]", sandbox: "dict[str, Any]", given: "list[int]") -> None:
        self.sandbox = sandbox
        self.given = given
        take = iter(fields)
        self.secrets_dir = next(take)
        self.log = Log(next(take), int(next(take)), int(next(take)))
        self.directory = next(take)
        self.uid, self.gid = int(next(take)), int(next(take))
        self.groups = numbers(next(take))
        self.limits = [tuple(map(int, x.split(":"))) for x in next(take).split(",") if x]
        self.no_new_privileges = next(take) == "1"
        self.oom_score = next(take)
        self.tty = next(take) == "1"
        self.plan = next(take)
        self.cgroups = [path for path in next(take).split(":") if path]
        self.argv = [next(take) for _ in range(int(next(take)))]
        self.check = [next(take) for _ in range(int(next(take)))]
        self.env = dict(x.split("=", 1) for x in take)
        self.own_pid = os.getpid()
        self.main = 0
        self.status: int | None = None
        self.dying = False
        self.telling = False
        self.commands = b""
        self.outputs: dict[int, int] = {}
        self.probes: dict[int, str] = {}
        self.beside: dict[int, str] = {}
        self.line = socket.socket(fileno=CONTROL)
        self.received: list[int] = []
        self.poll = select.poll()

    # -- the task

    def start(self) -> bool:
        """Fork and exec; whether that went well."""
        try:
            out_r, out_w = self.open_output()
            (err_r, err_w), (bad_r, bad_w) = os.pipe(), os.pipe()
            self.main = os.fork()
        except OSError as error:
            self.say(f"error fork {error.errno or 0}")
            return False
        if self.main == 0:
            self.become_task(self.argv, out_w, err_w, bad_w, self.confine)
        for fd in (out_w, err_w, bad_w):
            os.close(fd)
        bad = os.read(bad_r, 1000)
        for fd in (bad_r, *self.given):
            os.close(fd)
        if bad:
            os.waitpid(self.main, 0)
            self.say("error " + bad.decode())
            return False
        for stream, fd in ((1, out_r), (2, err_r)):
            os.set_blocking(fd, False)
            self.outputs[fd] = stream
            self.poll.register(fd, select.POLLIN)
        self.say(f"pid {self.main}")
        return True

    def open_output(self) -> "tuple[int, int]":
        """Our end and the task's end of what it prints: a pipe, or a terminal."""
        return os.openpty() if self.tty else os.pipe()

    def probe(self, number: str) -> None:
        """Run the health check beside the task, as the task runs; what it prints is nobody's."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            pid = os.fork()
        except OSError:
            self.say(f"probed {number} 1")
            return
        if pid == 0:
            self.become_task(self.check, nowhere, nowhere, nowhere, self.join)
        os.close(nowhere)
        self.probes[pid] = number

    def end_probe(self, number: str) -> None:
        for pid in [pid for pid in self.probes if self.probes[pid] == number]:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                os.kill(pid, signal.SIGKILL)  # it has no group of its own yet; not reaped either

    def execute(self, number: str) -> None:
        """Run a program beside the task, with the descriptors that came along."""
        own = self.received[:COMMAND_DESCRIPTORS]
        del self.received[:COMMAND_DESCRIPTORS]
        try:
            # Fewer than four came if this process can have no more of them.
            pid = os.fork() if len(own) == COMMAND_DESCRIPTORS else -1
        except OSError:
            pid = -1
        if pid == 0:
            try:
                self.become_command(*own)
            finally:
                os._exit(CANNOT_RUN)
        for fd in own:
            os.close(fd)
        if pid < 0:
            self.say(f"executed {number} {CANNOT_RUN}")
            return
        self.beside[pid] = number
        self.say(f"executing {number} {pid}")

    def become_command(self, request: int, given: int, out: int, err: int) -> None:
        """In the child: never returns. The frame says directory, uid, gid and groups, number of
        arguments, the arguments, and the environment; all else is as the task has it."""
        take = iter(read_frame(request))
        self.directory = next(take)
        self.uid, self.gid = int(next(take)), int(next(take))
        self.groups = numbers(next(take))
        argv = [next(take) for _ in range(int(next(take)))]
        self.env = dict(x.split("=", 1) for x in take)
        self.become_task(argv, out, err, request, self.join, given)

    def become_task(
        self,
        argv: "list[str]",
        out: int,
        err: int,
        bad: int,
        confine: "Callable[[], None]",
        given: int = -1,
    ) -> None:
        """In the child: never returns. ``given`` is its standard input; -1 for none."""
        step = "setup"
        try:
            # A group of its own: a task that signals its group does not hit its supervisor.
            if os.isatty(out):
                self.take_terminal(out)
                err = out
            else:
                os.setpgid(0, 0)
                os.dup2(given if given >= 0 else os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            hear_all_signals()
            os.umask(0o022)
            step = "cgroup"
            for path in self.cgroups:
                with open(path + "/cgroup.procs", "w") as file:
                    file.write("0")
            step = "sandbox"
            if self.plan:
                confine()
            step = "limits"
            self.limit()
            step = "oom_score_adj"
            self.set_oom_score()
            step = "user"
            self.switch_user()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self.own_pid:
                os._exit(127)  # it was killed before its end could be a signal to us
            step = "chdir"
            os.chdir(self.directory)
            step = "exec"
            os.execvpe(argv[0], argv, self.env)
        except OSError as error:
            os.write(bad, f"{step} {error.errno or 0} {error.strerror}".encode())
        except BaseException as error:
            os.write(bad, f"{step} 0 {error}".encode())
        os._exit(127)

    def take_terminal(self, terminal: int) -> None:
        """Make it the controlling terminal of a new session; whoever the task runs as owns it."""
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        if self.uid >= 0:
            os.fchown(terminal, self.uid, self.gid)
        os.dup2(terminal, 0)

    def confine(self) -> None:
        """Make the task's namespaces, with all that is promised in them."""
        self.sandbox["enter"](self.plan, self.given)

    def join(self) -> None:
        """Go where the task is."""
        self.sandbox["join"](self.main, self.plan)

    def limit(self) -> None:
        for number, soft, hard in self.limits:
            resource.setrlimit(number, (soft, hard))

    def set_oom_score(self) -> None:
        if self.oom_score != "0":
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(self.oom_score)

    def switch_user(self) -> None:
        if self.uid >= 0:
            os.setgroups(self.groups)
            os.setgid(self.gid)
            os.setuid(self.uid)
        if self.no_new_privileges:
            prctl(PR_SET_NO_NEW_PRIVS, 1)

    # -- its life

    def run(self) -> None:
        """Until the task is gone, with everything below it."""
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_r, False)
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_terminate)
        self.poll.register(wake_r, select.POLLIN)
        self.poll.register(CONTROL, select.POLLIN)
        if not self.start():
            return
        while self.status is None and not self.dying:
            for fd, _ in self.poll.poll():
                if fd == CONTROL:
                    self.listen()
                elif fd in self.outputs:
                    self.take_output(fd)
                else:
                    os.read(wake_r, 512)
            self.reap()
        self.kill_all()
        for fd in list(self.outputs):
            while fd in self.outputs and self.take_output(fd):
                pass
        self.log.finish()
        self.remove_secrets()
        code = self.code()
        reason = " oom" if code == 137 and self.was_out_of_memory() else ""
        self.remove_cgroups()
        self.say(f"exit {code}{reason}")

    def on_terminate(self, *_: object) -> None:
        self.dying = True

    def listen(self) -> None:
        try:
            data, came, _, _ = socket.recv_fds(self.line, 4096, DESCRIPTORS_MAX)
        except OSError:
            data, came = b"", []
        for fd in came:
            os.set_inheritable(fd, False)  # Python 3.11 forgets the flag that would do so
        self.received += came
        if not data:
            self.dying = True  # the node is gone, or wants this task gone
            return
        *lines, self.commands = (self.commands + data).split(b"\n")
        for line in lines:
            self.obey(line.decode().split())

    def obey(self, words: "list[str]") -> None:
        if words[0] == "signal":
            self.signal_task(int(words[1]))
        elif words[0] == "kill":
            self.signal_task(signal.SIGKILL)
        elif words[0] == "probe":
            self.probe(words[1])
        elif words[0] == "unprobe":
            self.end_probe(words[1])
        elif words[0] == "execute":
            self.execute(words[1])
        elif words[0] == "tell":
            self.telling = (int(words[1]), int(words[2])) == (self.log.generation, self.log.size)
            if not self.telling:
                self.say("news")

    def signal_task(self, number: int) -> None:
        if self.status is None:  # not reaped, so the number is still its own
            os.kill(self.main, number)

    def take_output(self, fd: int) -> bool:
        """Move what is there into the log; whether there may be more now."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that nobody holds any more
            data = b""
        if not data:
            self.poll.unregister(fd)
            os.close(fd)
            del self.outputs[fd]
            return False
        if self.log.write(self.outputs[fd], data) and self.telling:
            self.telling = False
            self.say("news")
        return True

    def reap(self) -> None:
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == self.main:
                    self.status = status
                if pid in self.probes:
                    self.say(f"probed {self.probes.pop(pid)} {exit_code(status)}")
                if pid in self.beside:
                    self.say(f"executed {self.beside.pop(pid)} {exit_code(status)}")
                if pid == 0:
                    return
        except ChildProcessError:
            return

    # -- its end

    def kill_all(self) -> None:
        """Kill what is below until nothing is left; orphans come up to this process meanwhile."""
        while True:
            for pid in children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self.main:
                self.status = status
            if pid == 0:
                time.sleep(0.001)

    def code(self) -> int:
        return 137 if self.status is None else exit_code(self.status)

    def say(self, line: str) -> None:
        try:
            os.write(CONTROL, line.encode() + b"\n")
        except OSError:
            pass  # nobody listens any more

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed something for the task's memory limit."""
        for path in self.cgroups:
            for name in ("memory.events", "memory.oom_control"):
                try:
                    with open(f"{path}/{name}") as file:
                        counts = dict(line.split() for line in file)
                except (OSError, ValueError):
                    continue
                if counts.get("oom_kill", "0") != "0":
                    return True
        return False

    def remove_cgroups(self) -> None:
        for path in self.cgroups:
            try:
                os.rmdir(path)
            except OSError:
                pass  # the next node removes it

    def remove_secrets(self) -> None:
        """A task that ended keeps no secret on its node, and neither does a node that ended."""
        try:
            for root, directories, files in os.walk(self.secrets_dir, topdown=False):
                for name in files:
                    os.unlink(f"{root}/{name}")
                for name in directories:
                    path = f"{root}/{name}"
                    (os.unlink if os.path.islink(path) else os.rmdir)(path)
            if self.secrets_dir:
                os.rmdir(self.secrets_dir)
        except OSError:
            pass  # the node removes what is left, now or when it starts again


def exit_code(status: int) -> int:
    """As a shell has it: 128 and the signal, for what a signal ended."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def numbers(text: str) -> "list[int]":
    return [int(one) for one in text.split(",") if one]


def hear_all_signals() -> None:
    """As a container begins: what this process handles, or its node ignores, is not the task's."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def children() -> "list[int]":
    """The direct children of this process."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        pass
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == own:
                found.append(int(name))
    return found


def read_exactly(size: int, fd: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            os._exit(1)
        data += chunk
    return data


def read_frame(fd: int) -> "list[str]":
    """Fields. Those of the first frame: secrets' directory, log directory, its size and number
    limits, working directory, uid, gid (-1: as the node), groups, limits, no-new-privileges, oom
    score, terminal, the plan of the sandbox, control groups, number of arguments, the arguments,
    the same of the health check, and the environment."""
    size = int.from_bytes(read_exactly(4, fd), "big")
    return read_exactly(size, fd).decode("utf-8", "surrogateescape").split("\0")


def main(parent: int, sandbox: "dict[str, Any]", given: "list[int]") -> None:
    """The life of one supervisor, in a process of its own; never returns.

    ``given`` are descriptors of mounts, for the sandbox.
    """
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
    supervisor = Supervisor(read_frame(CONTROL), sandbox, given)
    try:
        supervisor.run()
    finally:
        supervisor.remove_secrets()
        supervisor.remove_cgroups()
        os._exit(0)
