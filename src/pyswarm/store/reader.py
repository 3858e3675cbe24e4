"""What can be asked of a store, settled or with a transaction's writes on top.

Orders are those of creation unless said otherwise; nothing here depends on hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from pyswarm.model.objects import Config, Network, Node, Secret, Service, Swarm, Task
from pyswarm.model.states import TaskState


class Reader:
    """The questions. :class:`~pyswarm.store.store.Store` and ``Transaction`` answer them."""

    __slots__ = ()

    version: int

    @property
    def as_of(self) -> tuple[float, int]:
        """Cluster time and version: of two states the later one has the greater."""
        raise AssertionError("abstract")

    def get(self, kind: str, id: str) -> Any:
        """The object of that kind and id, or None."""
        raise AssertionError("abstract")

    def all(self, kind: str) -> Iterator[Any]:
        """Every object of a kind, in order of creation."""
        raise AssertionError("abstract")

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        raise AssertionError("abstract")

    def ids_with_prefix(self, kind: str, prefix: str) -> list[str]:
        """The ids that begin with ``prefix``, sorted."""
        raise AssertionError("abstract")

    def select(self, kind: str, index: str, key: Any) -> list[Any]:
        """The objects that an index has under ``key``; the named questions below use it."""
        raise AssertionError("abstract")

    def by_name(self, kind: str, name: str) -> Any:
        """The object of that name (any case of letters) of a kind with unique names, or None."""
        found = self.select(kind, "name", name.lower())
        return found[0] if found else None

    def nodes_by_hostname(self, name: str) -> list[Node]:
        """The nodes with that hostname (any case of letters); hostnames are not unique."""
        return self.select("node", "hostname", name.lower())

    def tasks_of_service(self, service_id: str) -> list[Task]:
        """All tasks of a service, whatever their state."""
        return self.select("task", "service", service_id)

    def tasks_of_node(self, node_id: str) -> list[Task]:
        """All tasks that were given to a node."""
        return self.select("task", "node", node_id)

    def tasks_of_slot(self, service_id: str, slot: int, node_id: str = "") -> list[Task]:
        """All tasks of one slot; for slot 0, those of that node."""
        return self.select("task", "slot", (service_id, slot or node_id))

    def tasks_by_desired_state(self, state: TaskState) -> list[Task]:
        """All tasks that should get to ``state``."""
        return self.select("task", "desired", state)

    def tasks_using_network(self, network_id: str) -> list[Task]:
        """The tasks attached to a network, or asking to be."""
        return self.select("task", "network", network_id)

    def services_using(self, kind: str, id: str) -> list[Service]:
        """The services whose current spec refers to a secret, config or network; of kind
        ``ingress``, without an id, those that publish a port in the whole swarm."""
        return self.select("service", "uses", (kind, id))

    @property
    def has_swarm(self) -> bool:
        """Whether the swarm object was written yet."""
        return self.count("swarm") > 0

    @property
    def swarm(self) -> Swarm:
        """The swarm object; asking before there is one is a programmer's mistake."""
        found = next(self.all("swarm"), None)
        assert found is not None, "no swarm object yet"
        return cast("Swarm", found)

    def node(self, id: str) -> Node | None:
        return cast("Node | None", self.get("node", id))

    def service(self, id: str) -> Service | None:
        return cast("Service | None", self.get("service", id))

    def task(self, id: str) -> Task | None:
        return cast("Task | None", self.get("task", id))

    def network(self, id: str) -> Network | None:
        return cast("Network | None", self.get("network", id))

    def secret(self, id: str) -> Secret | None:
        return cast("Secret | None", self.get("secret", id))

    def config(self, id: str) -> Config | None:
        return cast("Config | None", self.get("config", id))

    def nodes(self) -> Iterator[Node]:
        return self.all("node")

    def services(self) -> Iterator[Service]:
        return self.all("service")

    def tasks(self) -> Iterator[Task]:
        return self.all("task")

    def networks(self) -> Iterator[Network]:
        return self.all("network")

    def secrets(self) -> Iterator[Secret]:
        return self.all("secret")

    def configs(self) -> Iterator[Config]:
        return self.all("config")
