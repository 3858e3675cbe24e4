"""Each ``*.txt`` here is a story with its outcome; ``pytest --rewrite`` writes the outcome anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyswarm.testing import raft_script
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
    assert capsys.readouterr().err == f"{path}:2: unknown command 'fly'\n"
    path.write_bytes(b"\xff\xfe")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: is no text in UTF-8\n"
    assert main([str(tmp_path / "missing.txt")]) == 2
    assert main([]) == 2
    with pytest.raises(ScriptError):
        Script().run("campaign")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("add-nodes", "usage: add-nodes N"),
        ("add-nodes 0", "'0' is no number from 1"),
        ("add-nodes 60 learners=60", "more than 99 members"),
        ("add-nodes 3 haste=5", "no setting is called 'haste'"),
        ("add-nodes 3 election-timeout-ticks=x", "'x' is no number from 0"),
        ("add-node 1", "member 1 is there already"),
        ("campaign 9", "there is no member 9"),
        ("campaign 1 2", "usage: campaign ID"),
        ("campaign 1 fast=yes", "usage: campaign ID"),
        ("propose 1", "usage: propose ID DATA"),
        ("propose-conf-change 1 marry", "unknown change 'marry'"),
        ("propose-conf-change 1 remove", "a number is missing"),
        ("tick 1 99999999999", "'99999999999' is no number"),
        ("tick 1 ²", "'²' is no number"),
        ("process-ready 1 sync=maybe", "sync is yes or no"),
        ("deliver-msgs type=Letter", "no message is a 'Letter': AppendEntries, "),
        ("crash 1 hard", "usage: crash ID"),
        ("restart 1", "member 1 is up"),
        ("compact 1 keep=-1", "'-1' is no number from 0"),
        ("heal 1", "usage: heal"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    line: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(f"# Three.\nadd-nodes 3\n\n{line}\n")
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"{path}:4: {error}") and err.count("\n") == 1


def test_nobody_acts_while_it_is_down() -> None:
    script = Script()
    for line in ("add-nodes 3", "crash 2"):
        script.run(line)
    for line in ("crash 2", "campaign 2", "status 2", "tick 2 1"):
        with pytest.raises((ScriptError, AssertionError), match="member 2 is down"):
            script.run(line)


def test_every_command_is_explained() -> None:
    assert not [name for name in COMMANDS if f"``{name}" not in (raft_script.__doc__ or "")]
