"""Each ``*.txt`` here is a story with its outcome; ``pytest --rewrite`` writes the outcome anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyswarm.testing.raft_script import COMMANDS, Script, ScriptError, main, render

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, rewrite: bool) -> None:
    text = path.read_text()
    fresh = render(text)
    if rewrite:
        path.write_text(fresh)
    else:
        assert fresh == text


def test_every_command_is_in_a_script() -> None:
    used = {line.split()[0] for path in SCRIPTS for line in path.read_text().splitlines() if line}
    assert set(COMMANDS) <= used


def test_rendering_is_stable() -> None:
    for path in SCRIPTS[:2]:
        fresh = render(path.read_text())
        assert render(fresh) == fresh


def test_the_runner_prints_the_final_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SCRIPTS[0])]) == 0
    out = capsys.readouterr().out
    assert "1: " in out and "log of 1:" in out


def test_a_script_that_is_not_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("add-nodes 3\nfly away\n")
    assert main([str(path)]) == 2
    assert "unknown command 'fly'" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.txt")]) == 2
    assert main([]) == 2
    with pytest.raises(ScriptError):
        Script().run("campaign")
