"""Docker's add and remove forms, one by one, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model import (
    ConfigReference,
    GenericResource,
    Mount,
    MountType,
    NetworkAttachmentConfig,
    PortConfig,
    Preference,
    Protocol,
    SecretReference,
    Ulimit,
    service_spec,
)
from pyswarm.model.change import FORMS, ChangeForms, apply_forms, split_forms

SPEC = service_spec(
    "web",
    image="nginx",
    env={"A": "1", "B": "2"},
    labels={"tier": "front"},
    container_labels={"x": "y"},
    constraints=["node.role==worker"],
    preferences=["spread=node.labels.zone"],
    ports=["8080:80", "53/udp"],
    mounts=["data:/data"],
    networks=["net1"],
    secrets=[SecretReference("s1", "key", "key.pem")],
    configs=[ConfigReference("c1", "app")],
    groups=["staff"],
    hosts=["10.0.0.1 db"],
    generic={"gpu": 1},
)


@pytest.mark.parametrize(
    ("forms", "read", "expected"),
    [
        ({"env_add": {"C": "3"}}, "env", ("A=1", "B=2", "C=3")),
        ({"env_add": ["A=9", "C"]}, "env", ("A=9", "B=2", "C")),
        ({"env_rm": ["A"]}, "env", ("B=2",)),
        ({"env_rm": "A", "env_add": "C=x=y"}, "env", ("B=2", "C=x=y")),
        ({"mount_add": "other:/data:ro"}, "mounts",
         (Mount("/data", "other", MountType.VOLUME, True),)),
        ({"mount_rm": "/data", "mount_add": ["/srv:/srv"]}, "mounts",
         (Mount("/srv", "/srv", MountType.BIND),)),
        ({"secret_rm": "key", "secret_add": "source=key_v2,target=key.pem"}, "secrets",
         (SecretReference("", "key_v2", "key.pem"),)),
        ({"secret_rm": "key", "secret_add": [{"source": "key", "target": "other"}]}, "secrets",
         (SecretReference("", "key", "other"),)),
        ({"secret_add": "more"}, "secrets",
         (SecretReference("s1", "key", "key.pem"), SecretReference("", "more"))),
        ({"config_add": "source=b,mode=0440,uid=7"}, "configs",
         (ConfigReference("c1", "app"), ConfigReference("", "b", uid="7", mode=0o440))),
        ({"config_rm": ["app"]}, "configs", ()),
        ({"group_add": ["docker"], "group_rm": ["staff"]}, "groups", ("docker",)),
        ({"host_add": "10.0.0.2 web"}, "hosts", ("10.0.0.1 db", "10.0.0.2 web")),
        ({"ulimit_add": "nofile=10:20"}, "ulimits", (Ulimit("nofile", 10, 20),)),
        ({"container_label_add": ["z=1"]}, "labels", {"x": "y", "z": "1"}),
        ({"sysctl_add": {"a": "b"}}, "sysctls", {"a": "b"}),
    ],
)  # fmt: skip
def test_of_the_container(forms: dict[str, Any], read: str, expected: object) -> None:
    changed = apply_forms(SPEC, forms)
    assert getattr(changed.task.container, read) == expected
    restored = attrs.evolve(
        changed,
        task=attrs.evolve(
            changed.task,
            container=attrs.evolve(
                changed.task.container, **{read: getattr(SPEC.task.container, read)}
            ),
        ),
    )
    assert restored == SPEC, "nothing else changed"


def test_of_the_rest() -> None:
    changed = apply_forms(
        SPEC,
        {
            "label_add": {"tier": "back", "new": ""},
            "constraint_add": ["node.labels.ssd==true", "node.role==worker"],
            "placement_pref_rm": "spread=node.labels.zone",
            "placement_pref_add": "spread=node.labels.rack",
            "publish_rm": 80,
            "publish_add": ["9090:80", "53/udp"],
            "generic_resource_add": {"fpga": 2},
            "generic_resource_rm": ["gpu"],
            "network_add": ["back"],
            "network_rm": ["front"],
            "dns_add": "10.0.0.53",
            "dns_search_add": ["example.org"],
        },
        network_id={"back": "net2", "front": "net1"}.__getitem__,
    )
    assert changed.labels == {"tier": "back", "new": ""}
    assert changed.task.placement.constraints == ("node.role==worker", "node.labels.ssd==true")
    assert changed.task.placement.preferences == (Preference("node.labels.rack"),)
    assert changed.endpoint is not None
    assert changed.endpoint.ports == (PortConfig(53, protocol=Protocol.UDP), PortConfig(80, 9090))
    assert changed.task.resources.reservations.generic == (GenericResource("fpga", 2),)
    assert changed.task.networks == (NetworkAttachmentConfig("net2"),)
    assert changed.task.container is not None
    assert changed.task.container.dns is not None
    assert changed.task.container.dns.nameservers == ("10.0.0.53",)
    assert changed.task.container.dns.search == ("example.org",)


def test_a_part_that_is_missing_is_made_only_when_needed() -> None:
    bare = service_spec("bare")
    assert apply_forms(bare, {"publish_add": 80}).endpoint is not None
    with pytest.raises(NotFound):
        apply_forms(bare, {"publish_rm": 80})


@pytest.mark.parametrize(
    ("forms", "error", "text"),
    [
        ({"env_rm": "Z"}, NotFound, "service web has no environment variable Z"),
        ({"label_rm": "Z"}, NotFound, "service web has no label Z"),
        ({"publish_rm": "81/tcp"}, NotFound, "service web has no published port 81/tcp"),
        ({"publish_rm": "53/tcp"}, NotFound, "service web has no published port 53/tcp"),
        ({"mount_rm": "/x"}, NotFound, "service web has no mount /x"),
        ({"secret_rm": "x"}, NotFound, "service web has no secret x"),
        ({"config_rm": "x"}, NotFound, "service web has no config x"),
        ({"constraint_rm": "x==y"}, NotFound, "service web has no constraint x==y"),
        ({"placement_pref_rm": "spread=a"}, NotFound,
         "service web has no placement preference spread=a"),
        ({"network_rm": "x"}, NotFound, "service web has no network x"),
        ({"env_rm": "A", "env_add": "A=2"}, InvalidArgument,
         "environment variable A is both removed and added"),
        ({"label_rm": "tier", "label_add": {"tier": "x"}}, InvalidArgument,
         "label tier is both removed and added"),
        ({"secret_rm": "key", "secret_add": "source=key,target=key.pem"}, InvalidArgument,
         "secret key is both removed and added"),
        ({"config_rm": "app", "config_add": "app"}, InvalidArgument,
         "config app is both removed and added"),
        ({"mount_rm": "/data", "mount_add": "data:/data"}, InvalidArgument,
         "mount /data is both removed and added"),
        ({"publish_rm": 80, "publish_add": "8080:80"}, InvalidArgument,
         "published port 80/tcp is both removed and added"),
        ({"constraint_rm": "node.role==worker", "constraint_add": "node.role==worker"},
         InvalidArgument, "constraint node.role==worker is both removed and added"),
        ({"network_rm": "net1", "network_add": "net1"}, InvalidArgument,
         "network net1 is both removed and added"),
        ({"network_add": "net1"}, InvalidArgument, "service is already attached to network net1"),
        ({"env_add": ["C=1", "C=2"]}, InvalidArgument, "environment variable C is added twice"),
        ({"secret_add": ["x", "x"]}, InvalidArgument, "secret x is added twice"),
        ({"env_rm": ["A", "A"]}, InvalidArgument, "environment variable A is removed twice"),
        ({"env_add": [3]}, InvalidArgument, "expected NAME=VALUE, not 3"),
        ({"label_add": {"a": 1}}, InvalidArgument, "expected KEY=VALUE, not ('a', 1)"),
        ({"publish_add": "http"}, InvalidArgument, "invalid port: 'http'"),
        ({"mount_add": "a:b:c:d"}, InvalidArgument, "invalid mount: 'a:b:c:d'"),
        ({"ulimit_add": "nofile"}, InvalidArgument, "invalid ulimit: 'nofile'"),
        ({"generic_resource_add": "gpu=x"}, InvalidArgument, "invalid generic resource: 'gpu=x'"),
        ({"secret_add": "target=x"}, InvalidArgument, "source is required"),
        ({"secret_add": "source=a,bogus=x"}, InvalidArgument,
         "invalid field in secret or config request: bogus"),
        ({"secret_add": "source=a,mode=9x"}, InvalidArgument, "invalid mode specified: '9x'"),
    ],
)  # fmt: skip
def test_refused(forms: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        apply_forms(SPEC, forms)
    assert str(caught.value).startswith(text)


def test_a_whole_and_its_forms_contradict_each_other() -> None:
    with pytest.raises(InvalidArgument, match="env and env_add contradict each other"):
        split_forms({"env": {"A": "1"}, "env_add": {"B": "2"}})
    assert split_forms({"image": "x", "env_add": "A=1"}) == ({"image": "x"}, {"env_add": "A=1"})


def test_every_form_has_its_keywords() -> None:
    words = {f"{name}_{verb}" for name in FORMS for verb in ("add", "rm")}
    assert words == set(ChangeForms.__annotations__)
