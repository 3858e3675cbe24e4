"""What a commit is made of: one sync of the disk, one round trip; and TLS contexts for all."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from pathlib import Path
from time import perf_counter
from typing import Any

from raft_processes import make_certificate, summary

FILE_BYTES = 16 * 1024 * 1024
BESIDE_SECONDS = 0.4
"""By how much those beside whom a disk is measured begin earlier and end later."""


def tls_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server, client): TLS 1.3, both sides verified by the benchmark's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        context.load_verify_locations(directory / "cert.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    return server, client


def disk(directory: Path, seconds: float, size: int, writers: int = 1) -> dict[str, Any]:
    """Appends and syncs, one after the other, in a preallocated file; beside ``writers - 1`` other
    processes that do the same."""
    others = []
    for number in range(1, writers):
        if (child := os.fork()) == 0:
            try:
                append(directory / f"file{number}", seconds + BESIDE_SECONDS, size)
            finally:
                os._exit(0)
        others.append(child)
    if others:
        time.sleep(BESIDE_SECONDS / 2)
    try:
        measured = append(directory / "file", seconds, size)
    finally:
        for child in others:
            os.waitpid(child, 0)
    system = "disk" if writers == 1 else f"disk-x{writers}"
    return plain_row(system, "fdatasync/s", measured)


def append(path: Path, seconds: float, size: int) -> dict[str, Any]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(fd, 0, FILE_BYTES)
        os.fsync(fd)
        data = os.urandom(size)
        times: list[float] = []
        began = perf_counter()
        while (now := perf_counter()) - began < seconds or not times:
            os.pwrite(fd, data, len(times) * size % FILE_BYTES)
            os.fdatasync(fd)
            times.append(perf_counter() - now)
        return summary(times, perf_counter() - began)
    finally:
        os.close(fd)


def round_trip(directory: Path, seconds: float, size: int) -> dict[str, Any]:
    """There and back over TLS, to a process of its own that echoes; each on a core of its own, as
    members are: two on one core wake each other up in a tenth of the time."""
    make_certificate(directory)
    server, client = tls_contexts(directory)
    listener = socket.create_server(("127.0.0.1", 0))
    cores = os.sched_getaffinity(0)
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {max(cores)})
        threading.Timer(seconds + 10, os._exit, (1,)).start()
        echo(listener, server, size)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with socket.create_connection(listener.getsockname()) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client.wrap_socket(plain, server_hostname="127.0.0.1") as stream:
                return plain_row("round-trip", "round trips/s", ping(stream, seconds, size))
    finally:
        os.sched_setaffinity(0, cores)
        listener.close()
        os.waitpid(child, 0)


def ping(stream: ssl.SSLSocket, seconds: float, size: int) -> dict[str, Any]:
    data = bytes(size)
    times: list[float] = []
    began = perf_counter()
    while (now := perf_counter()) - began < seconds or not times:
        stream.sendall(data)
        left = size
        while left:
            left -= len(stream.recv(left))
        times.append(perf_counter() - now)
    return summary(times, perf_counter() - began)


def echo(listener: socket.socket, context: ssl.SSLContext, size: int) -> None:
    """The other process: until the connection ends."""
    try:
        plain, _ = listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = context.wrap_socket(plain, server_side=True)
        while data := stream.recv(size):
            stream.sendall(data)
    finally:
        os._exit(0)


def plain_row(system: str, unit: str, measured: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "one after the other",
        "system": system,
        "inflight": 1,
        "value": round(measured["commits"] / measured["seconds"], 1),
        "unit": unit,
        "p50_ms": round(measured["p50"] * 1e3, 3),
        "p99_ms": round(measured["p99"] * 1e3, 3),
    }
