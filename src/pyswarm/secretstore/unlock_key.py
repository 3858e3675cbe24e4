"""The key that a person keeps when the managers are locked.

With autolock on, each manager's data key is on disk only wrapped by this one; it is the key-
encryption key. It is shown as ``SWMKEY-1-`` and the base64 of 32 bytes (standard alphabet, no
padding: 43 characters), the form that ``docker swarm unlock-key`` prints.
"""

from __future__ import annotations

import base64
import re

import attrs

from pyswarm.env import Entropy, system_entropy
from pyswarm.secretstore.errors import InvalidUnlockKey

PREFIX = "SWMKEY-1-"
KEY_BYTES = 32  # AES-256
_FORM = re.compile(r"SWMKEY-1-[A-Za-z0-9+/]{43}\Z")


def _whole(_: object, __: object, value: bytes) -> None:
    if len(value) != KEY_BYTES:
        raise InvalidUnlockKey


@attrs.frozen
class UnlockKey:
    """A key-encryption key. ``repr`` and ``str`` do not show it; ``text`` does."""

    key: bytes = attrs.field(repr=False, validator=_whole)

    @classmethod
    def generate(cls, entropy: Entropy = system_entropy) -> UnlockKey:
        """A fresh key."""
        return cls(entropy(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> UnlockKey:
        """The key that ``text`` shows. Raises ``InvalidUnlockKey`` (``invalid key string``)."""
        text = text.strip()
        if not _FORM.match(text):
            raise InvalidUnlockKey
        return cls(base64.b64decode(text[len(PREFIX) :] + "="))

    @property
    def text(self) -> str:
        """The form a person keeps: ``SWMKEY-1-…``."""
        return PREFIX + base64.b64encode(self.key).decode().rstrip("=")
