"""Where a process's secrets are, and that nothing of them stays: not even after a kill -9."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from pyswarm.agent import TaskFile
from pyswarm.runtime.executors import directories
from pyswarm.runtime.executors.process import ProcessExecutor
from pyswarm.testing.executors import Bench, ShellBehaviours

SHELL = ShellBehaviours()
SECRET = TaskFile("secret", "key", "/run/secrets/key", b"hunter2-in-a-file")


def left_behind(*places: Path) -> list[Path]:
    """Files under these places that hold the secret."""
    return [
        path
        for place in places
        for top in place.glob("*pyswarm-tasks-*")
        for path in top.rglob("*")
        if path.is_file() and SECRET.data in path.read_bytes()
    ]


async def test_in_memory_for_the_tasks_user_alone_and_gone_at_its_end(tmp_path: Path) -> None:
    bench = Bench(ProcessExecutor(tmp_path), SHELL)
    container = SHELL.shell('stat -f -c %T "$PYSWARM_SECRETS_DIR"; stat -c %a $(dirname '
                            '"$PYSWARM_SECRETS_DIR"); cat "$PYSWARM_SECRETS_DIR/key"')  # fmt: skip
    async with bench.executor:  # type: ignore[attr-defined]
        lines = await bench.run(container, files=(SECRET,))
        assert lines == ["tmpfs", "700", SECRET.data.decode()]
        assert left_behind(Path("/dev/shm"), tmp_path) == []


async def test_without_a_tmpfs_there_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(directories, "is_memory", lambda place: False)
    bench = Bench(ProcessExecutor(tmp_path), SHELL)
    async with bench.executor:  # type: ignore[attr-defined]
        with caplog.at_level(logging.WARNING, "pyswarm.executor"):
            id = await bench.start(
                SHELL.shell('cat "$PYSWARM_SECRETS_DIR/key"; stat -c %a "$PYSWARM_SECRETS_DIR/.."'),
                files=(SECRET,),
            )
            await bench.ended(id, 0)
        lines = [line.data.decode() async for line in bench.executor.logs(id)]
        assert lines == [SECRET.data.decode(), "700"] or lines == [SECRET.data.decode() + "700"]
        [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert "there is no tmpfs" in record.getMessage()
        assert "hunter2" not in caplog.text
        assert left_behind(tmp_path) == []


def test_what_counts_as_memory(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    for text, expected in (
        ("tmpfs /dev/shm tmpfs rw 0 0\n", True),
        ("/dev/sda1 /dev/shm ext4 rw 0 0\n", False),
        ("tmpfs /dev/shm tmpfs rw 0 0\n/dev/sda1 /dev/shm ext4 rw 0 0\n", False),
        ("/dev/sda1 / ext4 rw 0 0\n", False),
    ):
        mounts.write_text(text)
        assert directories.is_memory(Path("/dev/shm"), mounts) is expected
    assert not directories.is_memory(Path("/dev/shm"), tmp_path / "none")


NODE = textwrap.dedent(
    """
    import sys, trio
    from pyswarm.runtime.executors.process import ProcessExecutor
    from pyswarm.testing.executors import Bench, ShellBehaviours
    from pyswarm.agent import TaskFile

    async def main():
        bench = Bench(ProcessExecutor(sys.argv[1]), ShellBehaviours())
        file = TaskFile("secret", "key", "/run/secrets/key", b"hunter2-in-a-file")
        id = await bench.start(bench.behaviours.runs("ready"), files=(file,))
        await bench.line(id, "ready")
        process = bench.executor._tasks[id].process
        print(bench.executor._directories.secrets_dir(id), process.supervisor_pid, flush=True)
        await trio.sleep_forever()

    trio.run(main)
    """
)


@pytest.mark.parametrize("supervisor_too", [False, True])
async def test_nothing_is_left_after_a_kill(tmp_path: Path, supervisor_too: bool) -> None:
    """The supervisor cleans up after its node; if it was killed as well, the next node does."""
    with subprocess.Popen(
        [sys.executable, "-c", NODE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout is not None
        place, supervisor = node.stdout.readline().split()
        assert (Path(place) / "secrets" / "key").read_bytes() == SECRET.data
        if supervisor_too:
            os.kill(node.pid, signal.SIGSTOP)  # it must not notice
            os.kill(int(supervisor), signal.SIGKILL)
        node.kill()
        node.wait()
    if supervisor_too:
        async with ProcessExecutor(tmp_path) as executor:
            bench = Bench(executor, SHELL)
            await bench.run(SHELL.exits(0))
    with trio.fail_after(10):
        while Path(place).exists():  # noqa: ASYNC110 (another process removes it)
            await trio.sleep(0.01)
