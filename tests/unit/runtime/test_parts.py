"""Directories that are whole or not there, and what a killed maker leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyswarm.errors import AlreadyExists
from pyswarm.runtime.parts import MARK, made, remove_stale

MAKER = """
import sys, time
from pathlib import Path
from pyswarm.runtime.parts import made
with made(Path(sys.argv[1]), "the part") as path:
    (path / "half").write_bytes(b"...")
    print(path, flush=True)
    sys.stdin.read()
"""


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def test_it_takes_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "it"
    with made(target, "it") as path:
        (path / "file").write_bytes(b"whole")
        assert not target.exists()
    assert names(tmp_path) == ["it"]
    assert names(target) == ["file"]
    with pytest.raises(AlreadyExists), made(target, "it"):
        pass


def test_it_goes_if_its_making_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), made(tmp_path / "it", "it"):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_what_a_killed_maker_left_goes_with_the_next(tmp_path: Path) -> None:
    """While it lives its part stays, whoever makes the same."""
    target = tmp_path / "it"
    command = [sys.executable, "-c", MAKER, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        part = Path(maker.stdout.readline().decode().strip())
        remove_stale(target)
        assert names(part) == [MARK, "half"]
        os.kill(maker.pid, signal.SIGKILL)
    assert names(part) == [MARK, "half"]
    with made(target, "it"):
        assert not part.exists()
    assert names(tmp_path) == ["it"]


def test_what_is_not_proved_to_be_left_over_stays(tmp_path: Path) -> None:
    for name in ("it.abcdefgh.part", "other.abcdefgh.part", "it.part", "it.a.b.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(b"")
    for name in ("other.abcdefgh.part", "it.part", "it.a.b.part"):
        (tmp_path / name / MARK).write_bytes(b"")
    (tmp_path / "it.aaaaaaaa.part").write_bytes(b"a file")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / MARK).write_bytes(b"")
    (tmp_path / "it.bbbbbbbb.part").symlink_to("elsewhere")
    (tmp_path / "it.cccccccc.part").mkdir()
    (tmp_path / "it.cccccccc.part" / MARK).symlink_to("../elsewhere/" + MARK)
    before = names(tmp_path)
    with made(tmp_path / "it", "it"):
        pass
    assert names(tmp_path) == sorted([*before, "it"])
    assert names(tmp_path / "elsewhere") == [MARK]
