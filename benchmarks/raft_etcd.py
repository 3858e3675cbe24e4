"""etcd as the Raft benchmark's peer: three members with TLS, driven over gRPC.

The client here speaks just enough HTTP/2 to make many calls at once for little CPU: each call is a
HEADERS frame that is always the same and a DATA frame; of the answers only the ends are counted.
"""

from __future__ import annotations

import multiprocessing
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import time
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from raft_measure import tls_contexts
from raft_processes import (
    START_SECONDS,
    Unavailable,
    cpu_seconds,
    free_ports,
    make_certificate,
    report,
    summary,
)

CALLS_OF_CONNECTION = 64
"""In flight on one: their requests stay within the 64 KiB that HTTP/2 allows at first."""
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Etcd:
    """Three members."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("etcd")
        if program is None:
            raise Unavailable("etcd is not installed (Debian: etcd-server)")
        make_certificate(directory)
        self.directory = directory
        ports = free_ports(6)
        self.clients, peers = ports[:3], ports[3:]
        cluster = ",".join(f"m{n}=https://127.0.0.1:{port}" for n, port in enumerate(peers))
        self.processes = [
            self.start(program, n, self.clients[n], peers[n], cluster) for n in range(3)
        ]
        try:
            self.leader = self.find_leader()
        except BaseException:
            self.__exit__()
            raise

    def start(
        self, program: str, number: int, client: int, peer: int, cluster: str
    ) -> subprocess.Popen[bytes]:
        cert, key = self.directory / "cert.pem", self.directory / "key.pem"
        options = {
            "name": f"m{number}",
            "data-dir": self.directory / f"m{number}",
            "listen-client-urls": f"https://127.0.0.1:{client}",
            "advertise-client-urls": f"https://127.0.0.1:{client}",
            "listen-peer-urls": f"https://127.0.0.1:{peer}",
            "initial-advertise-peer-urls": f"https://127.0.0.1:{peer}",
            "initial-cluster": cluster,
            "cert-file": cert,
            "key-file": key,
            "trusted-ca-file": cert,
            "client-cert-auth": "true",
            "peer-cert-file": cert,
            "peer-key-file": key,
            "peer-trusted-ca-file": cert,
            "peer-client-cert-auth": "true",
            "logger": "zap",
            "log-level": "error",
        }
        return subprocess.Popen(
            [program, *(f"--{name}={value}" for name, value in options.items())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )

    def __enter__(self) -> Etcd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def find_leader(self) -> int:
        """The member that leads, by its own metrics' word."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for number, port in enumerate(self.clients):
                if b"\netcd_server_is_leader 1\n" in self.metrics(port):
                    return number
            time.sleep(0.2)
        raise Unavailable("no leader was elected")

    def metrics(self, port: int) -> bytes:
        _, context = tls_contexts(self.directory)
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 2) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as stream,
            ):
                stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return b"".join(iter(lambda: stream.recv(65536), b""))
        except OSError:
            return b""

    def measure(self, inflight: int, seconds: float, requests: int, size: int) -> dict[str, Any]:
        """Puts to the leader by a client process, after a little warming up."""
        pids = [process.pid for process in self.processes]
        job = (str(self.directory), self.clients[self.leader], inflight, requests, size)
        self.client(*job, min(0.5, seconds))
        before = [cpu_seconds(pid) for pid in pids]
        answer = self.client(*job, seconds)
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        return report(inflight, answer, spent, self.leader)

    def client(self, *job: Any) -> dict[str, Any]:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run_client, args=(there, *job)
        )
        process.start()
        there.close()
        try:
            if not here.poll(job[-1] + START_SECONDS):
                raise Unavailable("etcd does not answer")
            answer = here.recv()
        except EOFError:
            raise Unavailable("the client of etcd failed") from None
        finally:
            process.kill()
            process.join()
        assert isinstance(answer, dict)
        return answer


def die_with_parent() -> None:
    """In the child, before it becomes etcd: end when the benchmark does (Linux)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run_client(pipe: Connection, *job: Any) -> None:
    pipe.send(Client(*job).run())


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing and without Huffman's code (RFC 7541, 6.2.2)."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


CALL = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/etcdserverpb.KV/Put"),
        (b":authority", b"127.0.0.1"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)


class Connection2:
    """One HTTP/2 connection."""

    def __init__(self, directory: Path, port: int) -> None:
        _, context = tls_contexts(directory)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.next = 1
        self.buffer = bytearray()
        self.begun: dict[int, float] = {}
        self.send(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, b"")
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 65536))
        )

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def call(self, message: bytes) -> bytes:
        """The frames of one more call, to be sent."""
        stream, self.next = self.next, self.next + 2
        self.begun[stream] = perf_counter()
        return frame(HEADERS, END_HEADERS, stream, CALL) + frame(DATA, END_STREAM, stream, message)

    def ended(self, latencies: list[float]) -> int:
        """Take in what has arrived; how many calls ended."""
        data = self.stream.recv(1 << 18)
        while self.stream.pending():
            data += self.stream.recv(1 << 18)
        if not data:
            raise Unavailable("etcd closed a connection")
        buffer = self.buffer
        buffer += data
        now = perf_counter()
        offset = count = 0
        while len(buffer) - offset >= 9:
            length = int.from_bytes(buffer[offset : offset + 3], "big")
            end = offset + 9 + length
            if end > len(buffer):
                break
            kind, flags = buffer[offset + 3], buffer[offset + 4]
            stream = int.from_bytes(buffer[offset + 5 : offset + 9], "big")
            if kind == HEADERS and flags & END_STREAM:
                latencies.append(now - self.begun.pop(stream))
                count += 1
            elif kind in (SETTINGS, PING) and not flags & ACK:
                content = bytes(buffer[offset + 9 : end]) if kind == PING else b""
                self.send(frame(kind, ACK, 0, content))
            elif kind in (RST_STREAM, GOAWAY):
                raise Unavailable("etcd refused a call")
            offset = end
        del buffer[:offset]
        return count


class Client:
    """So many calls in flight; each that ends begins the next."""

    def __init__(
        self, directory: str, port: int, inflight: int, requests: int, size: int, seconds: float
    ) -> None:
        self.inflight, self.requests, self.seconds = inflight, requests, seconds
        put = b"\x0a\x01k\x12" + varint(size) + bytes(size)  # key 1, value 2 (rpc.proto)
        self.message = b"\0" + struct.pack(">I", len(put)) + put
        count = -(-inflight // CALLS_OF_CONNECTION)
        self.connections = [Connection2(Path(directory), port) for _ in range(count)]

    def run(self) -> dict[str, Any]:
        latencies: list[float] = []
        selector = selectors.DefaultSelector()
        began = perf_counter()
        for number, connection in enumerate(self.connections):
            share = len(range(number, self.inflight, len(self.connections)))
            selector.register(connection.stream, selectors.EVENT_READ, connection)
            connection.send(b"".join([connection.call(self.message) for _ in range(share)]))
        while perf_counter() - began < self.seconds and len(latencies) < self.requests:
            for key, _ in selector.select(1.0):
                connection = key.data
                if count := connection.ended(latencies):
                    connection.send(b"".join([connection.call(self.message) for _ in range(count)]))
        return summary(latencies, perf_counter() - began)


def varint(number: int) -> bytes:
    """Protobuf's form of a number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
