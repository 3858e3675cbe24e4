"""Where a node keeps what it must not forget.

Read in this order: ``protocol`` (what a driver asks for), ``memory`` (the simplest answer), then
``files``, ``disk``, ``keys``, ``wal``, ``snapshots``, ``filestorage``, ``statefile`` and
``directory`` (the real one). The format of the files is in :mod:`pyswarm.raft.records`.
"""

from .directory import FileDirectory as FileDirectory
from .directory import StateDirectory as StateDirectory
from .disk import DiskThread as DiskThread
from .errors import DamagedRecords as DamagedRecords
from .errors import DirectoryInUse as DirectoryInUse
from .errors import DiskFull as DiskFull
from .errors import MissingFile as MissingFile
from .errors import NewerFormat as NewerFormat
from .errors import OtherNode as OtherNode
from .errors import ReadFailed as ReadFailed
from .errors import StorageLocked as StorageLocked
from .errors import WriteFailed as WriteFailed
from .errors import WrongDataKey as WrongDataKey
from .errors import WrongUnlockKey as WrongUnlockKey
from .filestorage import FileStorage as FileStorage
from .keys import KeyRing as KeyRing
from .memory import MemoryDirectory as MemoryDirectory
from .memory import MemoryStorage as MemoryStorage
from .protocol import Batch as Batch
from .protocol import BlobStorage as BlobStorage
from .protocol import Done as Done
from .protocol import Identity as Identity
from .protocol import LogStorage as LogStorage
from .protocol import Recovered as Recovered
from .statefile import StateFile as StateFile

__all__ = [
    "Batch",
    "BlobStorage",
    "DamagedRecords",
    "DirectoryInUse",
    "DiskThread",
    "DiskFull",
    "Done",
    "FileDirectory",
    "FileStorage",
    "Identity",
    "KeyRing",
    "LogStorage",
    "MemoryDirectory",
    "MemoryStorage",
    "MissingFile",
    "NewerFormat",
    "OtherNode",
    "ReadFailed",
    "Recovered",
    "StateDirectory",
    "StateFile",
    "StorageLocked",
    "WriteFailed",
    "WrongDataKey",
    "WrongUnlockKey",
]
