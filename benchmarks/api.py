"""The Engine API over a unix socket: objects created, inspected and listed per second.

One manager, state on disk. The client is bare: keep-alive connections, requests written by hand, a
closed loop (each connection has one request under way), all in one process beside the daemon's,
which costs a third of what the quickest request costs the daemon.
With docker-py installed, what its users see as well; with dockerd installed (and allowed to run),
the same workload against it, in the same run.

    python benchmarks/api.py [--count 2000] [--services 5000] [--json]
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S = 60.0
CLIENTS = (1, 8)
READ_BYTES = 1 << 17


# -- daemons


async def daemon(directory: Path) -> None:
    """Ours, until it is killed."""
    import trio

    from pyswarm.runtime.daemon import HostConfig, open_host
    from pyswarm.runtime.engine import serve

    config = HostConfig(state_dir=directory / "state", name="node-1", tune_gc=True)
    async with open_host(config) as host, trio.open_nursery() as nursery:
        nursery.start_soon(serve, host, [f"unix://{directory}/api.sock"])


def ours(directory: Path) -> list[str]:
    return [sys.executable, __file__, "--daemon", str(directory)]


def theirs(directory: Path) -> list[str]:
    flags = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
    places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    flags += [f"--{name}={directory}/{place}" for name, place in places.items()]
    return ["dockerd", *flags, "-H", f"unix://{directory}/api.sock"]


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that answers, until the block ends."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(directory / "api.sock"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((directory / "log").read_text()[-2000:])
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(path: Path) -> bool:
    try:
        return Client(path).ask("GET", "/_ping")[0] == 200
    except OSError:
        return False


def cpu_s(pid: int) -> float:
    """What a process has computed so far; unlike a speed it bears other work beside it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(one for one in text.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# -- the bare client


def request(method: str, path: str, body: Any = None) -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    more = f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n" if raw else ""
    return f"{method} /v1.41{path} HTTP/1.1\r\nHost: docker\r\n{more}\r\n".encode() + raw


class Client:
    """One keep-alive connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._data = bytearray()
        self._head = self._end = 0
        """Where the body begins, and where it ends (0: not known yet; -1: with the last chunk)."""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request, and its answer."""
        self.socket.sendall(request(method, path, body))
        while (found := self.take()) is None:
            pass
        return found

    def take(self) -> tuple[int, bytes] | None:
        """Read what is there; the answer once it is whole."""
        got = self.socket.recv(READ_BYTES)
        if not got:
            raise OSError("the daemon closed the connection")
        data = self._data
        data += got
        if not self._end and not self._read_head():
            return None
        if len(data) < self._end or (self._end < 0 and not data.endswith(b"0\r\n\r\n")):
            return None
        found = int(data[9:12]), bytes(data[self._head :])
        data.clear()
        self._end = 0
        return found

    def _read_head(self) -> bool:
        """Note where the body is; False while the head is not whole."""
        blank = self._data.find(b"\r\n\r\n")
        if blank < 0:
            return False
        head = self._data[:blank].lower()
        self._head = blank + 4
        if b"transfer-encoding: chunked" in head:
            self._end = -1
        else:
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._end = self._head + int(length or b"0")
        return True


def per_second(path: Path, clients: int, requests: list[bytes], status: int) -> float:
    """All requests, each connection with one under way."""
    crowd = [Client(path) for _ in range(clients)]
    began = time.perf_counter()
    (_one_by_one if clients == 1 else _together)(crowd, requests, status)
    return len(requests) / (time.perf_counter() - began)


def _one_by_one(crowd: list[Client], requests: list[bytes], status: int) -> None:
    (client,) = crowd
    for one in requests:
        client.socket.sendall(one)
        while (found := client.take()) is None:
            pass
        _check(found, status)


def _together(crowd: list[Client], requests: list[bytes], status: int) -> None:
    left = iter(requests)
    by_number = {client.socket.fileno(): client for client in crowd}
    with select.epoll() as waiting:
        for number, client in by_number.items():
            waiting.register(number, select.EPOLLIN)
            client.socket.sendall(next(left))
        done = 0
        while done < len(requests):
            for number, _ in waiting.poll():
                client = by_number[number]
                if (found := client.take()) is None:
                    continue
                _check(found, status)
                done += 1
                if (one := next(left, None)) is not None:
                    client.socket.sendall(one)


def _check(found: tuple[int, bytes], status: int) -> None:
    if found[0] != status:
        raise RuntimeError(f"{found[0]} {found[1][:500]!r}")


# -- the workload


def secret(name: str) -> dict[str, Any]:
    return {"Name": name, "Data": base64.b64encode(b"x" * 64).decode()}


def service(name: str) -> dict[str, Any]:
    return {
        "Name": name,
        "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }


class Run:
    """The rows of one daemon."""

    def __init__(self, who: str, path: Path, pid: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._who = who
        self._path = path
        self._pid = pid

    def row(self, what: str, value: float, unit: str, workload: str, **more: float) -> None:
        """Keep a figure, and show it."""
        row = {"who": self._who, "what": what, "value": round(value, 2), "unit": unit}
        self.rows.append({**row, "workload": workload, **more})
        beside = "".join(f"   {name} {amount:.0f}" for name, amount in more.items())
        print(f"{self._who:10} {what:36} {value:10.1f} {unit}{beside}", file=sys.stderr)

    def _timed(
        self, what: str, clients: int, requests: list[bytes], status: int, workload: str
    ) -> None:
        before = cpu_s(self._pid)
        speed = per_second(self._path, clients, requests, status)
        used = (cpu_s(self._pid) - before) / len(requests) * 1e6
        self.row(f"{what} by {clients}", speed, "/s", workload, daemon_cpu_us=round(used))

    def everything(self, count: int, services: int) -> None:
        """All of it, in an order that lets each find what it needs."""
        wish = {"ListenAddr": "127.0.0.1:0", "AdvertiseAddr": "127.0.0.1"}
        if self._who == "dockerd":
            wish["ListenAddr"] = "127.0.0.1:2377"
        status, said = Client(self._path).ask("POST", "/swarm/init", wish)
        if status != 200:
            raise RuntimeError(said.decode())
        self._speed("ping", [request("GET", "/_ping")] * count, 200, "GET /_ping")
        self._listed(500)
        for kind, spec in (("secrets", secret), ("configs", secret), ("services", service)):
            self._created(kind, spec, count)
        self._listed(services)
        inspect = request("GET", "/services/service-1-7")
        self._speed("service inspect", [inspect] * count, 200, "GET /services/NAME")
        self.row("RSS", rss_mib(self._pid), "MiB", "after all of it")

    def _speed(self, what: str, requests: list[bytes], status: int, workload: str) -> None:
        for clients in CLIENTS:
            self._timed(what, clients, requests, status, workload)

    def _created(self, kind: str, spec: Any, count: int) -> None:
        for clients in CLIENTS:
            bodies = [spec(f"{kind[:-1]}-{clients}-{number}") for number in range(count)]
            requests = [request("POST", f"/{kind}/create", body) for body in bodies]
            workload = f"{count} of them, no replicas" if kind == "services" else f"{count} of 64 B"
            self._timed(f"{kind} created", clients, requests, 201, workload)

    def _listed(self, count: int) -> None:
        """A list of so many services, all there are; missing ones are created."""
        client = Client(self._path)
        total = len(json.loads(_plain(client.ask("GET", "/services")[1])))
        for number in range(total, count):
            client.ask("POST", "/services/create", service(f"listed-{number}"))
        times = []
        for _ in range(9):
            began = time.perf_counter()
            status, body = client.ask("GET", "/services")
            times.append(time.perf_counter() - began)
            assert status == 200, body[:300]
        workload = f"{len(body)} bytes, median of 9"
        self.row(f"list of {count} services", statistics.median(times) * 1000, "ms", workload)

    def docker_py(self, count: int) -> None:
        """What its users see: docker-py adds some 0.7 ms a call itself."""
        import docker

        client = docker.DockerClient(base_url=f"unix://{self._path}", version="1.41")
        began = time.perf_counter()
        for number in range(count):
            client.secrets.create(name=f"docker-py-{number}", data=b"x" * 64)
        speed = count / (time.perf_counter() - began)
        self.row("secrets created by docker-py", speed, "/s", f"{count} of 64 B")
        client.close()


def _plain(body: bytes) -> bytes:
    """A list, also of a chunked answer."""
    return body[body.index(b"[") : body.rindex(b"]") + 1]


def measure(who: str, command: Any, count: int, services: int) -> list[dict[str, Any]]:
    directory = Path(tempfile.mkdtemp(prefix="pyswarm-api-"))
    try:
        with running(command(directory), directory) as process:
            run = Run(who, directory / "api.sock", process.pid)
            run.everything(count, services)
            try:
                run.docker_py(min(count, 500))
            except ImportError:
                pass
            return run.rows
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--services", type=int, default=5000)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--daemon", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.daemon is not None:
        import trio

        trio.run(daemon, wanted.daemon)
        return
    rows = measure("pyswarm", ours, wanted.count, wanted.services)
    if shutil.which("dockerd") and os.geteuid() == 0:
        try:
            rows += measure("dockerd", theirs, wanted.count, wanted.services)
        except RuntimeError as problem:
            print(f"dockerd: {problem}", file=sys.stderr)
    if wanted.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
