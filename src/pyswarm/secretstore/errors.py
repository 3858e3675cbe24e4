"""What can go wrong when something sealed is opened. No text here ever holds a payload or a key."""

from __future__ import annotations

from pyswarm.errors import FailedPrecondition, Internal, InvalidArgument


class InvalidUnlockKey(InvalidArgument):
    """The text is not an unlock key (``SWMKEY-1-`` and 43 characters)."""

    def __init__(self) -> None:
        super().__init__(
            "invalid key string",
            hint="an unlock key is SWMKEY-1- followed by 43 characters, as unlock_key() shows it",
        )


class UnknownSealingKey(FailedPrecondition):
    """The payload is sealed under a key that this sealer does not have."""

    def __init__(self, key_id: int) -> None:
        super().__init__(
            f"no sealing key with id {key_id}",
            hint="the payload belongs to another swarm, or its key was dropped too early",
            details={"key_id": key_id},
        )


class PayloadDamaged(Internal):
    """The payload does not open under its key: it was changed, or the key is another one."""

    def __init__(self, key_id: int) -> None:
        super().__init__(
            f"a sealed payload does not open under sealing key {key_id}",
            hint="the payload was changed after it was sealed: restore it from a backup",
            details={"key_id": key_id},
        )
