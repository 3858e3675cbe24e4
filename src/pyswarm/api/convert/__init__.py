"""Every spec and object of the swarm in the Engine API's JSON, both ways.

``X_of(said)`` makes a spec of a decoded body (a table of :mod:`.shapes` says what it may hold),
with Docker's refusals; ``show_X(obj)`` gives the JSON of a spec or object, down to which empty
fields are there, null or absent. A module holds one noun.
"""

from pyswarm.api.convert.networks import network_spec_of as network_spec_of
from pyswarm.api.convert.networks import show_attached_network as show_attached_network
from pyswarm.api.convert.networks import show_network as show_network
from pyswarm.api.convert.nodes import node_spec_of as node_spec_of
from pyswarm.api.convert.nodes import show_node as show_node
from pyswarm.api.convert.parts import Said as Said
from pyswarm.api.convert.payloads import config_spec_of as config_spec_of
from pyswarm.api.convert.payloads import secret_spec_of as secret_spec_of
from pyswarm.api.convert.payloads import show_config as show_config
from pyswarm.api.convert.payloads import show_secret as show_secret
from pyswarm.api.convert.services import service_spec_of as service_spec_of
from pyswarm.api.convert.services import show_service as show_service
from pyswarm.api.convert.services import show_service_spec as show_service_spec
from pyswarm.api.convert.services import show_service_status as show_service_status
from pyswarm.api.convert.services import show_service_with_defaults as show_service_with_defaults
from pyswarm.api.convert.tasks import show_task as show_task
from pyswarm.api.convert.tasks import show_task_end as show_task_end
from pyswarm.api.convert.tasks import show_task_spec as show_task_spec

__all__ = [
    "Said",
    "config_spec_of",
    "network_spec_of",
    "node_spec_of",
    "secret_spec_of",
    "service_spec_of",
    "show_attached_network",
    "show_config",
    "show_network",
    "show_node",
    "show_secret",
    "show_service",
    "show_service_spec",
    "show_service_status",
    "show_service_with_defaults",
    "show_task",
    "show_task_end",
    "show_task_spec",
]
