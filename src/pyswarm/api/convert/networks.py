"""Networks: from a create request, in lists and by themselves, and as a task's attachment."""

from __future__ import annotations

from typing import Any

from pyswarm.api.convert.parts import Said, driver, head, labelled, omitempty, text_map
from pyswarm.api.messages import ApiVersion
from pyswarm.api.rendering import time_text
from pyswarm.model import IPAMConfig, IPAMOptions, Network, NetworkSpec

SCOPE = "swarm"
IPAM_DRIVER = "default"
PREDEFINED_LABEL = "com.docker.swarm.predefined"
"""Marks the networks of the store that stand for node-local ones of the same name."""

SWARMS_OWN = NetworkSpec(name="ingress", ingress=True)
"""The network that every new swarm makes for itself; nobody said of what kind it is to be."""

WITH_IPV4: ApiVersion = (1, 48)
"""The version that began to say whether a network has IPv4."""


def network_spec_of(data: Said) -> NetworkSpec:
    """The network spec of a decoded create request."""
    source = data.pointer("ConfigFrom")
    return NetworkSpec(
        name=data.text("Name"),
        labels=data.map("Labels"),
        driver=data.text("Driver"),
        driver_options=data.map("Options"),
        ipv6=data.flag("EnableIPv6"),
        internal=data.flag("Internal"),
        attachable=data.flag("Attachable"),
        ingress=data.flag("Ingress"),
        ipam=_ipam_of(data.pointer("IPAM")),
        config_from="" if source is None else source.text("Network"),
    )


def _ipam_of(data: Said | None) -> IPAMOptions:
    if data is None:
        return IPAMOptions()
    configs = tuple(
        IPAMConfig(
            subnet=one.text("Subnet"),
            range=one.text("IPRange"),
            gateway=one.text("Gateway"),
            reserved=one.map("AuxiliaryAddresses"),
        )
        for one in data.each("Config")
    )
    return IPAMOptions(data.text("Driver") or IPAM_DRIVER, configs, data.map("Options"))


def show_network(network: Network, version: ApiVersion) -> dict[str, Any]:
    """A network of the swarm in a list: as managers know it, whatever runs on this node."""
    spec = network.spec
    is_placed = bool(network.ipam)
    return network_resource(
        version,
        Name=spec.name,
        Id=network.id,
        Created=time_text(network.created_at),
        Scope=SCOPE,
        Driver=spec.driver,
        EnableIPv6=spec.ipv6,
        IPAM={
            "Driver": (spec.ipam.driver or IPAM_DRIVER) if is_placed else "",
            "Options": (dict(spec.ipam.options) or None) if is_placed else None,
            "Config": [_show_config(one) for one in network.ipam],
        },
        Internal=spec.internal,
        Attachable=spec.attachable,
        Ingress=spec.ingress,
        ConfigFrom={"Network": spec.config_from},
        Options=_options(network) or None,
        Labels=dict(spec.labels) or None,
    )


def network_resource(version: ApiVersion, **said: Any) -> dict[str, Any]:
    """All fields of a network, in Docker's order; what is not said is as Docker's zero."""
    ipv4 = {"EnableIPv4": True} if version >= WITH_IPV4 else {}
    return {
        "Name": said["Name"],
        "Id": said["Id"],
        "Created": said["Created"],
        "Scope": said["Scope"],
        "Driver": said["Driver"],
        **ipv4,
        "EnableIPv6": said.get("EnableIPv6", False),
        "IPAM": said["IPAM"],
        "Internal": said.get("Internal", False),
        "Attachable": said.get("Attachable", False),
        "Ingress": said.get("Ingress", False),
        "ConfigFrom": said.get("ConfigFrom", {"Network": ""}),
        "ConfigOnly": False,
        "Containers": said.get("Containers"),
        "Options": said["Options"],
        "Labels": said["Labels"],
    }


def _options(network: Network) -> dict[str, str]:
    """What was asked of the driver, and what it chose (VXLAN ids)."""
    return text_map({**network.spec.driver_options, **network.driver_state})


def _show_config(config: IPAMConfig) -> dict[str, Any]:
    return omitempty(
        Subnet=config.subnet,
        IPRange=config.range,
        Gateway=config.gateway,
        AuxiliaryAddresses=dict(config.reserved),
    )


# -- in a task


def show_attached_network(network: Network) -> dict[str, Any]:
    """The network as a task's attachment shows it."""
    spec = network.spec
    shown = {
        **head(network),
        "Spec": {
            **labelled(spec.name, spec.labels),
            "DriverConfiguration": {}
            if spec == SWARMS_OWN
            else driver(spec.driver, spec.driver_options),
            **omitempty(
                IPv6Enabled=spec.ipv6,
                Internal=spec.internal,
                Attachable=spec.attachable,
                Ingress=spec.ingress,
                IPAMOptions=_show_wanted(spec),
                ConfigFrom=omitempty(Network=spec.config_from),
            ),
            "Scope": SCOPE,
        },
        "DriverState": driver(spec.driver, _options(network)) if network.driver_state else {},
    }
    if network.ipam:
        shown["IPAMOptions"] = {
            "Driver": driver(spec.ipam.driver or IPAM_DRIVER, spec.ipam.options),
            "Configs": [_show_range(one) for one in network.ipam],
        }
    return shown


def _show_wanted(spec: NetworkSpec) -> dict[str, Any]:
    """The address management that was asked for; that of the swarm's own network is empty."""
    if spec == SWARMS_OWN:
        return {"Driver": {}}
    if not spec.ipam.driver and not spec.ipam.configs:
        return {}
    return {
        "Driver": driver(spec.ipam.driver, spec.ipam.options),
        **omitempty(Configs=[_show_range(one) for one in spec.ipam.configs]),
    }


def _show_range(config: IPAMConfig) -> dict[str, Any]:
    return omitempty(Subnet=config.subnet, Range=config.range, Gateway=config.gateway)
