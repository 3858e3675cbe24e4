"""The command line: what it prints, and the exit code that goes with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pyswarm.cli import commands
from pyswarm.errors import NotFound

PLAN = {
    "nodes": [{"name": "node-1"}, {"name": "node-2", "availability": "drain"}],
    "services": [
        {"name": "web", "replicas": 2},
        {"name": "db", "replicas": 1, "constraints": ["node.labels.disk == ssd"]},
    ],
}


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(commands.pyswarm, arguments, input=text)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_commands_that_exist_are_listed() -> None:
    code, out, _ = run("--help")
    listed = out.partition("Commands:")[2].split("\n")
    assert code == 0
    assert [line.split()[0] for line in listed if line.strip()] == [
        *("backup", "daemon", "demo", "plan", "restore", "simulate")
    ]


def test_python_dash_m_is_the_same_command() -> None:
    command = [sys.executable, "-m", "pyswarm", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["Usage:", "pyswarm"])


def test_a_refusal_is_one_sentence_and_its_hint() -> None:
    @click.group(cls=commands.SwarmGroup)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise NotFound("service web not found", hint="list the services")

    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == commands.EXIT_REFUSED
    assert result.stderr == "Error: service web not found\nHint: list the services\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("plan",),
        ("plan", "no-such-file"),
        ("simulate",),
        ("simulate", "--seeds", "0"),
        ("simulate", "--seeds", "1", "--seconds", "0"),
        ("simulate", "--seeds", "1", "--managers", "0"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_plan_answers_in_json() -> None:
    code, out, _ = run("plan", "-", "--json", text=json.dumps(PLAN))
    answer = json.loads(out)
    assert code == 0
    assert answer["counts"]["web"] == {"node-1": 2, "node-2": 0}
    [pending] = answer["pending"]
    assert (pending["service"], pending["count"]) == ("db", 1)
    assert pending["reason"].startswith("no suitable node (")


def test_plan_answers_with_a_table_and_explains_what_waits() -> None:
    code, out, err = run("plan", "-", text=json.dumps(PLAN))
    assert code == 0
    assert out.startswith("SERVICE  NODE       TASKS\nweb      node-1     2\n")
    assert "node-2" not in out
    assert "db       (pending)  1  no suitable node (" in out
    assert err.startswith("db: no suitable node (") and "node-2" in err


def test_plan_refuses_a_malformed_file() -> None:
    code, out, err = run("plan", "-", text='{"nodes": [')
    assert (code, out) == (commands.EXIT_REFUSED, "")
    assert err.startswith("Error: ")


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the campaign finds, to be filled by the test; the campaign itself does not run."""
    violations: list[dict[str, Any]] = []

    def campaign(*, seeds: int, seconds: float, **_: int) -> dict[str, Any]:
        found = [dict(violation) for violation in violations]
        figures = {"seeds": seeds, "virtual_s": seeds * seconds, "faults": {"crash": 3}}
        return {**figures, "violations": found, "digest": "d1"}

    monkeypatch.setattr("pyswarm.sim.campaign.run", campaign)
    return violations


def test_simulate_sums_up(history: list[dict[str, Any]]) -> None:
    code, out, _ = run("simulate", "--seeds", "2", "--json")
    answer = json.loads(out)
    assert answer.pop("wall_s") >= 0
    assert code == 0
    assert answer == {
        "seeds": 2,
        "virtual_s": 120.0,
        "faults": {"crash": 3},
        "violations": [],
        "digest": "d1",
    }


def test_simulate_says_how_to_replay_a_violation(history: list[dict[str, Any]]) -> None:
    history.append({"seed": 17, "message": "two leaders in term 4"})
    code, out, _ = run("simulate", "--seeds", "20", "--managers", "5", "--seconds", "9.5")
    assert code == commands.EXIT_REFUSED
    assert "seed 17: two leaders in term 4\n" in out
    replay = "pyswarm simulate --first 17 --seeds 1 --managers 5 --workers 5 --seconds 9.5"
    assert f"  replay: {replay}\n" in out
