"""Fixed host ports, and the trap they are for an update that starts first.

A task that publishes a fixed port on its own node shares that port with nobody. Its successor can
therefore never be placed beside it: an update with the order start-first waits for ever, unless
there is another node to go to.
"""

from __future__ import annotations

from pyswarm.model.specs import EndpointSpec
from pyswarm.model.states import Protocol, PublishMode, UpdateOrder

AUTO = "auto"
"""An update order of ours: start-first, unless the service publishes a fixed host port."""


def fixed_host_ports(endpoint: EndpointSpec | None) -> tuple[tuple[int, Protocol], ...]:
    """The ports that a task holds on its node for itself alone."""
    if endpoint is None:
        return ()
    return tuple(
        (port.published_port, port.protocol)
        for port in endpoint.ports
        if port.publish_mode is PublishMode.HOST and port.published_port
    )


def auto_order(endpoint: EndpointSpec | None) -> UpdateOrder:
    """What ``order="auto"`` means for a service with this endpoint."""
    return UpdateOrder.STOP_FIRST if fixed_host_ports(endpoint) else UpdateOrder.START_FIRST
