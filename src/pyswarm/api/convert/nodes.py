"""Nodes both ways."""

from __future__ import annotations

import base64
from enum import Enum
from typing import Any, TypeVar

from pyswarm.api.convert.parts import Said, head, host_of, labelled, nonnull, omitempty, quoted
from pyswarm.api.convert.tasks import show_platform, show_resources
from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    Availability,
    Membership,
    Node,
    NodeDescription,
    NodeSpec,
    Role,
    TLSInfo,
)

E = TypeVar("E", bound=Enum)


def node_spec_of(data: Said, membership: Membership) -> NodeSpec:
    """The node spec of a decoded body: role and availability must be said, in any case of letters.

    The API cannot change a node's membership, so it is handed in.
    """
    return NodeSpec(
        name=data.text("Name"),
        labels=data.map("Labels"),
        desired_role=_word(Role, "Role", data.text("Role")),
        membership=membership,
        availability=availability_of(data.text("Availability")),
    )


def availability_of(word: str) -> Availability:
    """An availability in any case of letters."""
    return _word(Availability, "Availability", word)


def _word(kind: type[E], what: str, word: str) -> E:
    for one in kind:
        if str(one) == word.lower():
            return one
    raise InvalidArgument(f"invalid {what}: {quoted(word)}")


def show_node(node: Node, is_leader: bool, reachability: str) -> dict[str, Any]:
    """A node in Engine JSON. Who leads and who can be reached is not the store's to know."""
    spec = node.spec
    return {
        **head(node),
        "Spec": {
            **labelled(spec.name, spec.labels),
            "Role": str(spec.desired_role),
            "Availability": str(spec.availability),
        },
        "Description": _show_description(node.description or NodeDescription()),
        "Status": {
            "State": str(node.state),
            **omitempty(Message=node.message, Addr=host_of(node.addr)),
        },
        **nonnull(ManagerStatus=_show_manager(node, is_leader, reachability)),
    }


def _show_manager(node: Node, is_leader: bool, reachability: str) -> dict[str, Any] | None:
    if node.left_seat:
        return {"Reachability": "unreachable", "Addr": node.addr}
    manager = node.manager
    if manager is None:
        return None
    return omitempty(Leader=is_leader, Reachability=reachability, Addr=manager.addr)


def _show_description(description: NodeDescription) -> dict[str, Any]:
    plugins = sorted((plugin.type, plugin.name) for plugin in description.plugins)
    return {
        **omitempty(Hostname=description.hostname),
        "Platform": show_platform(description.platform),
        "Resources": show_resources(description.resources),
        "Engine": omitempty(
            EngineVersion=description.engine_version,
            Labels=dict(description.engine_labels),
            Plugins=[{"Type": kind, "Name": name} for kind, name in plugins],
        ),
        "TLSInfo": show_tls(description.tls or TLSInfo()),
    }


def show_tls(tls: TLSInfo) -> dict[str, Any]:
    """Whom a node, or the swarm, trusts."""
    return omitempty(
        TrustRoot=tls.trust_root.decode("ascii", "replace"),
        CertIssuerSubject=base64.b64encode(tls.issuer_subject).decode(),
        CertIssuerPublicKey=base64.b64encode(tls.issuer_public_key).decode(),
    )
