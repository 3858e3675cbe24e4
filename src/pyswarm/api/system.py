"""The host as a whole: ping, version, info. All of it answers in every state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyswarm.api.asks import Host, Live, Read
from pyswarm.api.errors import told
from pyswarm.api.events import events
from pyswarm.api.facts import Facts
from pyswarm.api.hosting import HostState, HostStatus
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.rendering import answer, time_text
from pyswarm.api.swarm import swarm_json
from pyswarm.api.versions import MAX_VERSION, MIN_VERSION, as_recorded, version_text
from pyswarm.errors import SwarmError
from pyswarm.model.resources import GenericResource
from pyswarm.store import Reader

NOT_CACHED: tuple[tuple[str, str], ...] = (
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
)

TWO_MANAGERS = (
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides no fault "
    "tolerance, and poses a high risk to lose control over the cluster. Refer to "
    "https://docs.docker.com/engine/swarm/admin_guide/ to configure the Swarm for fault-tolerance."
)

ENGINE = "pyswarm"
"""In the place of a storage driver and of a runtime."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""The kernel's name → Go's."""


PLUGIN_KINDS = ("Volume", "Network", "Authorization", "Log")
"""In Docker's order."""


# -- ping


def ping(request: HttpRequest) -> Conversation:
    """``OK``; newer clients also read what the node is from a header."""
    headers = NOT_CACHED
    if not as_recorded(request.version):
        status = yield Host("status")
        headers += (("Swarm", _swarm_header(status)), ("Builder-Version", ""))
    body = b"OK" if request.method == "GET" else b""
    return Response(200, body, "text/plain; charset=utf-8", headers)


def _swarm_header(status: HostStatus) -> str:
    if status.state is not HostState.ACTIVE:
        return str(status.state)
    return "active/manager" if status.control_available else "active/worker"


# -- version


def version(request: HttpRequest) -> Conversation:
    """Who answers, and which versions of the API it speaks."""
    facts: Facts = yield Host("facts")
    newest = version_text(MAX_VERSION)
    architecture = ARCHITECTURES.get(facts.architecture, facts.architecture)
    details = {
        "ApiVersion": newest,
        "Arch": architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": facts.kernel,
        "MinAPIVersion": version_text(MIN_VERSION),
        "Os": "linux",
    }
    engine = {"Name": "Engine", "Version": facts.version, "Details": details}
    return answer(
        {
            "Platform": {"Name": ENGINE},
            "Components": [engine],
            "Version": facts.version,
            "ApiVersion": newest,
            "MinAPIVersion": version_text(MIN_VERSION),
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": architecture,
            "KernelVersion": facts.kernel,
            "BuildTime": "",
        }
    )


# -- info


def info(request: HttpRequest) -> Conversation:
    """The host, and its place in a swarm."""
    facts: Facts = yield Host("facts")
    status: HostStatus = yield Host("status")
    swarm = _local(status)
    if status.state is HostState.ACTIVE and status.control_available:
        try:
            swarm.update((yield Read(_cluster_info, stale=True)))
        except SwarmError as error:
            swarm["Error"] = told(error, relayed=True)[1]
    return answer({**_before_swarm(facts), "Swarm": swarm, **_AFTER_SWARM})


def _local(status: HostStatus) -> dict[str, Any]:
    managers = status.remote_managers
    known = None if managers is None else [{"NodeID": m.node_id, "Addr": m.addr} for m in managers]
    return {
        "NodeID": status.node_id,
        "NodeAddr": status.node_addr,
        "LocalNodeState": str(status.state),
        "ControlAvailable": status.control_available,
        "Error": status.error,
        "RemoteManagers": known,
    }


def _cluster_info(store: Reader, live: Live) -> Mapping[str, Any]:
    """Counts and settings, as far as there is a leader who knows them."""
    if not live.leader_id or not store.has_swarm:
        return {"Error": live.no_leader} if store.has_swarm else {}
    managers = sum(1 for node in store.nodes() if node.manager is not None or node.left_seat)
    found: dict[str, Any] = {"Nodes": store.count("node"), "Managers": managers}
    found["Cluster"] = swarm_json(store.swarm)
    if managers == 2:
        found["Warnings"] = [TWO_MANAGERS]
    return found


def _before_swarm(facts: Facts) -> dict[str, Any]:
    """What ``info`` says before it speaks of the swarm, in Docker's order."""
    return {
        "ID": facts.engine_id,
        "Containers": facts.running + facts.stopped,
        "ContainersRunning": facts.running,
        "ContainersPaused": 0,
        "ContainersStopped": facts.stopped,
        "Images": facts.images,
        "Driver": ENGINE,
        "DriverStatus": [],
        "Plugins": {kind: _drivers(facts, kind) for kind in PLUGIN_KINDS},
        **dict.fromkeys(_ABILITIES, True),
        "Debug": False,
        "NFd": facts.open_files,
        "OomKillDisable": True,
        "NGoroutines": facts.tasks,
        "SystemTime": time_text(facts.now),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "NEventsListener": 0,
        "KernelVersion": facts.kernel,
        "OperatingSystem": facts.operating_system,
        "OSVersion": facts.os_version,
        "OSType": "linux",
        "Architecture": facts.architecture,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _REGISTRIES,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory,
        "GenericResources": generic_resources(facts.generic_resources),
        "DockerRootDir": facts.root_dir,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": facts.name,
        "Labels": list(facts.labels),
        "ExperimentalBuild": False,
        "ServerVersion": facts.version,
        "Runtimes": {ENGINE: {"path": ENGINE}},
        "DefaultRuntime": ENGINE,
    }


def _drivers(facts: Facts, kind: str) -> list[str] | None:
    """The node's drivers of a kind, as its description names them; None for no list at all."""
    return sorted(one.name for one in facts.plugins if one.type == kind) or None


_ABILITIES = (
    *("MemoryLimit", "SwapLimit", "KernelMemory", "KernelMemoryTCP", "CpuCfsPeriod"),
    *("CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit", "IPv4Forwarding"),
    *("BridgeNfIptables", "BridgeNfIp6tables"),
)
"""Clients warn of each that is false; a node that limits its tasks needs none of these warnings."""

_REGISTRIES = {
    "AllowNondistributableArtifactsCIDRs": [],
    "AllowNondistributableArtifactsHostnames": [],
    "InsecureRegistryCIDRs": ["127.0.0.0/8"],
    "IndexConfigs": {
        "docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}
    },
    "Mirrors": [],
}

_COMMIT = {"ID": "", "Expected": ""}
_AFTER_SWARM = {
    "LiveRestoreEnabled": False,
    "Isolation": "",
    "InitBinary": "",
    "ContainerdCommit": _COMMIT,
    "RuncCommit": _COMMIT,
    "InitCommit": _COMMIT,
    "SecurityOptions": [],
    "Warnings": None,
}


def generic_resources(found: tuple[GenericResource, ...]) -> list[dict[str, Any]] | None:
    """Docker's two forms: one entry per name, or one with a number."""
    entries: list[dict[str, Any]] = []
    for one in found:
        for name in one.names:
            entries.append({"NamedResourceSpec": {"Kind": one.kind, "Value": name}})
        if not one.names:
            entries.append({"DiscreteResourceSpec": {"Kind": one.kind, "Value": one.count}})
    return entries or None


ROUTES: tuple[Route, ...] = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events),
)
