"""One member of a replicated log, for any state machine; it knows nothing of swarms.

Read in this order: ``entry``, ``configuration``, ``snapshot``, ``message``, ``ready`` (the nouns),
``config`` (times and limits), ``role``, ``log``, ``progress``, ``state``, then what a member does:
``election``, ``leadership``, ``replication``, ``follower``, ``membership``, ``reads``,
``dispatch`` (all of it on one page), and ``replica``, the door.
``wire`` turns messages into bytes, ``disaster`` makes a new cluster of one member's disk.
"""

from .config import TICK_SECONDS, RaftConfig
from .configuration import (
    AddMember,
    Configuration,
    DemoteMember,
    Member,
    MembershipChange,
    PromoteMember,
    RemoveMember,
    UpdateMember,
)
from .disaster import ForcedCluster, force_new_cluster, latest_configuration, new_epoch
from .entry import Entry, EntryKind, HardState, MemberID
from .message import Message
from .progress import ProgressState, Reachability
from .ready import Ready
from .replica import Replica
from .role import Role
from .snapshot import (
    SNAPSHOT_CHUNK_BYTES_MAX,
    SlicePacker,
    Snapshot,
    split_chunks,
    unpack_slices,
)
from .status import FollowerStatus, Status
from .wire import decode, encode

# fmt: off
__all__ = [
    "AddMember", "Configuration", "DemoteMember", "Entry", "EntryKind", "FollowerStatus",
    "ForcedCluster", "HardState", "Member", "MemberID", "MembershipChange", "Message",
    "ProgressState", "PromoteMember", "RaftConfig", "Reachability", "Ready", "RemoveMember",
    "Replica", "Role", "SNAPSHOT_CHUNK_BYTES_MAX", "SlicePacker", "Snapshot", "Status",
    "TICK_SECONDS", "UpdateMember", "decode", "encode", "force_new_cluster",
    "latest_configuration", "new_epoch", "split_chunks", "unpack_slices",
]
# fmt: on
