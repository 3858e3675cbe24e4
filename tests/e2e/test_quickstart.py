"""The README's first program: its nine steps, and what is left of it however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are for Linux")


def heed_interrupts() -> None:
    """A shell's background job ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "examples" / "quickstart.py")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def read_until(program: subprocess.Popen[str], words: str) -> list[str]:
    assert program.stdout is not None
    lines: list[str] = []
    for line in program.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def below(pid: int) -> set[int]:
    """The processes under this one, as /proc shows them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {pid}
    while new:
        new = {one for one, parent in parents.items() if parent in new}
        found |= new
    return found


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pids: set[int]) -> None:
    give_up = time.monotonic() + 30
    while left := [pid for pid in pids if runs(pid)]:
        assert time.monotonic() < give_up, left


def test_it_tells_the_whole_story(tmp_path: Path) -> None:
    program = start(tmp_path)
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, out + err
    assert re.findall(r"^\[ *[\d.]+\] (\d)\. ", out, re.MULTILINE) == list("0123456789")
    for shown in (
        r"web: node-1 \d, node-2 \d, node-3 \d, node-4 \d, node-5 \d$",
        r"slot \d runs again: pid \d+$",
        r"([12]) of its \1 processes ended with it$",
        r"[45] processes on the other nodes ran on, untouched$",
        r"node-\d is back from its state directory$",
        r"nothing moves back",
        r"updated: /bin/sh runs$",
        rf"rolled back: {re.escape(sys.executable)} runs$",
        r"fast: no suitable node \(scheduling constraints not satisfied on 5 nodes\)$",
        r"fast: node-5 2$",
        r"network front: 10\.20\.0\.0/26$",
        r"network back: 10\.20\.0\.64/26$",
        r"reader says: good morning; the password has 28 bytes; my address is 10\.20\.0\.\d+$",
        r"\d tasks? stops?, \d starts?$",
        r"no process, no thread and no file is left; \d+\.\d s in all$",
    ):
        assert re.search(shown, out, re.MULTILINE), f"{shown}\n{out}"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    program = start(tmp_path)
    read_until(program, "accepted by the new leader")
    pids = below(program.pid)
    assert len(pids) >= 8  # supervisors and tasks
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 130, out + err
    assert "no process, no thread and no file is left" in out
    said = [line for line in err.splitlines() if not line.startswith("loop.late ")]
    assert said == []  # but that the computer is busy
    assert [pid for pid in pids if runs(pid)] == []
    assert list(tmp_path.iterdir()) == []


def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    program = start(tmp_path)
    read_until(program, "web: node-1")
    pids = below(program.pid)
    assert len(pids) >= 10
    program.kill()
    program.communicate(timeout=60)
    wait_until_gone(pids)
