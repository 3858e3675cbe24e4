"""Who a peer is, as its certificate says: the node, its role and its swarm.

Over TLS the certificate's subject carries it (CN the node, OU the role, O the swarm), always set
by the CA. In memory the network vouches for it. Either way every input from a peer comes with one.
"""

from __future__ import annotations

import attrs

from .states import Role


@attrs.frozen
class Identity:
    """A node of a swarm in a role."""

    node_id: str
    role: Role
    swarm_id: str

    @property
    def is_manager(self) -> bool:
        """Whether this identity may do what managers do."""
        return self.role is Role.MANAGER
