"""Keywords of an update, one by one: what each changes, and that it changes nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.model.build import ServiceOptions, service_spec
from pyswarm.runtime.front.changes import GROUPS, PATHS, SHORT, changed

FULL = service_spec(
    "web",
    image="one",
    command=["serve"],
    args=["-v"],
    env={"A": "1"},
    labels={"tier": "front"},
    replicas=3,
    ports=["8080:80"],
    constraints=["node.role==worker"],
    cpu=0.5,
    memory="64M",
    update_parallelism=2,
    update_delay=3,
    restart_delay=4,
    restart_max_attempts=5,
    log_driver="json-file",
    log_options={"max-size": "1m"},
)


def get(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


CASES: list[tuple[dict[str, Any], str, Any]] = [
    ({"image": "two"}, "task.container.image", "two"),
    ({"command": ["run"]}, "task.container.command", ("run",)),
    ({"args": []}, "task.container.args", ()),
    ({"env": {"B": "2"}}, "task.container.env", ("B=2",)),
    ({"workdir": "/srv"}, "task.container.dir", "/srv"),
    ({"labels": {}}, "labels", {}),
    ({"container_labels": {"x": "y"}}, "task.container.labels", {"x": "y"}),
    ({"replicas": 7}, "mode.replicas", 7),
    ({"constraints": []}, "task.placement.constraints", ()),
    ({"max_replicas_per_node": 2}, "task.placement.max_replicas", 2),
    ({"reserve_memory": "8M"}, "task.resources.reservations.memory_bytes", 8 << 20),
    ({"limit_cpu": 2}, "task.resources.limits.nano_cpus", 2_000_000_000),
    ({"force_update": 1}, "task.force_update", 1),
    ({"parallelism": 9}, "update.parallelism", 9),
    ({"update_delay": "1m"}, "update.delay", 60.0),
    ({"monitor": 1}, "update.monitor", 1.0),
    ({"rollback_parallelism": 0}, "rollback.parallelism", 0),
    ({"restart_window": "10s"}, "task.restart.window", 10.0),
    ({"stop_grace_period": 2}, "task.container.stop_grace_period", 2.0),
]


@pytest.mark.parametrize(("changes", "path", "value"), CASES, ids=lambda case: str(case)[:40])
def test_a_keyword_changes_its_field_alone(changes: dict[str, Any], path: str, value: Any) -> None:
    """Put the old value back, and the spec is what it was."""
    new = changed(FULL, changes)
    assert get(new, path) == value
    *above, last = path.split(".")
    assert put(new, above, last, old(path)) == FULL


def old(path: str) -> Any:
    try:
        return get(FULL, path)
    except AttributeError:
        return None


def put(spec: Any, above: list[str], last: str, value: Any) -> Any:
    if above == ["rollback"]:
        return attrs.evolve(spec, rollback=None)
    if not above:
        return attrs.evolve(spec, **{last: value})
    name, *rest = above
    return attrs.evolve(spec, **{name: put(getattr(spec, name), rest, last, value)})


def test_groups_keep_what_is_not_named() -> None:
    """Of a group of keywords only the named part changes."""
    new = changed(FULL, {"update_parallelism": 4})
    assert (new.update.parallelism, new.update.delay) == (4, 3.0)
    new = changed(FULL, {"restart_delay": 1})
    assert (new.task.restart.delay, new.task.restart.max_attempts) == (1.0, 5)
    new = changed(FULL, {"ports": ["443:443"]})
    assert [port.published_port for port in new.endpoint.ports] == [443]
    new = changed(FULL, {"endpoint_mode": "vip"})
    assert new.endpoint.ports == FULL.endpoint.ports
    new = changed(FULL, {"log_options": {"max-file": "3"}})
    assert (new.task.log_driver.name, dict(new.task.log_driver.options)) == (
        "json-file",
        {"max-file": "3"},
    )
    new = changed(FULL, {"memory": "128M"})
    resources = new.task.resources
    assert resources.limits.memory_bytes == resources.reservations.memory_bytes == 128 << 20
    assert resources.limits.nano_cpus == FULL.task.resources.limits.nano_cpus


def test_modes() -> None:
    """A number of replicas belongs to the mode the service has."""
    job = service_spec("job", image="x", mode="replicated-job", replicas=4, max_concurrent=2)
    new = changed(job, {"replicas": 8})
    assert (new.mode.total_completions, new.mode.max_concurrent) == (8, 2)
    new = changed(job, {"image": "y"})
    assert new.mode == job.mode
    everywhere = service_spec("all", image="x", mode="global")
    assert changed(everywhere, {"image": "y"}).mode == everywhere.mode
    with pytest.raises(InvalidArgument, match="replicas can only be used"):
        changed(everywhere, {"replicas": 2})


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        changed(FULL, {"colour": "red"})
    with pytest.raises(InvalidArgument, match="force must be True or False"):
        changed(FULL, {"force": "yes"})
    with pytest.raises(InvalidArgument, match="invalid duration"):
        changed(FULL, {"update_delay": "soon"})
    with pytest.raises(InvalidArgument, match="non-negative"):
        changed(FULL, {"replicas": -1})
    assert changed(FULL, {}) == FULL


def test_every_keyword_of_a_new_service_is_known() -> None:
    """A keyword that is added to services must be added here."""
    for key in ServiceOptions.__annotations__:
        assert key in PATHS or key.partition("_")[0] in GROUPS, key
    for key in SHORT.values():
        assert key in ServiceOptions.__annotations__
