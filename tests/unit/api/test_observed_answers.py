"""What a Docker engine of API 1.41 answered to the same requests, beside it on one machine.

Each case was found by asking both and comparing; the answers below are the engine's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from pyswarm.api.hosting import NEVER_JOINED, NoManager
from pyswarm.model import Endpoint, VirtualIP, replace
from unit.api.door import Door


@pytest.fixture
def door() -> Door:
    return Door()


def body(**changes: Any) -> dict[str, Any]:
    """A service without tasks; ``changes`` are fields of its container."""
    return {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": "busybox", **changes}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }


def filtered(path: str, filters: str) -> str:
    return f"{path}?filters={quote(filters)}"


# -- services


def test_defaults_are_shown_as_far_as_there_are_any(door: Door) -> None:
    door.post("/services/create", body())
    full = door.get("/services/web?insertDefaults=true")["Spec"]
    assert full["TaskTemplate"]["Resources"] == {}
    assert full["TaskTemplate"]["Placement"] == {}
    assert "EndpointSpec" not in full


def test_empty_parts_of_a_service_keep_their_form(door: Door) -> None:
    spec = body(Labels={"a": None})
    spec["TaskTemplate"]["Placement"] = {"Preferences": [{"Spread": {}}]}
    named = {"GenericResources": [{"NamedResourceSpec": {}}]}
    spec["TaskTemplate"]["Resources"] = {"Reservations": named}
    door.post("/services/create", spec)
    shown = door.get("/services/web")["Spec"]["TaskTemplate"]
    assert shown["ContainerSpec"]["Labels"] == {"a": ""}
    assert shown["Placement"] == {"Preferences": [{"Spread": {"SpreadDescriptor": ""}}]}
    assert shown["Resources"]["Reservations"] == named


def test_a_driver_of_volumes_that_says_nothing_is_shown_where_it_was_said(door: Door) -> None:
    said: dict[str, Any] = {"NoCopy": True, "DriverConfig": {}}
    mounts = [
        {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": said},
        {"Type": "volume", "Source": "w", "Target": "/w", "VolumeOptions": {"NoCopy": True}},
    ]
    door.post("/services/create", body(Mounts=mounts))
    shown = door.get("/services/web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert shown["Mounts"] == mounts


def test_resolution_modes_are_written_in_small_letters(door: Door) -> None:
    spec = {**body(), "EndpointSpec": {"Mode": "DNSRR"}}
    told = door.told("POST", "/services/create", spec)
    assert told == (400, 'invalid resolution mode: "DNSRR"')


def test_templates_of_volumes_are_named_with_their_keys(door: Door) -> None:
    options = {"Labels": {"a": "{{.X}}"}}
    mount = {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": options}
    status, text = door.told("POST", "/services/create", body(Mounts=[mount]))
    assert status == 400
    assert 'expanding volume labels: expanding map entry "a"="{{.X}}": template:' in text


def test_the_mode_of_an_endpoint_is_shown_once_there_is_one(door: Door) -> None:
    door.post("/services/create", {**body(), "EndpointSpec": {"Mode": "vip"}})
    assert door.get("/services/web")["Endpoint"] == {"Spec": {}}
    (service,) = door.desk.store.services()
    door.desk.put(replace(service, endpoint=Endpoint()))
    assert door.get("/services/web")["Endpoint"] == {"Spec": {"Mode": "vip"}}
    nowhere = Endpoint(virtual_ips=(VirtualIP("host-id", ""),))
    door.desk.put(replace(service, endpoint=nowhere))
    shown = door.get("/services/web")["Endpoint"]
    assert shown == {"Spec": {"Mode": "vip"}, "VirtualIPs": [{"NetworkID": "host-id"}]}


def test_plugins_are_not_run() -> None:
    task = {"Runtime": "plugin", "PluginSpec": {"name": "p", "remote": "p"}}
    spec = {"Name": "web", "TaskTemplate": task, "Mode": {"Global": {}}}
    told = Door().told("POST", "/services/create", spec)
    assert told == (500, 'runtime type "plugin" only supported in experimental')
    outside = Door(refusal=NoManager(NEVER_JOINED))
    assert outside.told("POST", "/services/create", spec)[0] == 503


# -- lists


NO_FILTERS = [
    ("abc", "invalid character 'a' looking for beginning of value"),
    ('{"name":{"s":1}}', "json: cannot unmarshal number into Go value of type bool"),
    (
        '{"name":["s"],"id":{"s":true}}',
        "json: cannot unmarshal array into Go value of type map[string]bool",
    ),
]


@pytest.mark.parametrize(("filters", "text"), NO_FILTERS)
@pytest.mark.parametrize("path", ["services", "tasks", "nodes", "secrets", "configs", "networks"])
def test_what_is_no_filter_at_all(door: Door, path: str, filters: str, text: str) -> None:
    told = door.told("GET", filtered(f"/{path}", filters))
    assert told == (400 if path == "services" else 500, text)
    told = door.told("GET", filtered(f"/{path}", filters), version="1.44")
    assert told == (400, "invalid filter")


@pytest.mark.parametrize("path", ["secrets", "configs"])
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ('{"name":["S"]}', "Some"),
        ('{"name":["so"]}', "Some"),
        ('{"name":["t","so"]}', "Some That"),
        ('{"name":["ome"]}', ""),
        ('{"name":["so"],"id":["-"]}', "Some"),
        ('{"name":["so"],"label":["a"]}', ""),
        ('{"name":[null]}', "Some That"),
    ],
)
def test_payloads_are_found_by_one_of_their_names(
    door: Door, path: str, filters: str, found: str
) -> None:
    for name in ("Some", "That"):
        door.post(f"/{path}/create", {"Name": name, "Data": "eA=="})
    names = {one["Spec"]["Name"] for one in door.get(filtered(f"/{path}", filters))}
    assert names == set(found.split())
    assert door.get(f"/{path}/SOME")["Spec"]["Name"] == "Some"


def test_names_of_services_are_found_as_they_are_written(door: Door) -> None:
    door.post("/services/create", body())
    assert door.told("GET", "/services/WEB") == (404, "service WEB not found")
    assert door.get(filtered("/services", '{"name":["W"]}')) == []


def test_an_empty_filter_of_runtimes_is_none(door: Door) -> None:
    door.post("/services/create", body())
    assert len(door.get(filtered("/services", '{"runtime":[]}'))) == 1


def test_an_empty_reference_is_the_beginning_of_every_id(door: Door) -> None:
    wanted = filtered("/tasks", '{"service":[""]}')
    assert door.told("GET", wanted) == (404, "service  not found")
    for name in ("one", "two"):
        door.post("/services/create", {**body(), "Name": name})
    assert door.told("GET", wanted) == (400, "service  is ambiguous (2 matches found)")


@pytest.mark.parametrize(
    "target",
    [
        filtered("/nodes", '{"role":["x"]}'),
        filtered("/nodes", '{"membership":["x"]}'),
        filtered("/tasks", '{"desired-state":["x"]}'),
    ],
)
def test_words_of_filters_are_looked_at_by_managers_alone(target: str) -> None:
    assert Door().told("GET", target)[0] == 500
    assert Door(refusal=NoManager(NEVER_JOINED)).told("GET", target)[0] == 503


# -- networks


BAD_DANGLING = 'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'


@pytest.mark.parametrize(
    ("filters", "status", "text", "newer"),
    [
        ('{"type":["x"]}', 500, "invalid filter: 'type'='x'", "invalid filter 'type=[x]'"),
        ('{"dangling":["x"]}', 400, BAD_DANGLING, "invalid filter 'dangling=[x]'"),
        (
            '{"dangling":["true","false"]}',
            400,
            'got more than one value for filter key "dangling"',
            "",
        ),
    ],
)
def test_filters_of_networks(door: Door, filters: str, status: int, text: str, newer: str) -> None:
    target = filtered("/networks", filters)
    assert door.told("GET", target) == (status, text)
    assert door.told("GET", target, version="1.44") == (400 if newer else 200, newer)


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"Name": "default"}, 403, "operation is not permitted on predefined default network "),
        (
            {"Driver": "", "Scope": "swarm"},
            400,
            "rpc error: code = InvalidArgument desc = driver name: if driver is specified name is "
            "required",
        ),
        (
            {"Driver": "null", "Scope": "swarm"},
            400,
            "rpc error: code = InvalidArgument desc = error during lookup of plugin null",
        ),
        ({"IPAM": {"Config": [{}]}}, 500, "Invalid subnet  : invalid CIDR address: "),
        (
            {"IPAM": {"Config": [{"Gateway": "10.9.0.1"}]}},
            500,
            "Invalid subnet  : invalid CIDR address: ",
        ),
    ],
)
def test_networks_that_are_refused(
    door: Door, changes: dict[str, Any], status: int, text: str
) -> None:
    network = {"Name": "net", "Driver": "overlay", **changes}
    assert door.told("POST", "/networks/create", network) == (status, text)


def test_options_of_address_management_are_kept_and_shown(door: Door) -> None:
    ipam = {"Driver": "default", "Options": {"a": "b"}}
    door.post("/networks/create", {"Name": "net", "Driver": "overlay", "IPAM": ipam})
    (shown,) = door.get(filtered("/networks", '{"name":["net"]}'))
    assert shown["IPAM"]["Options"] == {"a": "b"}


@pytest.mark.parametrize("path", ["secrets", "configs"])
def test_options_of_templating_are_kept_and_shown(door: Door, path: str) -> None:
    templating = {"Name": "golang", "Options": {"a": "b"}}
    made = {"Name": "one", "Data": "eA==", "Templating": templating}
    door.post(f"/{path}/create", made)
    assert door.get(f"/{path}/one")["Spec"]["Templating"] == templating


def test_networks_are_listed_behind_a_slash_too(door: Door) -> None:
    assert door.get("/networks/") == door.get("/networks")


def test_what_is_connected_to_a_network_has_a_name(door: Door) -> None:
    for verb in ("connect", "disconnect"):
        told = door.told("POST", f"/networks/nope/{verb}", {})
        assert told == (400, 'invalid name or ID supplied: ""')


def test_networks_are_pruned_before_a_time(door: Door) -> None:
    target = filtered("/networks/prune", '{"until":["x"]}')
    text = 'failed to parse value as time or duration: "x"'
    assert door.told("POST", target) == (500, text)


# -- the swarm


def test_settings_of_no_swarm_are_refused_by_managers_alone(door: Door) -> None:
    settings = {"Name": "mine"}
    told = door.told("POST", "/swarm/update?version=1", settings)
    assert told == (400, 'swarm spec must be named "default"')
    outside = Door(refusal=NoManager(NEVER_JOINED))
    assert outside.told("POST", "/swarm/update?version=1", settings) == (503, NEVER_JOINED)
