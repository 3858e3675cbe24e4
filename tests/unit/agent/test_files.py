"""Which files a task gets and where (spec of secrets, sections 2 to 4)."""

from __future__ import annotations

import pytest

from pyswarm.agent import Operation, Perform, SavedTask, Tick
from pyswarm.agent.files import CONFIGS_ROOT, SECRETS_ROOT, target_path
from pyswarm.model.objects import TaskStatus
from pyswarm.model.session import Dependency, Plain
from pyswarm.model.specs import ConfigReference, ContainerSpec, SecretReference
from pyswarm.model.states import TaskState
from unit.agent.world import World, make_task, performed


@pytest.mark.parametrize(
    ("root", "target", "path"),
    [
        (SECRETS_ROOT, "password", "/run/secrets/password"),
        (SECRETS_ROOT, "db/password", "/run/secrets/db/password"),
        (SECRETS_ROOT, "/etc/key", "/etc/key"),
        (SECRETS_ROOT, "../../etc/key", "/etc/key"),
        (SECRETS_ROOT, "../../../../x", "/x"),
        (CONFIGS_ROOT, "app.conf", "/app.conf"),
        (CONFIGS_ROOT, "/etc/app.conf", "/etc/app.conf"),
        (CONFIGS_ROOT, "//etc//app.conf", "/etc/app.conf"),
        (CONFIGS_ROOT, "../x", "/x"),
    ],
)
def test_target_paths(root: str, target: str, path: str) -> None:
    assert target_path(root, target) == path


SECRET = Dependency("secret", "sid", "password", Plain(b"hunter2"))
CONFIG = Dependency("config", "cid", "app", Plain(b"x=1"), templating="golang")
CONTAINER = ContainerSpec(
    image="host",
    command=("true",),
    secrets=(SecretReference("sid", "password", uid="7", mode=0o400),),
    configs=(
        ConfigReference("cid", "app", target="etc/app"),
        ConfigReference("cid", "app", runtime=True),
    ),
)


def test_files_travel_with_prepare() -> None:
    world = World()
    world.open()
    effects = world.assign(make_task(container=CONTAINER), dependencies=(SECRET, CONFIG))
    (perform,) = [e for e in effects if isinstance(e, Perform)]
    assert [(f.kind, f.path, f.uid, f.mode, f.templating) for f in perform.files] == [
        ("secret", "/run/secrets/password", "7", 0o400, ""),
        ("config", "/etc/app", "0", 0o444, "golang"),
    ]
    assert "hunter2" not in repr(effects)


def test_a_missing_secret_rejects_the_task() -> None:
    world = World()
    world.open()
    assert performed(world.assign(make_task(container=CONTAINER), dependencies=(CONFIG,))) == []
    status = world.agent.status("t1")
    assert status is not None
    assert (status.state, status.message) == (TaskState.REJECTED, "preparing")
    assert status.err == "secret sid not found"


@pytest.mark.parametrize("target", ["/", "/..", "../..", "/./"])
def test_a_target_that_is_no_file_rejects_the_task(target: str) -> None:
    world = World()
    world.open()
    references = (SecretReference("sid", "password", target=target),)
    container = ContainerSpec(image="host", secrets=references)
    assert performed(world.assign(make_task(container=container), dependencies=(SECRET,))) == []
    status = world.agent.status("t1")
    assert status is not None
    assert status.err == "secret password: invalid target file name provided"


def test_a_secret_made_for_one_task_comes_first() -> None:
    world = World()
    world.open()
    own = Dependency("secret", "sid.t1", "password", Plain(b"just for t1"))
    effects = world.assign(make_task(container=CONTAINER), dependencies=(SECRET, own, CONFIG))
    (perform,) = [e for e in effects if isinstance(e, Perform)]
    assert perform.files[0].payload == Plain(b"just for t1")


def test_a_resumed_task_waits_for_its_secrets() -> None:
    task = make_task(container=CONTAINER)
    world = World({"t1": SavedTask(task, TaskStatus(TaskState.PREPARING))})
    assert performed(world.step(Tick())) == []
    assert world.state() is TaskState.PREPARING
    world.open()
    assert performed(world.assign(task, dependencies=(SECRET, CONFIG))) == [Operation.PREPARE]
