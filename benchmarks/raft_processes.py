"""Members of a benchmark as processes: started, asked, ended.

A member reads one JSON object a line from its standard input and answers each by one. It ends when
its input ends, so none outlives the benchmark.
"""

from __future__ import annotations

import gc
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
PORTS = range(12_000, 32_000)  # below those that systems give to whoever calls somebody


class Unavailable(Exception):
    """The system is not installed, or did not start."""


class Members:
    """Three members, each told its number, all addresses and a directory."""

    def __init__(self, command: list[str], directory: Path, options: dict[str, Any]) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        make_certificate(directory)
        ports = free_ports(3)
        addresses = {str(id): f"127.0.0.1:{port}" for id, port in enumerate(ports, 1)}
        for id in (1, 2, 3):
            setup = {"id": id, "addresses": addresses, "directory": str(directory), **options}
            self.processes.append(
                subprocess.Popen(
                    [*command, json.dumps(setup)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    stderr=subprocess.DEVNULL if options else None,
                )
            )
        try:
            self.leader = self.find_leader()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.communicate()

    def find_leader(self) -> int:
        """The number of the process that leads."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for number in range(3):
                if self.ask(number, {"do": "leads"})["leads"]:
                    return number
            time.sleep(0.1)
        raise Unavailable("no leader was elected")

    def ask(self, number: int, question: dict[str, Any], timeout: float = START_SECONDS) -> Any:
        """One question to one member, and its answer."""
        process = self.processes[number]
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                raise Unavailable("a member does not answer")
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": "a member ended"}
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer

    def measure(self, inflight: int, seconds: float, requests: int, size: int) -> dict[str, Any]:
        """Proposals on the leader for ``seconds``, after a little warming up."""
        job = {"do": "load", "inflight": inflight, "requests": requests, "size": size}
        timeout = seconds + START_SECONDS
        self.ask(self.leader, {**job, "seconds": min(0.5, seconds)}, timeout)
        pids = [process.pid for process in self.processes]
        before = [cpu_seconds(pid) for pid in pids]
        answer = self.ask(self.leader, {**job, "seconds": seconds}, timeout)
        spent = [after - start for after, start in zip(map(cpu_seconds, pids), before, strict=True)]
        return report(inflight, answer, spent, self.leader)

    def rest(self, seconds: float) -> list[float]:
        """CPU seconds of each member while nobody asks anything of it."""
        pids = [process.pid for process in self.processes]
        before = [cpu_seconds(pid) for pid in pids]
        time.sleep(seconds)
        return [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]


def report(
    inflight: int, answer: dict[str, Any], spent: Sequence[float], leader: int
) -> dict[str, Any]:
    """What was measured, as fields of a row."""
    commits = answer["commits"]
    return {
        "inflight": inflight,
        "value": round(commits / answer["seconds"], 1),
        "p50_ms": round(answer["p50"] * 1e3, 3),
        "p99_ms": round(answer["p99"] * 1e3, 3),
        "cpu_leader_us": round(spent[leader] / commits * 1e6, 1),
        "cpu_all_us": round(sum(spent) / commits * 1e6, 1),
        **{key: answer[key] for key in ("gc_ms", "early_p99_ms", "late_p99_ms") if key in answer},
    }


def summary(latencies: list[float], seconds: float) -> dict[str, Any]:
    """The answer to ``load``. ``early`` and ``late``: the first and the last third."""
    third = len(latencies) // 3
    return {
        "commits": len(latencies),
        "seconds": seconds,
        "p50": statistics.median(latencies),
        "p99": percentile(latencies),
        "early_p99_ms": round(percentile(latencies[:third]) * 1e3, 3) if third else 0.0,
        "late_p99_ms": round(percentile(latencies[-third:]) * 1e3, 3) if third else 0.0,
    }


def percentile(latencies: list[float]) -> float:
    ordered = sorted(latencies)
    return ordered[len(ordered) * 99 // 100]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads included."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Pauses:
    """The collector's longest pause since it was asked last, in milliseconds."""

    def __init__(self) -> None:
        self.longest = self.began = 0.0
        gc.callbacks.append(self.saw)

    def saw(self, phase: str, _: object) -> None:
        if phase == "start":
            self.began = time.perf_counter()
        else:
            self.longest = max(self.longest, time.perf_counter() - self.began)

    def take(self) -> float:
        longest, self.longest = self.longest, 0.0
        return round(longest * 1e3, 2)


def setup() -> Any:
    """What this member was told when it was started."""
    return json.loads(sys.argv[1])


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses just now."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.choice(PORTS)
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


def make_certificate(directory: Path) -> None:
    """One self-signed certificate for all, which all trust: ``cert.pem`` and ``key.pem``."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (directory / "cert.pem").write_bytes(cert.public_bytes(pem))
    (directory / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
