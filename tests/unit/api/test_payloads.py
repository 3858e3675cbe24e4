"""``/secrets`` and ``/configs``."""

from __future__ import annotations

import json

import pytest

from unit.api.door import Door


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_secret_is_never_shown(door: Door) -> None:
    made = door.post("/secrets/create", {"Name": "key", "Data": "aHVzaA==", "Labels": {"a": "b"}})
    for shown in (door.get("/secrets/key"), *door.get("/secrets")):
        assert shown["ID"] == made["ID"]
        assert shown["Spec"] == {"Name": "key", "Labels": {"a": "b"}}
    assert "hush" not in repr(door.commands)


def test_a_config_is_shown_with_what_it_holds(door: Door) -> None:
    door.post("/configs/create", {"Name": "site", "Data": "aHVzaA==", "Templating": {"Name": "g"}})
    for shown in (door.get("/configs/site"), *door.get("/configs")):
        assert shown["Spec"]["Data"] == "aHVzaA=="
        assert shown["Spec"]["Templating"] == {"Name": "g"}


def test_a_secret_of_a_driver_needs_no_data(door: Door) -> None:
    driver = {"Name": "vault", "Options": {"path": "x"}}
    door.post("/secrets/create", {"Name": "key", "Driver": driver})
    assert door.get("/secrets/key")["Spec"]["Driver"] == driver


def test_a_secret_of_an_unknown_driver_is_refused(door: Door) -> None:
    body = {"Name": "key", "Driver": {"Name": "nosuch"}}
    text = 'rpc error: code = Unknown desc = plugin "nosuch" not found'
    assert door.told("POST", "/secrets/create", body) == (500, text)
    assert door.get("/secrets") == []


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_an_update_may_say_again_what_is_there(door: Door, kind: str) -> None:
    door.post(f"/{kind}/create", {"Name": "one", "Data": "eA=="})
    for body in ({"Name": "one", "Labels": {"v": "2"}}, {"Name": "one", "Data": "eA=="}):
        version = door.get(f"/{kind}/one")["Version"]["Index"]
        door.post(f"/{kind}/one/update?version={version}", body)
        assert door.get(f"/{kind}/one")["Spec"]["Labels"] == body.get("Labels", {})


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_filters(door: Door, kind: str) -> None:
    door.post(f"/{kind}/create", {"Name": "web.key", "Data": "eA==", "Labels": {"v": "1"}})
    door.post(f"/{kind}/create", {"Name": "web", "Data": "eA=="})

    def names(**filters: list[str]) -> list[str]:
        found = door.get(f"/{kind}?filters={json.dumps(filters)}")
        return sorted(one["Spec"]["Name"] for one in found)

    assert names(name=["web"]) == ["web", "web.key"]
    assert names(label=["v=1"]) == ["web.key"]
    assert names(label=["v="]) == ["web.key"]
    if kind == "secrets":
        assert names(names=["web"]) == ["web"]
    else:
        assert door.told("GET", f'/{kind}?filters={{"names":["x"]}}')[0] == 400
