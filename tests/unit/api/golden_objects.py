"""Objects of the model made of recorded Engine JSON: what the recorded swarm had in its store."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from pathlib import Path
from typing import Any

from pyswarm.api.bodies import Struct
from pyswarm.api.convert import Said, network_spec_of, node_spec_of, service_spec_of
from pyswarm.api.convert.shapes import NETWORK_CREATE, NODE_SPEC, SERVICE_SPEC, TASK_SPEC
from pyswarm.api.convert.tasks import task_spec_of
from pyswarm.model import (
    Config,
    ConfigSpec,
    Endpoint,
    EndpointSpec,
    IPAMConfig,
    IPAMOptions,
    JobStatus,
    ManagerStatus,
    Membership,
    Network,
    NetworkAttachment,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeState,
    Platform,
    Plugin,
    PortConfig,
    Resources,
    Role,
    Secret,
    SecretSpec,
    Service,
    Task,
    TaskState,
    TLSInfo,
    UpdateState,
    UpdateStatus,
    VirtualIP,
)

API = Path(__file__).parents[2] / "golden" / "api"


def recorded(name: str) -> Any:
    """The answer in a recording."""
    data = json.loads((API / f"{name}.json").read_text())
    return data["response"] if isinstance(data, dict) and "response" in data else data


def said(shape: Struct, data: Any) -> Said:
    return Said(shape.take(data, ""))


def seconds(text: str) -> float:
    """A recorded time, to the microsecond."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    start = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return start + int(fraction.ljust(9, "0")[:6] or "0") / 1e6


def _head(data: Any) -> dict[str, Any]:
    return {
        "id": data["ID"],
        "version": data["Version"].get("Index", 0),
        "created_at": seconds(data["CreatedAt"]),
        "updated_at": seconds(data["UpdatedAt"]),
    }


def _ports(data: Any) -> tuple[PortConfig, ...]:
    return tuple(
        PortConfig(
            one.get("TargetPort", 0),
            one.get("PublishedPort", 0),
            one["Protocol"],
            one["PublishMode"],
        )
        for one in data
    )


def service(data: Any) -> Service:
    endpoint, update, job = data["Endpoint"], data.get("UpdateStatus"), data.get("JobStatus")
    previous = data.get("PreviousSpec")
    spec = service_spec_of(said(SERVICE_SPEC, data["Spec"]))
    return Service(
        **_head(data),
        spec=spec,
        previous_spec=None if previous is None else service_spec_of(said(SERVICE_SPEC, previous)),
        endpoint=None
        if endpoint == {"Spec": {}}
        else Endpoint(
            spec=spec.endpoint or EndpointSpec(),
            ports=_ports(endpoint.get("Ports", ())),
            virtual_ips=tuple(
                VirtualIP(one["NetworkID"], one["Addr"]) for one in endpoint.get("VirtualIPs", ())
            ),
        ),
        update_status=None
        if update is None
        else UpdateStatus(
            UpdateState(update["State"]),
            update.get("Message", ""),
            seconds(update["StartedAt"]),
            seconds(update["CompletedAt"]) if "CompletedAt" in update else 0.0,
        ),
        job_status=None
        if job is None
        else JobStatus(job["JobIteration"].get("Index", 0), seconds(job["LastExecution"])),
    )


def task(data: Any) -> Task:
    status = data["Status"]
    container = status.get("ContainerStatus")
    return Task(
        **_head(data),
        service_id=data["ServiceID"],
        spec=task_spec_of(said(TASK_SPEC, data["Spec"]), []),
        slot=data.get("Slot", 0),
        node_id=data.get("NodeID", ""),
        desired_state=TaskState[data["DesiredState"].upper()],
        state=TaskState[status["State"].upper()],
        message=status.get("Message", ""),
        err=status.get("Err", ""),
        status_at=seconds(status["Timestamp"]),
        applied_at=0.0 if container is None else 1.0,
        container_id=container["ContainerID"] if container else "",
        pid=container["PID"] if container else 0,
        exit_code=container["ExitCode"] if container else 0,
        port_status=_ports(status["PortStatus"].get("Ports", ())),
        networks=tuple(
            NetworkAttachment(one["Network"]["ID"], tuple(one.get("Addresses", ())))
            for one in data.get("NetworksAttachments", ())
        ),
        job_iteration=data["JobIteration"].get("Index", 0) if "JobIteration" in data else None,
    )


def node(data: Any) -> Node:
    described, tls = data["Description"], data["Description"]["TLSInfo"]
    manager = data.get("ManagerStatus")
    return Node(
        **_head(data),
        spec=node_spec_of(said(NODE_SPEC, data["Spec"]), Membership.ACCEPTED),
        role=Role.MANAGER if manager else Role.WORKER,
        description=NodeDescription(
            hostname=described["Hostname"],
            platform=Platform(described["Platform"]["OS"], described["Platform"]["Architecture"]),
            resources=Resources(
                described["Resources"]["NanoCPUs"], described["Resources"]["MemoryBytes"]
            ),
            engine_version=described["Engine"]["EngineVersion"],
            engine_labels=described["Engine"].get("Labels", {}),
            plugins=tuple(Plugin(p["Type"], p["Name"]) for p in described["Engine"]["Plugins"]),
            tls=TLSInfo(
                tls["TrustRoot"].encode(),
                b64decode(tls["CertIssuerSubject"]),
                b64decode(tls["CertIssuerPublicKey"]),
            ),
        ),
        state=NodeState[data["Status"]["State"].upper()],
        message=data["Status"].get("Message", ""),
        addr=data["Status"]["Addr"],
        manager=ManagerStatus(1, manager["Addr"]) if manager else None,
    )


def secret(data: Any) -> Secret:
    return Secret(**_head(data), spec=SecretSpec(data["Spec"]["Name"], data["Spec"]["Labels"]))


def config(data: Any) -> Config:
    spec = data["Spec"]
    templating = spec.get("Templating", {}).get("Name", "")
    return Config(**_head(data), spec=ConfigSpec(spec["Name"], spec["Labels"], templating))


def network(data: Any) -> Network:
    """Of the network's own resource."""
    configs = data["IPAM"]["Config"] or ()
    body = {**data, "Options": None, "IPAM": {"Driver": data["IPAM"]["Driver"]}}
    return Network(
        id=data["Id"],
        spec=network_spec_of(said(NETWORK_CREATE, {k: v for k, v in body.items() if v})),
        created_at=seconds(data["Created"]),
        ipam=tuple(
            IPAMConfig(one["Subnet"], one.get("IPRange", ""), one["Gateway"]) for one in configs
        ),
        driver_state=data["Options"] or {},
    )


def attached(data: Any) -> Network:
    """Of the network in a task's attachment."""
    spec, state = data["Spec"], data["DriverState"]
    return Network(
        **_head(data),
        spec=NetworkSpec(
            name=spec["Name"],
            labels=spec["Labels"],
            driver=state.get("Name", spec["DriverConfiguration"].get("Name", "overlay")),
            ingress=spec.get("Ingress", False),
            internal=spec.get("Internal", False),
            attachable=spec.get("Attachable", False),
            ipam=IPAMOptions(spec.get("IPAMOptions", {}).get("Driver", {}).get("Name", "")),
        ),
        ipam=tuple(
            IPAMConfig(one["Subnet"], "", one["Gateway"])
            for one in data.get("IPAMOptions", {}).get("Configs", ())
        ),
        driver_state=state.get("Options", {}),
    )
