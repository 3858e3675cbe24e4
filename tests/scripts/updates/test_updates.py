"""Each ``*.txt`` here is a rolling update as a story; ``pytest --rewrite`` writes it anew.

A block is comments and commands, ``----``, and what happened: one line for each task that changed,
with the seconds since the story began, its slot, image, node, observed and desired state. Commands:

``nodes N``, ``image NAME ends-after=S exit=N stop=S start=S rejected=yes``,
``create NAME image=I replicas=N KEY=VALUE …`` and ``update NAME …`` with the settings of an update
(``parallelism``, ``delay``, ``monitor``, ``order``, ``failure``, ``max-failure``; the same with
``back-`` before them for rollbacks), ``rollback NAME``, ``node ID down|ready|drain|active``,
``new-leader``, ``run SECONDS``, ``show NAME``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from pyswarm.model.specs import ContainerSpec, Replicated, RestartPolicy, ServiceSpec, UpdateConfig
from pyswarm.model.states import Availability, FailureAction, NodeState, UpdateOrder
from pyswarm.orchestrator.rollout import progress
from unit.orchestrator.harness import Program, World, a_spec

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))
NUMBERS = {"parallelism": int, "delay": float, "monitor": float, "max-failure": float}


class Telling(World):
    """A world whose log also says where a task is, and of which image."""

    def _remember(self, change: Any) -> None:
        old, new = change.old, change.new
        if change.kind != "task":
            return
        task = old if new is None else new
        if old and new and (old.state, old.desired_state) == (new.state, new.desired_state):
            return
        what = "deleted" if new is None else f"{new.state}/{new.desired_state}"
        container = task.spec.container
        who = f"{task.service_name}.{task.slot} {container.image} {task.node_id or '-'}"
        self.log.append(f"{self.now - 1000:6.2f} {who} {what}")


class Story:
    """A world that is told what to do line by line."""

    def __init__(self) -> None:
        self.world: World = Telling()

    def run(self, line: str) -> list[str]:
        """Do one command; what happened."""
        name, *words = line.split()
        given = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        self.world.log.clear()
        said = getattr(self, f"do_{name.replace('-', '_')}")(*plain, **_keys(given))
        return [*(said or ()), *sorted(self.world.log, key=_when_and_where)]

    def do_nodes(self, count: str) -> None:
        self.world = Telling(int(count))

    def do_image(self, name: str, **given: str) -> None:
        program = Program()
        for key, text in given.items():
            setattr(program, {"exit": "exit_code"}.get(key, key), _value(key, text))
        self.world.programs[name] = program

    def do_create(self, name: str, **given: str) -> None:
        self.world.create(_changed(a_spec(name, replicas=1), **given))

    def do_update(self, name: str, **more: str) -> None:
        spec = self.world.service(f"service-{name}").spec
        self.world.update(f"service-{name}", _changed(spec, **more))

    def do_rollback(self, name: str) -> None:
        self.world.rollback(f"service-{name}")

    def do_node(self, node_id: str, what: str) -> None:
        if what in ("down", "ready"):
            self.world.node(node_id, state=NodeState[what.upper()])
        else:
            self.world.node(node_id, availability=Availability[what.upper()])

    def do_new_leader(self) -> None:
        self.world.rebuild()

    def do_run(self, seconds: str) -> None:
        self.world.run(float(seconds))

    def do_show(self, name: str) -> list[str]:
        """The update's state, and what of each slot should run."""
        service = self.world.service(f"service-{name}")
        status = service.update_status
        done, total = progress(service, self.world.store)
        lines = [f"{status.state}: {status.message} ({done} of {total})" if status else "no update"]
        for task in sorted(self.world.live(service.id), key=lambda task: task.slot):
            container = task.spec.container
            lines.append(f"{name}.{task.slot} {container.image if container else ''}")
        return lines


def _keys(given: dict[str, str]) -> dict[str, str]:
    return {key.replace("-", "_"): text for key, text in given.items()}


def _value(key: str, text: str) -> Any:
    if key == "rejected":
        return text == "yes"
    return int(text) if key == "exit" else float(text)


def _changed(spec: ServiceSpec, **given: str) -> ServiceSpec:
    """``spec`` with what the words say."""
    task = spec.task
    if image := given.pop("image", ""):
        task = attrs.evolve(task, container=ContainerSpec(image=image))
    if delay := given.pop("restart", ""):
        task = attrs.evolve(task, restart=RestartPolicy(delay=float(delay)))
    if replicas := given.pop("replicas", ""):
        spec = attrs.evolve(spec, mode=Replicated(int(replicas)))
    back = {key[5:]: given.pop(key) for key in list(given) if key.startswith("back_")}
    update, rollback = _settings(spec.update, given), _settings(spec.rollback, back)
    return attrs.evolve(spec, task=task, update=update, rollback=rollback)


def _settings(config: UpdateConfig | None, given: dict[str, str]) -> UpdateConfig | None:
    if not given:
        return config
    changes: dict[str, Any] = {}
    for key, text in given.items():
        if key == "order":
            changes["order"] = UpdateOrder[text.replace("-", "_").upper()]
        elif key == "failure":
            changes["failure_action"] = FailureAction[text.upper()]
        else:
            field = "max_failure_ratio" if key == "max_failure" else key
            changes[field] = NUMBERS[key.replace("_", "-")](text)
    return attrs.evolve(config or UpdateConfig(), **changes)


def _when_and_where(entry: str) -> tuple[float, str]:
    """What happens at one moment is told slot by slot."""
    at, who, *_ = entry.split()
    return float(at), who


def render(text: str) -> str:
    """The script with its outcome written anew."""
    story, blocks = Story(), []
    for block in text.strip().split("\n\n"):
        told = block.split("\n----", 1)[0].split("\n")
        happened: list[str] = []
        for line in told:
            if line and not line.startswith("#"):
                happened += story.run(line)
        outcome = ["----", *happened] if happened else []
        blocks.append("\n".join([*told, *outcome]))
    return "\n\n".join(blocks) + "\n"


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
    commands = {name[3:].replace("_", "-") for name in dir(Story) if name.startswith("do_")}
    assert commands <= used
