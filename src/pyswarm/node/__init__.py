"""One node as a machine: everything a member of a swarm decides, without a clock or a socket.

Read ``machine`` (the wiring), then ``manager`` (a seat in the log), ``office`` (what a leader has),
``turn`` (how it decides) and ``control`` (what each request does). ``inputs``, ``effects``,
``messages`` and ``config`` are the values that go in and out.
"""

from .calls import Barrier as Barrier
from .config import NodeConfig as NodeConfig
from .config import RecoveredLog as RecoveredLog
from .effects import DropLog as DropLog
from .effects import Halted as Halted
from .effects import Observed as Observed
from .effects import PersistLog as PersistLog
from .effects import Published as Published
from .effects import Reply as Reply
from .effects import SaveBlob as SaveBlob
from .effects import SaveSnapshot as SaveSnapshot
from .effects import SendTo as SendTo
from .effects import WrapKeys as WrapKeys
from .inputs import Call as Call
from .inputs import FromExecutor as FromExecutor
from .inputs import FromPeer as FromPeer
from .inputs import KeysWrapped as KeysWrapped
from .inputs import NodeInput as NodeInput
from .inputs import Persisted as Persisted
from .inputs import SessionBroken as SessionBroken
from .inputs import SnapshotSaved as SnapshotSaved
from .inputs import Stop as Stop
from .inputs import Wake as Wake
from .machine import NodeMachine as NodeMachine
from .record import NodeRecord as NodeRecord

__all__ = [
    "Barrier",
    "Call",
    "DropLog",
    "FromExecutor",
    "FromPeer",
    "Halted",
    "KeysWrapped",
    "NodeConfig",
    "NodeInput",
    "NodeMachine",
    "NodeRecord",
    "Observed",
    "PersistLog",
    "Persisted",
    "Published",
    "RecoveredLog",
    "Reply",
    "SaveBlob",
    "SaveSnapshot",
    "SendTo",
    "SessionBroken",
    "SnapshotSaved",
    "Stop",
    "Wake",
    "WrapKeys",
]
