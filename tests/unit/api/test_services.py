"""``/services``: what a request does and what it shows, beside what was recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.model import TaskState, replace
from pyswarm.model.requests import CreateService, UpdateService
from unit.api.door import Door


def body(name: str = "web", **fields: Any) -> dict[str, Any]:
    container = {"Image": "nginx", **fields.pop("container", {})}
    template = {"ContainerSpec": container, **fields.pop("template", {})}
    return {"Name": name, "TaskTemplate": template, **fields}


@pytest.fixture
def door() -> Door:
    return Door()


def test_create_answers_with_the_id(door: Door) -> None:
    made = door.post("/services/create", body())
    assert list(made) == ["ID"]
    shown = door.get("/services/web")
    assert shown["ID"] == made["ID"]
    assert shown["Spec"]["Mode"] == {"Replicated": {"Replicas": 1}}
    assert shown["Endpoint"] == {"Spec": {}}


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        ({"Type": "image"}, 'invalid MountType: "image"'),
        ({"Type": "floppy"}, 'invalid MountType: "floppy"'),
        (
            {"Type": "volume", "ImageOptions": {"Subpath": "x"}},
            'invalid mount config for type "volume": field ImageOptions must not be specified',
        ),
        (
            {"Type": "bind", "ClusterOptions": {}},
            'invalid mount config for type "bind": field ClusterOptions must not be specified',
        ),
    ],
)
def test_mounts_that_a_service_cannot_keep(door: Door, mount: dict[str, Any], why: str) -> None:
    said = body(container={"Mounts": [{"Source": "x", "Target": "/t", **mount}]})
    answer = door.request("POST", "/services/create", said)
    assert (answer.status, json.loads(answer.body)["message"]) == (400, why)
    cluster = {"Type": "cluster", "Source": "group:x", "Target": "/t", "ClusterOptions": {}}
    door.post("/services/create", body("well", container={"Mounts": [cluster]}))


def test_newer_clients_are_always_told_of_warnings(door: Door) -> None:
    answer = door.request("POST", "/v1.44/services/create", body())
    assert answer.status == 201
    assert answer.body.endswith(b',"Warnings":null}\n')


def test_a_service_without_a_name_is_given_one(door: Door) -> None:
    for _ in range(30):
        door.post("/services/create", body(""))
    names = [one["Spec"]["Name"] for one in door.get("/services")]
    assert len(set(names)) == 30
    assert all("_" in name for name in names)


def test_who_loses_a_race_for_a_name_is_given_another(door: Door) -> None:
    taken: list[str] = []
    ask = door.desk.ask

    def slow(command: Any) -> Any:
        if isinstance(command, CreateService) and not taken:
            taken.append(command.spec.name)
            ask(command)
        return ask(command)

    door.desk.ask = slow  # type: ignore[method-assign]
    made = door.post("/services/create", body(""))
    assert door.get(f"/services/{made['ID']}")["Spec"]["Name"] != taken[0]


def test_networks_are_named_as_people_do_and_remembered_by_id(door: Door) -> None:
    made = door.post("/networks/create", {"Name": "back", "Driver": "overlay"})
    networks = [{"Target": "back", "Aliases": ["db"]}]
    door.post("/services/create", body(template={"Networks": networks}))
    door.post("/services/create", body("old", Networks=networks))
    for name in ("web", "old"):
        shown = door.get(f"/services/{name}")["Spec"]["TaskTemplate"]["Networks"]
        assert shown == [{"Target": made["Id"], "Aliases": ["db"]}]


def test_an_old_networks_field_is_taken_if_it_says_what_is_there(door: Door) -> None:
    door.post("/networks/create", {"Name": "back", "Driver": "overlay"})
    old = body(Networks=[{"Target": "back"}])
    door.post("/services/create", old)
    version = door.get("/services/web")["Version"]["Index"]
    door.post(f"/services/web/update?version={version}", old)


def test_what_was_said_without_content_is_shown_so(door: Door) -> None:
    said = body(
        Labels={"a": "b"},
        container={"DNSConfig": {}, "Init": False},
        template={"Resources": {"Limits": {}}, "Placement": {}, "RestartPolicy": {"Window": 0}},
        EndpointSpec={"Mode": "vip"},
    )
    door.post("/services/create", said)
    shown = door.get("/services/web")["Spec"]
    assert shown["TaskTemplate"]["Resources"] == {"Limits": {}}
    assert shown["TaskTemplate"]["Placement"] == {}
    assert shown["TaskTemplate"]["RestartPolicy"] == {
        "Condition": "any",
        "MaxAttempts": 0,
        "Window": 0,
    }
    assert shown["TaskTemplate"]["ContainerSpec"]["DNSConfig"] == {}
    assert shown["EndpointSpec"] == {"Mode": "vip"}


def test_keys_match_in_any_case_and_unknown_ones_are_ignored(door: Door) -> None:
    said = {"name": "web", "tasktemplate": {"CONTAINERSPEC": {"image": "a"}}, "Nonsense": [1]}
    door.post("/services/create", said)
    assert door.get("/services/web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "a"


def test_defaults_are_inserted_only_when_asked_for(door: Door) -> None:
    door.post("/services/create", body())
    plain = door.get("/services/web")["Spec"]
    full = door.get("/services/web?insertDefaults=true")["Spec"]
    assert "UpdateConfig" not in plain
    assert full["UpdateConfig"]["Monitor"] == 30_000_000_000
    assert full["RollbackConfig"]["Parallelism"] == 1
    assert full["TaskTemplate"]["RestartPolicy"]["Delay"] == 5_000_000_000
    assert full["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] == 10_000_000_000
    assert full["TaskTemplate"]["Resources"] == {}
    assert door.get("/services/web")["Spec"] == plain
    status, text = door.told("GET", "/services/web?insertDefaults=x")
    assert (status, text) == (
        400,
        'invalid value for insertDefaults: x: strconv.ParseBool: parsing "x": invalid syntax',
    )


# -- update


def version_of(door: Door, name: str = "web") -> int:
    version: int = door.get(f"/services/{name}")["Version"]["Index"]
    return version


def test_an_update_takes_the_whole_spec(door: Door) -> None:
    door.post("/services/create", body(container={"Env": ["A=1"]}))
    answer = door.post(
        f"/services/web/update?version={version_of(door)}", body(container={"Env": ["A=2"]})
    )
    assert answer == {"Warnings": None}
    shown = door.get("/services/web")
    assert shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=2"]
    assert shown["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=1"]


def test_a_rollback_goes_to_the_spec_before(door: Door) -> None:
    door.post("/services/create", body(container={"Env": ["A=1"]}))
    target = f"/services/web/update?version={version_of(door)}&rollback=previous"
    status, text = door.told("POST", target, body())
    assert status == 400
    assert text.startswith("rpc error: code = FailedPrecondition desc = service ")
    assert text.endswith(" does not have a previous spec")
    door.post(f"/services/web/update?version={version_of(door)}", body())
    door.post(f"/services/web/update?version={version_of(door)}&rollback=previous", body())
    shown = door.get("/services/web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert shown["Env"] == ["A=1"]


def test_credentials_are_sealed_kept_and_never_shown(door: Door) -> None:
    made = door.post("/services/create", body(), **{"x-registry-auth": "hush"})
    assert made["Warnings"] == ["a warning"]
    door.post(f"/services/web/update?version={version_of(door)}", body())
    kept = door.commands[-1]
    assert isinstance(kept, UpdateService) and kept.spec is not None
    assert kept.spec.task.container is not None
    assert kept.spec.task.container.registry_auth == "sealed hush"
    assert "hush" not in json.dumps(door.get("/services/web"))
    assert "hush" not in repr(kept)


def test_credentials_may_be_those_of_the_spec_before(door: Door) -> None:
    door.post("/services/create", body(), **{"x-registry-auth": "old"})
    target = f"/services/web/update?version={version_of(door)}&registryAuthFrom=previous-spec"
    assert door.told("POST", target, body()) == (500, "service does not have a previous spec")
    new = {"x-registry-auth": "new"}
    door.post(f"/services/web/update?version={version_of(door)}", body(), **new)
    target = f"/services/web/update?version={version_of(door)}&registryAuthFrom=previous-spec"
    door.post(target, body())
    service = door.desk.store.by_name("service", "web")
    assert service.spec.task.container.registry_auth == "sealed old"


def test_a_newer_client_is_told_of_a_bad_source_of_credentials_as_newer_engines_do(
    door: Door,
) -> None:
    door.post("/services/create", body())
    target = f"/services/web/update?version={version_of(door)}&registryAuthFrom=x"
    assert door.told("POST", target, body(), "1.44") == (400, "invalid registryAuthFrom 'x'")


def test_remove(door: Door) -> None:
    door.post("/services/create", body())
    answer = door.request("DELETE", "/v1.41/services/web")
    assert (answer.status, answer.body) == (200, b"")
    assert door.get("/services") == []


# -- list


def names(door: Door, filters: Any) -> list[str]:
    found = door.get(f"/services?filters={json.dumps(filters)}")
    return sorted(one["Spec"]["Name"] for one in found)


def test_filters(door: Door) -> None:
    door.post("/services/create", body("web1", Labels={"tier": "front"}))
    door.post("/services/create", body("web2", Labels={"tier": "back"}, Mode={"Global": {}}))
    made = door.post("/services/create", body("job", Mode={"ReplicatedJob": {}}))
    assert names(door, {"name": ["web"]}) == ["web1", "web2"]
    assert names(door, {"name": {"web1": True, "job": True}}) == ["job", "web1"]
    assert names(door, {"label": ["tier=front"]}) == ["web1"]
    assert names(door, {"label": ["tier"], "name": ["web2"]}) == ["web2"]
    assert names(door, {"label": ["tier=front", "tier=back"]}) == []
    assert names(door, {"mode": ["global"]}) == ["web2"]
    assert names(door, {"mode": ["replicated-job"]}) == ["job"]
    assert names(door, {"id": [made["ID"][:8]]}) == ["job"]
    assert names(door, {"runtime": ["plugin"]}) == []
    assert names(door, {"name": ["eb"]}) == []


def test_services_are_listed_in_order_of_ids(door: Door) -> None:
    for number in range(8):
        door.post("/services/create", body(f"s{number}"))
    ids = [one["ID"] for one in door.get("/services")]
    assert ids == sorted(ids)


def test_status_counts_tasks(door: Door) -> None:
    made = door.post("/services/create", body(Mode={"Replicated": {"Replicas": 3}}))
    service = door.desk.store.service(made["ID"])
    assert service is not None
    from unit.api.test_tasks import task_of

    door.desk.put(replace(task_of(service, "t1"), state=TaskState.RUNNING))
    door.desk.put(replace(task_of(service, "t2"), state=TaskState.PENDING))
    (shown,) = door.get("/services?status=true")
    assert shown["ServiceStatus"] == {"RunningTasks": 1, "DesiredTasks": 3, "CompletedTasks": 0}
    (shown,) = door.get("/services")
    assert "ServiceStatus" not in shown
    assert door.told("GET", "/services?status=x")[0] == 400


def test_an_ambiguous_prefix_is_refused(door: Door) -> None:
    ids = [door.post("/services/create", body(f"s{number}"))["ID"] for number in range(60)]
    first = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    count = sum(one[0] == first for one in ids)
    assert door.told("GET", f"/services/{first}") == (
        400,
        f"service {first} is ambiguous ({count} matches found)",
    )


def test_objects_are_rendered_once(door: Door) -> None:
    door.post("/services/create", body())
    service = door.desk.store.by_name("service", "web")
    live = door.live()
    from pyswarm.api.convert import show_service

    assert live.rendered.of(service, show_service) is live.rendered.of(service, show_service)
