"""Secrets and configs: sealed at rest, named by rules, granted to those who may see them.

Read in this order: ``sealer`` (what a payload looks like to everyone without the key),
``unlock_key`` (the key a person keeps when the managers are locked), ``rules`` (names, sizes,
refusals), ``references`` (what a service may say of them), ``files`` (where a task finds them),
``store`` (all of it together, for use without a swarm). Importing this loads no cryptography.
"""

from .errors import InvalidUnlockKey as InvalidUnlockKey
from .errors import PayloadDamaged as PayloadDamaged
from .errors import UnknownSealingKey as UnknownSealingKey
from .files import TaskFile as TaskFile
from .files import config_path as config_path
from .files import files_for_task as files_for_task
from .files import secret_path as secret_path
from .references import check_references as check_references
from .rules import DATA_BYTES_LIMIT as DATA_BYTES_LIMIT
from .rules import Kind as Kind
from .rules import already_exists_error as already_exists_error
from .rules import check_name as check_name
from .rules import check_only_labels_changed as check_only_labels_changed
from .rules import check_payload_size as check_payload_size
from .rules import in_use_error as in_use_error
from .sealer import Sealer as Sealer
from .sealer import new_sealing_key as new_sealing_key
from .store import SecretStore as SecretStore
from .unlock_key import UnlockKey as UnlockKey

__all__ = [
    "DATA_BYTES_LIMIT",
    "InvalidUnlockKey",
    "Kind",
    "PayloadDamaged",
    "Sealer",
    "SecretStore",
    "TaskFile",
    "UnknownSealingKey",
    "UnlockKey",
    "already_exists_error",
    "check_name",
    "check_only_labels_changed",
    "check_payload_size",
    "check_references",
    "config_path",
    "files_for_task",
    "in_use_error",
    "new_sealing_key",
    "secret_path",
]
