"""How a task looks as a container: a row of the list, and all that inspecting shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from pyswarm.api.convert.containers import show_container
from pyswarm.api.convert.mounts import show_mount
from pyswarm.api.convert.parts import nonnull, omitempty
from pyswarm.api.local import Container
from pyswarm.api.rendering import time_text
from pyswarm.errors import InvalidArgument
from pyswarm.model import ContainerSpec, Mount, MountType, NetworkAttachment, PortConfig, TaskState
from pyswarm.model.images import ImageReference

Names: TypeAlias = Mapping[str, str]
"""Names of networks by their ids."""
Paths: TypeAlias = Mapping[str, str]
"""Where the volumes of this node are, by their names."""

LABELS = "com.docker.swarm."
SHM_BYTES = 64 * 1024 * 1024
"""Docker's /dev/shm."""

NO_CONTAINER = ContainerSpec(image="")


def state_of(one: Container) -> str:
    """Docker's word: ``created``, ``running`` or ``exited``."""
    state = one.task.state
    if state is TaskState.RUNNING or (state is TaskState.STARTING and one.started_at):
        return "running"
    return "created" if state < TaskState.RUNNING else "exited"


def labels_of(one: Container) -> dict[str, str]:
    """The container's own labels, and the swarm's that say which task it is."""
    task, spec = one.task, one.task.spec.container or NO_CONTAINER
    swarm = {
        "node.id": one.node_id,
        "service.id": task.service_id,
        "service.name": task.service_name,
        "task": "",
        "task.id": task.id,
        "task.name": task.name,
    }
    labels = {**spec.labels, **{LABELS + key: text for key, text in swarm.items()}}
    return dict(sorted(labels.items()))


def image_id(name: str) -> str:
    """The id of an image: it has no content of its own, so it is its name's."""
    return "sha256:" + hashlib.sha256(f"image {name}".encode()).hexdigest()


def image_of(spec: ContainerSpec) -> str:
    """The name of a container's image with its tag, as images are listed."""
    try:
        return str(ImageReference.parse(spec.image).tagged)
    except InvalidArgument:
        return spec.image


def endpoint_id(*parts: str) -> str:
    """An id of what only has one in Docker."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


# -- a row


def listed(one: Container, networks: Names, now: float) -> dict[str, Any]:
    """A row of ``docker ps``."""
    task, spec = one.task, one.task.spec.container or NO_CONTAINER
    return {
        "Id": one.id,
        "Names": ["/" + task.name],
        "Image": image_of(spec),
        "ImageID": image_id(image_of(spec)),
        "Command": " ".join(_argv(one, spec)),
        "Created": int(one.created_at),
        "Ports": [_row_port(port) for port in task.port_status],
        "Labels": labels_of(one),
        "State": state_of(one),
        "Status": status_text(one, now),
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": _networks(one, networks)},
        "Mounts": [_mount_point(mount, {}) for mount in spec.mounts],
    }


def _argv(one: Container, spec: ContainerSpec) -> tuple[str, ...]:
    return one.argv or (*spec.command, *spec.args)


def _row_port(port: PortConfig) -> dict[str, Any]:
    return {
        "IP": "0.0.0.0",
        "PrivatePort": port.target_port,
        "PublicPort": port.published_port,
        "Type": str(port.protocol),
    }


def status_text(one: Container, now: float) -> str:
    """``Up 5 minutes (healthy)``, ``Exited (1) 2 seconds ago``, ``Created``."""
    state = state_of(one)
    if state == "created":
        return "Created"
    if state == "exited":
        since = f" {ago(now - one.ended_at)} ago" if one.ended_at else ""
        return f"Exited ({one.task.exit_code}){since}"
    health = {"": "", "starting": " (health: starting)"}.get(one.health, f" ({one.health})")
    return "Up" + (f" {ago(now - one.started_at)}" if one.started_at else "") + health


_UNITS = ((60, 1, "second"), (3600, 60, "minute"), (48 * 3600, 3600, "hour"))
_LONG_UNITS = ((14, 1, "day"), (60, 7, "week"), (730, 30, "month"))
_DAY_S = 24 * 3600


def ago(seconds: float) -> str:
    """A duration as Docker tells it to people."""
    whole = max(int(seconds), 0)
    if whole < 1:
        return "Less than a second"
    if 60 <= whole < 120:
        return "About a minute"
    if 3600 <= whole < 7200:
        return "About an hour"
    for below, size, unit in _UNITS:
        if whole < below:
            return _counted(whole // size, unit)
    days = whole // _DAY_S
    for below, size, unit in _LONG_UNITS:
        if days < below:
            return _counted(days // size, unit)
    return _counted(days // 365, "year")


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" + ("s" if count != 1 else "")


# -- everything


def inspected(one: Container, networks: Names, volumes: Paths) -> dict[str, Any]:
    """What ``docker inspect`` shows."""
    task, spec = one.task, one.task.spec.container or NO_CONTAINER
    argv = _argv(one, spec) or ("",)
    return {
        "Id": one.id,
        "Created": time_text(one.created_at),
        "Path": argv[0],
        "Args": list(argv[1:]),
        "State": _state(one),
        "Image": image_id(image_of(spec)),
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": "/" + task.name,
        "RestartCount": 0,
        "Driver": "pyswarm",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(one, spec),
        "GraphDriver": {"Data": None, "Name": "pyswarm"},
        "Mounts": [_mount_point(mount, volumes) for mount in spec.mounts],
        "Config": _config(one, spec),
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": endpoint_id("sandbox", task.id),
            "HairpinMode": False,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "Ports": _published(task.port_status),
            "SandboxKey": "",
            "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None,
            "EndpointID": "",
            "Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": "",
            "IPPrefixLen": 0,
            "IPv6Gateway": "",
            "MacAddress": "",
            "Networks": _networks(one, networks),
        },
    }


def _state(one: Container) -> dict[str, Any]:
    state, is_running = state_of(one), state_of(one) == "running"
    health = None
    if one.health:
        health = {"Status": one.health, "FailingStreak": one.failures, "Log": []}
    return {
        "Status": state,
        "Running": is_running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": "out of memory" in one.task.err,
        "Dead": False,
        "Pid": one.task.pid if is_running else 0,
        "ExitCode": one.task.exit_code,
        "Error": one.task.err if state == "created" else "",
        "StartedAt": time_text(one.started_at),
        "FinishedAt": time_text(one.ended_at),
        **nonnull(Health=health),
    }


def _config(one: Container, spec: ContainerSpec) -> dict[str, Any]:
    shown = show_container(spec)
    ports = _exposed(one.task.port_status)
    return {
        "Hostname": spec.hostname or one.id[:12],
        "Domainname": "",
        "User": spec.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        **omitempty(ExposedPorts=ports),
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": False,
        "Env": list(spec.env),
        "Cmd": list(spec.args) or None,
        **nonnull(Healthcheck=shown.get("Healthcheck")),
        "Image": image_of(spec),
        "Volumes": None,
        "WorkingDir": spec.dir,
        "Entrypoint": list(spec.command) or None,
        "OnBuild": None,
        "Labels": labels_of(one),
        **omitempty(StopSignal=spec.stop_signal),
    }


def _host_config(one: Container, spec: ContainerSpec) -> dict[str, Any]:
    task, shown = one.task, show_container(spec)
    limits, log = task.spec.resources.limits, task.log_driver or task.spec.log_driver
    dns = spec.dns
    return {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {
            "Type": (log.name if log is not None else "") or "json-file",
            "Config": dict(log.options) if log is not None else {},
        },
        "NetworkMode": "default",
        "PortBindings": _published(task.port_status),
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": list(spec.capability_add) or None,
        "CapDrop": list(spec.capability_drop) or None,
        "CgroupnsMode": "host",
        "Dns": list(dns.nameservers) if dns is not None else None,
        "DnsOptions": list(dns.options) if dns is not None else None,
        "DnsSearch": list(dns.search) if dns is not None else None,
        "ExtraHosts": _extra_hosts(spec.hosts),
        "GroupAdd": list(spec.groups) or None,
        "IpcMode": "host",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": SHM_BYTES,
        "Runtime": "pyswarm",
        "Isolation": spec.isolation or "default",
        "CpuShares": 0,
        "Memory": limits.memory_bytes,
        "NanoCpus": limits.nano_cpus,
        "MemorySwap": 2 * limits.memory_bytes,
        "OomKillDisable": False,
        "PidsLimit": limits.pids or spec.pids_limit or None,
        "Ulimits": shown.get("Ulimits", []),
        "Mounts": [show_mount(mount) for mount in spec.mounts],
        **nonnull(Init=spec.init),
        **omitempty(Sysctls=dict(spec.sysctls)),
    }


def _extra_hosts(hosts: tuple[str, ...]) -> list[str] | None:
    """A service says ``address name …``; a container ``name:address``."""
    found = []
    for line in hosts:
        address, *names = line.split()
        found += [f"{name}:{address}" for name in names]
    return found or None


def _mount_point(mount: Mount, volumes: Paths) -> dict[str, Any]:
    is_volume = mount.type is MountType.VOLUME
    return {
        "Type": str(mount.type),
        **omitempty(Name=mount.source if is_volume else ""),
        "Source": volumes.get(mount.source, "") if is_volume else mount.source,
        "Destination": mount.target,
        **omitempty(Driver="local" if is_volume else ""),
        "Mode": "z" if is_volume else "",
        "RW": not mount.read_only,
        "Propagation": "rprivate" if mount.type is MountType.BIND else "",
    }


def _exposed(ports: tuple[PortConfig, ...]) -> dict[str, Any]:
    return {f"{port.target_port}/{port.protocol}": {} for port in ports}


def _published(ports: tuple[PortConfig, ...]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for port in ports:
        bound = {"HostIp": "0.0.0.0", "HostPort": str(port.published_port)}
        shown.setdefault(f"{port.target_port}/{port.protocol}", []).append(bound)
    return shown


def _networks(one: Container, names: Names) -> dict[str, Any]:
    return {
        names.get(attached.network_id, attached.network_id): _network(one, attached)
        for attached in one.task.networks
    }


def _network(one: Container, attached: NetworkAttachment) -> dict[str, Any]:
    address, _, length = next(iter(attached.addresses), "").partition("/")
    octets = address.split(".")
    mac = ":".join(["02", "42", *(f"{int(o):02x}" for o in octets)]) if len(octets) == 4 else ""
    return {
        "IPAMConfig": {"IPv4Address": address},
        "Links": None,
        "Aliases": [*attached.aliases, one.id[:12]],
        "NetworkID": attached.network_id,
        "EndpointID": endpoint_id(one.task.id, attached.network_id),
        "Gateway": "",
        "IPAddress": address,
        "IPPrefixLen": int(length or 0),
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": mac,
        "DriverOpts": None,
    }
