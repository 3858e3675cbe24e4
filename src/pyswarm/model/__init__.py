"""The nouns: what people ask for, what the swarm remembers, and what can be asked of it.

Bodies of requests are in ``requests``, what agents and managers say to each other in ``session``.
The nouns are imported at once, what is done with them (``LATER``) when it is first used: who wants
the scheduler or the address pool alone does not pay for two hundred classes of requests.
"""

# ruff: noqa: I001 (one name a line would be three hundred)
# fmt: off
from __future__ import annotations

from typing import TYPE_CHECKING

from pyswarm.model.labels import FrozenDict, Labels
from pyswarm.model.objects import (CSINode, Certificate, Config, Endpoint, Extension, JobStatus,
    KINDS, ManagerStatus, Network, NetworkAttachment, Node, NodeDescription, Plugin, RequestRecord,
    Resource, RevokedCertificate, RootCAState, RootRotation, Sealed, SealingKey, Secret, Service,
    StoreObject, Swarm, TLSInfo, Task, TaskStatus, UpdateStatus, VirtualIP, Volume,
    VolumePublishStatus)
from pyswarm.model.replace import replace
from pyswarm.model.resources import (GenericResource, Limits, NANO, Platform, ResourceRequirements,
    Resources)
from pyswarm.model.specs import (AttachmentSpec, BindOptions, CAConfig, ConfigReference,
    ConfigSpec, ContainerSpec, CredentialSpec, DNSConfig, Driver, EndpointSpec, ExtensionSpec,
    ExternalCA, GenericSpec, Global, GlobalJob, Healthcheck, IPAMConfig, IPAMOptions, LogDriver,
    Mount, NetworkAttachmentConfig, NetworkSpec, NodeSpec, Placement, PortConfig, Preference,
    Privileges, RaftSettings, Replicated, ReplicatedJob, ResourceReference, ResourceSpec,
    RestartPolicy, SELinuxContext, SecretReference, SecretSpec, ServiceMode, ServiceSpec,
    SwarmSpec, TaskSpec, TmpfsOptions, Ulimit, UpdateConfig, VolumeAccessMode, VolumeOptions,
    VolumeSpec)
from pyswarm.model.states import (Availability, DESIRED_STATES, EndpointMode, FailureAction,
    Membership, MountType, NodeState, Protocol, PublishMode, Reachability, RestartCondition, Role,
    TaskOrigin, TaskState, UPDATE_TRANSITIONS, UpdateOrder, UpdateState)

if TYPE_CHECKING:
    from pyswarm.model import requests, session
    from pyswarm.model.build import service_spec
    from pyswarm.model.dictform import from_dict, to_dict
    from pyswarm.model.identity import Identity
    from pyswarm.model.parse import parse_bytes, parse_duration, parse_ports
    from pyswarm.model.requests import Request
    from pyswarm.model.validate import validate_name, validate_service_spec

__all__ = [
    "AttachmentSpec", "Availability", "BindOptions", "CAConfig", "CSINode", "Certificate",
    "Config", "ConfigReference", "ConfigSpec", "ContainerSpec", "CredentialSpec",
    "DESIRED_STATES", "DNSConfig", "Driver", "Endpoint", "EndpointMode", "EndpointSpec",
    "Extension", "ExtensionSpec", "ExternalCA", "FailureAction", "FrozenDict",
    "GenericResource", "GenericSpec", "Global", "GlobalJob", "Healthcheck", "IPAMConfig",
    "IPAMOptions", "Identity", "JobStatus", "KINDS", "Labels", "Limits", "LogDriver",
    "ManagerStatus", "Membership", "Mount", "MountType", "NANO", "Network", "NetworkAttachment",
    "NetworkAttachmentConfig", "NetworkSpec", "Node", "NodeDescription", "NodeSpec",
    "NodeState", "Placement", "Platform", "Plugin", "PortConfig", "Preference", "Privileges",
    "Protocol", "PublishMode", "RaftSettings", "Reachability", "Replicated", "ReplicatedJob",
    "Request", "RequestRecord", "Resource", "ResourceReference", "ResourceRequirements",
    "ResourceSpec", "Resources", "RestartCondition", "RestartPolicy", "RevokedCertificate",
    "Role", "RootCAState", "RootRotation", "SELinuxContext", "Sealed", "SealingKey", "Secret",
    "SecretReference", "SecretSpec", "Service", "ServiceMode", "ServiceSpec", "StoreObject",
    "Swarm", "SwarmSpec", "TLSInfo", "Task", "TaskOrigin", "TaskSpec", "TaskState",
    "TaskStatus", "TmpfsOptions", "UPDATE_TRANSITIONS", "Ulimit", "UpdateConfig", "UpdateOrder",
    "UpdateState", "UpdateStatus", "VirtualIP", "Volume", "VolumeAccessMode", "VolumeOptions",
    "VolumePublishStatus", "VolumeSpec", "from_dict", "parse_bytes", "parse_duration",
    "parse_ports", "replace", "requests", "service_spec", "session", "to_dict", "validate_name",
    "validate_service_spec",
]

LATER = {
    "Identity": "identity", "Request": "requests", "from_dict": "dictform",
    "parse_bytes": "parse", "parse_duration": "parse", "parse_ports": "parse",
    "requests": "", "service_spec": "build", "session": "", "to_dict": "dictform",
    "validate_name": "validate", "validate_service_spec": "validate",
}
"""Names by the module that they live in; a module itself has no other."""

if not TYPE_CHECKING:  # to type checkers it would make every misspelt name Any

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{LATER[name] or name}")
        return module if not LATER[name] else globals().setdefault(name, getattr(module, name))
