"""``/nodes``: list, inspect, update, remove."""

from __future__ import annotations

import attrs

from pyswarm.api.asks import Do, Live, Read
from pyswarm.api.bodies import decode
from pyswarm.api.convert import Said, node_spec_of, show_node
from pyswarm.api.convert.shapes import NODE_SPEC
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of, is_true, version_of
from pyswarm.api.lookup import begins, find, found, in_order, labels_match
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.rendering import array
from pyswarm.model import Membership, Node, NodeState, Role
from pyswarm.model.requests import RemoveNode, UpdateNode
from pyswarm.store import Reader

FILTERS = ("id", "label", "node.label", "name", "membership", "role")
DONE = Response(200, content_type="")
UNKNOWN = "unknown"
_BY_STATE = {NodeState.READY: "reachable", NodeState.DOWN: "unreachable"}
"""On a follower, which hears of the other followers through the leader alone: a manager whose agent
the leader hears answers, one that is down does not."""


def rendered(node: Node, live: Live) -> bytes:
    """A node's JSON, with what only memory knows of it."""
    reachability = ""
    if node.manager is not None:
        reachability = live.reachability.get(node.id, UNKNOWN)
        if reachability == UNKNOWN and live.node_id != live.leader_id:
            reachability = _BY_STATE.get(node.state, UNKNOWN)
    return live.rendered.of(node, show_node, node.id == live.leader_id, reachability)


def list_nodes(request: HttpRequest) -> Conversation:
    """The nodes of the swarm."""
    filters = filters_of(request, FILTERS)

    def question(reader: Reader, live: Live) -> bytes:
        _check_words(filters, "role", Role)
        _check_words(filters, "membership", Membership)
        chosen = [node for node in in_order(reader.nodes()) if _is_wanted(node, filters)]
        return array(rendered(node, live) for node in chosen)

    return Response(200, (yield Read(question)))


def _check_words(filters: Filters, name: str, words: type[Role] | type[Membership]) -> None:
    for word in filters.get(name, ()):
        if word.lower() not in map(str, words):
            raise Refused(500, f"Invalid {name} filter: '{word}'")


def _is_wanted(node: Node, filters: Filters) -> bool:
    description = node.description
    engine_labels = description.engine_labels if description is not None else {}
    roles, memberships = filters.get("role", ()), filters.get("membership", ())
    return (
        begins(filters.get("id", ()), node.id)
        and begins(filters.get("name", ()), node.hostname)
        and labels_match(filters.get("label", ()), engine_labels)
        and labels_match(filters.get("node.label", ()), node.spec.labels)
        and (not roles or str(_role_of(node)) in map(str.lower, roles))
        and (not memberships or str(node.spec.membership) in map(str.lower, memberships))
    )


def _role_of(node: Node) -> Role:
    return Role.MANAGER if node.left_seat else node.role


def inspect(request: HttpRequest, reference: str) -> Conversation:
    """One node."""

    def question(reader: Reader, live: Live) -> bytes:
        return rendered(find(reader, live, "node", reference), live)

    return Response(200, (yield Read(question)) + b"\n")


def update(request: HttpRequest, reference: str) -> Conversation:
    """A whole new spec: labels, role and availability."""
    body = Said(decode(request, NODE_SPEC))
    version = version_of(request, "node")

    def question(reader: Reader, live: Live) -> UpdateNode:
        spec = node_spec_of(body, Membership.ACCEPTED)  # bad words are refused first
        node: Node = find(reader, live, "node", reference)
        spec = attrs.evolve(spec, membership=node.spec.membership)
        return UpdateNode(node.id, version, spec)

    yield Do((yield Read(question)))
    return DONE


def remove(request: HttpRequest, reference: str) -> Conversation:
    """Forget a node; ``force`` also one that is not down."""
    node: Node = yield Read(found("node", reference))
    yield Do(RemoveNode(node.id, is_true(request.param("force"))))
    return DONE


ROUTES: tuple[Route, ...] = (
    Route("GET", "/nodes", list_nodes),
    Route("GET", "/nodes/{id}", inspect),
    Route("POST", "/nodes/{id}/update", update),
    Route("DELETE", "/nodes/{id}", remove),
)
