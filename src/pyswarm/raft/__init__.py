"""One member of a replicated log, for any state machine; it knows nothing of swarms.

Read in this order: ``entry``, ``configuration``, ``snapshot``, ``message``, ``ready`` (the nouns),
``config`` (times and limits), then the replica.
"""

from .config import TICK_SECONDS as TICK_SECONDS
from .config import RaftConfig as RaftConfig
from .configuration import AddMember as AddMember
from .configuration import Configuration as Configuration
from .configuration import DemoteMember as DemoteMember
from .configuration import Member as Member
from .configuration import MembershipChange as MembershipChange
from .configuration import PromoteMember as PromoteMember
from .configuration import RemoveMember as RemoveMember
from .configuration import UpdateMember as UpdateMember
from .entry import Entry as Entry
from .entry import EntryKind as EntryKind
from .entry import HardState as HardState
from .entry import MemberID as MemberID
from .message import Message as Message
from .ready import Ready as Ready
from .snapshot import SNAPSHOT_CHUNK_BYTES_MAX as SNAPSHOT_CHUNK_BYTES_MAX
from .snapshot import Snapshot as Snapshot
from .snapshot import split_chunks as split_chunks

__all__ = [
    "AddMember",
    "Configuration",
    "DemoteMember",
    "Entry",
    "EntryKind",
    "HardState",
    "MemberID",
    "Member",
    "MembershipChange",
    "Message",
    "PromoteMember",
    "RaftConfig",
    "Ready",
    "RemoveMember",
    "SNAPSHOT_CHUNK_BYTES_MAX",
    "Snapshot",
    "TICK_SECONDS",
    "UpdateMember",
    "split_chunks",
]
