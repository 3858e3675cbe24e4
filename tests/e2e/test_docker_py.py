"""docker-py, unmodified, against two daemons: its swarm, nodes, services, secrets, configs and
networks, as objects and through its API client. The last test sees that nothing was left out."""

from __future__ import annotations

import functools
import importlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorded.daemons import Daemons

docker = pytest.importorskip("docker")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="daemons run on Linux")

PATIENCE_S = 60.0

CLASSES = {
    "docker.api": (
        *("swarm.SwarmApiMixin", "service.ServiceApiMixin", "secret.SecretApiMixin"),
        *("config.ConfigApiMixin", "network.NetworkApiMixin"),
    ),
    "docker.models": (
        *("swarm.Swarm", "nodes.Node", "nodes.NodeCollection", "services.Service"),
        *("services.ServiceCollection", "secrets.Secret", "secrets.SecretCollection"),
        *("configs.Config", "configs.ConfigCollection"),
        *("networks.Network", "networks.NetworkCollection"),
    ),
}

NEEDS_CONTAINERS = {
    *("Network.connect", "Network.disconnect"),
    *("NetworkApiMixin.connect_container_to_network",),
    *("NetworkApiMixin.disconnect_container_from_network",),
}
"""A task's service says on which networks it is: these are refused, and tried as such."""


def offered() -> dict[str, tuple[type, str]]:
    """Every public method, by class and name."""
    found = {}
    for package, names in CLASSES.items():
        for dotted in names:
            module, _, name = dotted.partition(".")
            cls = getattr(importlib.import_module(f"{package}.{module}"), name)
            for method, value in vars(cls).items():
                if callable(value) and not method.startswith("_") and not isinstance(value, type):
                    found[f"{name}.{method}"] = (cls, method)
    return found


@pytest.fixture(scope="module")
def used() -> Iterator[set[str]]:
    """The methods that were called, kept as they are."""
    called: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for label, (cls, method) in offered().items():
            patch.setattr(cls, method, _noting(getattr(cls, method), label, called))
        yield called


def _noting(function: Callable[..., Any], label: str, called: set[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noted(*args: Any, **options: Any) -> Any:
        called.add(label)
        return function(*args, **options)

    return noted


@pytest.fixture(scope="module")
def clients(used: set[str]) -> Iterator[list[Any]]:
    folder = Path(tempfile.mkdtemp(prefix="pyswarm-"))  # a short path: sockets' are
    daemons, found = Daemons(folder), []
    try:
        for node in ("n1", "n2"):
            url = f"unix://{daemons.socket(node)}"
            found.append(docker.DockerClient(base_url=url, timeout=PATIENCE_S))
        yield found
    finally:
        for client in found:
            client.close()
        daemons.stop_all()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def here(clients: list[Any]) -> Any:
    """The first, as the manager of a swarm."""
    client = clients[0]
    node_id = client.swarm.init(
        advertise_addr="127.0.0.1",
        listen_addr="127.0.0.1:0",
        default_addr_pool=["10.20.0.0/16"],
        subnet_size=26,
        task_history_retention_limit=2,
    )
    assert client.info()["Swarm"]["NodeID"] == node_id
    return client


def eventually(question: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := question()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def running(service: Any, count: int) -> bool:
    tasks = service.tasks(filters={"desired-state": "running"})
    return [task["Status"]["State"] for task in tasks] == ["running"] * count


def in_sequence(change: Callable[[], Any]) -> None:
    """``change`` reads a version and writes what it made of it: again if the swarm was faster, as
    a node is that has just joined."""

    def done() -> bool:
        try:
            change()
        except docker.errors.APIError as error:
            assert "out of sequence" in str(error)
            return False
        return True

    eventually(done)


# -- objects


def test_secrets_configs_and_networks(here: Any) -> None:
    labels = {"a": "b"}
    secret = here.secrets.create(name="key", data=b"secret", labels=labels)
    config = here.configs.create(name="conf", data=b"text", labels=labels)
    network = here.networks.create("net", driver="overlay", labels=labels)
    kinds = (("secrets", secret), ("configs", config), ("networks", network))
    for collection, one in kinds:
        found = getattr(here, collection)
        assert found.get(one.id) == one
        assert found.list(filters={"label": "a=b"}) == [one]
    config.reload()
    assert (config.name, config.attrs["Spec"]["Data"]) == ("conf", "dGV4dA==")
    assert here.secrets.get(secret.id).name == "key"
    network.reload()
    assert network.attrs["IPAM"]["Config"][0]["Subnet"] == "10.20.0.0/26"
    assert network.containers == []
    for verb in (network.connect, network.disconnect):
        with pytest.raises(docker.errors.APIError):
            verb("nosuch")
    for one in (secret, config, network):
        one.remove()
    here.networks.create("idle", driver="overlay", labels=labels)
    assert here.networks.prune(filters={"label": "a=b"})["NetworksDeleted"] == ["idle"]
    assert (here.secrets.list(), here.configs.list()) == ([], [])
    with pytest.raises(docker.errors.NotFound):
        here.secrets.get(secret.id)


def test_services(here: Any) -> None:
    service = here.services.create(
        "busybox",
        ["sh", "-c", 'echo "I am $WHO"; exec sleep 100000'],
        name="web",
        env=["WHO={{.Task.Slot}}"],
        labels={"a": "b"},
        mode=docker.types.ServiceMode("replicated", 2),
        restart_policy=docker.types.RestartPolicy("on-failure", delay=0),
        update_config=docker.types.UpdateConfig(parallelism=0, delay=0),
        endpoint_spec=docker.types.EndpointSpec(ports={8080: 80}),
    )
    eventually(lambda: running(service, 2))
    assert here.services.list(filters={"name": "web"}, status=True) == [service]
    assert here.services.get("web").name == "web"
    eventually(
        lambda: (
            sorted(b"".join(service.logs(stdout=True)).split()) == sorted(b"I am 1 I am 2".split())
        )
    )
    following = service.logs(stdout=True, follow=True, timestamps=True, details=True)
    assert b"com.docker.swarm.task.id=" in next(following)
    service.scale(1)
    eventually(lambda: running(service, 1))
    service.reload()
    version = service.version
    service.update(labels={"a": "c"}, mode=docker.types.ServiceMode("replicated", 1))
    service.reload()
    service.force_update()  # whatever the swarm writes of the update before
    service.reload()
    assert service.version > version
    assert service.attrs["Spec"]["Labels"] == {"a": "c"}
    assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].startswith("busybox")
    containers = eventually(lambda: here.containers.list(filters={"name": "web.1"}))
    assert containers[0].labels["com.docker.swarm.service.name"] == "web"
    service.remove()
    assert here.services.list() == []
    assert b"I am 1" in b"".join(following)  # it ends with the service


def test_nodes_and_the_swarm(clients: list[Any], here: Any) -> None:
    there = clients[1]
    here.swarm.reload()
    tokens = here.swarm.attrs["JoinTokens"]
    address = here.info()["Swarm"]["RemoteManagers"][0]["Addr"]
    there.swarm.join(
        remote_addrs=[address],
        join_token=tokens["Worker"],
        listen_addr="127.0.0.1:0",
        advertise_addr="127.0.0.1",
    )
    node = here.nodes.list(filters={"role": "worker"})[0]
    assert here.nodes.get(node.id).attrs["Description"]["Hostname"] == "node-2"

    def drain() -> None:
        node.reload()
        node.update({"Role": "worker", "Availability": "drain", "Labels": {"a": "b"}})

    in_sequence(drain)
    node.reload()
    assert node.attrs["Spec"]["Availability"] == "drain"
    assert node.version > 0
    there.swarm.leave()
    node.remove(force=True)
    assert len(here.nodes.list()) == 1
    version = here.swarm.version
    here.swarm.update(rotate_worker_token=True, autolock_managers=True)
    here.swarm.reload()
    assert here.swarm.version > version
    assert here.swarm.attrs["JoinTokens"]["Worker"] != tokens["Worker"]
    key = here.swarm.get_unlock_key()["UnlockKey"]
    with pytest.raises(docker.errors.APIError, match="swarm is not locked"):
        here.swarm.unlock(key)


# -- the client below


def test_the_api_client(clients: list[Any], here: Any) -> None:
    api, there = here.api, clients[1].api
    secret = api.create_secret("key", b"x")["ID"]
    config = api.create_config("conf", b"x")["ID"]
    network = api.create_network("net", driver="overlay")["Id"]
    assert api.inspect_secret(secret)["Spec"]["Name"] == "key"
    assert api.inspect_config(config)["Spec"]["Name"] == "conf"
    assert api.inspect_network("net", verbose=True)["Id"] == network
    template = docker.types.TaskTemplate(
        docker.types.ContainerSpec(
            "busybox",
            ["sleep", "100000"],
            secrets=[docker.types.SecretReference(secret, "key")],
            configs=[docker.types.ConfigReference(config, "conf", filename="/tmp/conf")],
        ),
        networks=["net"],
    )
    service = api.create_service(template, name="api")["ID"]
    task = eventually(lambda: api.tasks(filters={"service": "api", "desired-state": "running"}))[0]
    assert api.inspect_task(task["ID"])["ServiceID"] == service
    found = api.inspect_service("api", insert_defaults=True)
    assert found["Spec"]["UpdateConfig"]
    api.update_service(service, found["Version"]["Index"], template, name="api")
    assert b"".join(api.service_logs(service, stdout=True)) == b""
    assert [one["ID"] for one in api.services()] == [service]
    assert [one["ID"] for one in api.secrets()] == [secret]
    assert [one["ID"] for one in api.configs()] == [config]
    assert network in [one["Id"] for one in api.networks(ids=[network])]
    with pytest.raises(docker.errors.APIError, match="is in use by the following service: api"):
        api.remove_secret(secret)
    assert api.remove_service(service)
    assert api.remove_secret(secret) and api.remove_config(config)
    eventually(lambda: not api.tasks())
    api.remove_network("net")
    api.prune_networks()
    for verb in (api.connect_container_to_network, api.disconnect_container_from_network):
        with pytest.raises(docker.errors.APIError):
            verb("nosuch", "ingress")

    swarm = api.inspect_swarm()
    address = here.info()["Swarm"]["RemoteManagers"][0]["Addr"]
    there.join_swarm([address], swarm["JoinTokens"]["Worker"], "127.0.0.1:0", "127.0.0.1")
    worker = api.nodes(filters={"role": "worker"})[0]

    def label() -> None:
        now = api.inspect_node(worker["ID"])
        spec = {**now["Spec"], "Labels": {"a": "b"}}
        assert api.update_node(worker["ID"], now["Version"]["Index"], spec)

    in_sequence(label)
    assert api.inspect_node(worker["ID"])["Spec"]["Labels"] == {"a": "b"}
    assert there.leave_swarm()
    assert api.remove_node(worker["ID"], force=True)
    spec = api.create_swarm_spec(labels={"a": "b"})
    assert api.update_swarm(api.inspect_swarm()["Version"]["Index"], spec)
    assert api.get_unlock_key()["UnlockKey"] == ""
    with pytest.raises(docker.errors.APIError):
        api.unlock_swarm("SWMKEY-1-")
    assert api.leave_swarm(force=True)
    assert api.init_swarm("127.0.0.1", "127.0.0.1:0")


def test_nothing_was_left_out(used: set[str], here: Any) -> None:
    assert used >= NEEDS_CONTAINERS
    assert sorted(set(offered()) - used) == []
