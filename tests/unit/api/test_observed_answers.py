"""What a Docker engine of API 1.41 answered to the same requests, beside it on one machine.

Each case was found by asking both and comparing; the answers below are the engine's.
"""

from __future__ import annotations

from typing import Any

import pytest

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
