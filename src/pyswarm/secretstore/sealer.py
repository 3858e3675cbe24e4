"""A payload as everyone without the key sees it, and the one thing that makes and opens it.

``seal`` encrypts with AES-256-GCM under the newest of its keys. The result names the key by id and
carries what may be known without it: the length, and a digest that is *keyed*, so that two payloads
can be compared ("is this update a no-op?") and nobody can try likely payloads against it. Key id
and length are authenticated with the ciphertext: none of the three can be exchanged.

A nonce is 12 random bytes. Under one key two of them collide with a chance below 2**-32 until 2**32
payloads have been sealed (NIST SP 800-38D, 8.3), which no swarm does: each takes a commit.

Keys are replaced by ``rotate``: new payloads use the new key at once, old ones stay readable while
their key is kept, and ``reseal`` moves a payload to the newest key. ``cryptography`` is imported
when the first payload is sealed, so that code which only *names* sealed payloads does not load it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyswarm.env import Entropy, system_entropy
from pyswarm.model.objects import Sealed, SealingKey
from pyswarm.secretstore.errors import PayloadDamaged, UnknownSealingKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12  # what GCM takes without hashing it first
_PURPOSE = b"pyswarm payload 1"
_DIGEST_PURPOSE = b"pyswarm payload digest 1"


def new_sealing_key(entropy: Entropy = system_entropy, id: int = 1) -> SealingKey:
    """A fresh key. Ids are positive and grow: the highest is the one that seals."""
    assert id > 0
    return SealingKey(id=id, key=entropy(KEY_BYTES))


class Sealer:
    """Authenticated encryption of payloads, with key ids.

    ``keys`` are kept in order of id; the last one seals. Without keys it draws one.
    """

    def __init__(self, keys: Sequence[SealingKey] = (), entropy: Entropy = system_entropy) -> None:
        self._entropy = entropy
        self._keys: dict[int, SealingKey] = {}
        self._ciphers: dict[int, AESGCM] = {}
        self._digests: dict[int, hmac.HMAC] = {}
        for key in sorted(keys or (new_sealing_key(entropy),), key=lambda key: key.id):
            self._add(key)

    def _add(self, key: SealingKey) -> None:
        assert len(key.key) == KEY_BYTES
        assert key.id > 0
        assert key.id not in self._keys, "two sealing keys with one id"
        self._keys[key.id] = key

    def __repr__(self) -> str:
        return f"<Sealer keys={list(self._keys)}>"

    @property
    def keys(self) -> tuple[SealingKey, ...]:
        """All keys, the one that seals last. For whoever keeps them: handle with care."""
        return tuple(self._keys.values())

    @property
    def key_id(self) -> int:
        """Id of the key that seals."""
        return next(reversed(self._keys))

    def seal(self, data: bytes) -> Sealed:
        """``data``, readable only by those who have the key."""
        key_id = self.key_id
        nonce = self._entropy(NONCE_BYTES)
        assert len(nonce) == NONCE_BYTES
        length = len(data)
        ciphertext = self._cipher(key_id).encrypt(nonce, data, _context(key_id, length))
        return Sealed(
            key_id=key_id,
            nonce=nonce,
            ciphertext=ciphertext,
            length=length,
            digest=self.digest(data, key_id),
        )

    def open(self, sealed: Sealed) -> bytes:
        """The payload. Raises ``UnknownSealingKey`` and ``PayloadDamaged``."""
        from cryptography.exceptions import InvalidTag

        cipher = self._cipher(sealed.key_id)
        if len(sealed.nonce) != NONCE_BYTES:
            raise PayloadDamaged(sealed.key_id)
        context = _context(sealed.key_id, sealed.length)
        try:
            data = cipher.decrypt(sealed.nonce, sealed.ciphertext, context)
        except InvalidTag:
            raise PayloadDamaged(sealed.key_id) from None
        if len(data) != sealed.length:
            raise PayloadDamaged(sealed.key_id)
        return data

    def digest(self, data: bytes, key_id: int | None = None) -> bytes:
        """The keyed digest (HMAC-SHA256) that ``Sealed.digest`` holds."""
        key_id = self.key_id if key_id is None else key_id
        begun = self._digests.get(key_id)
        if begun is None:
            own = hmac.digest(self._key(key_id).key, _DIGEST_PURPOSE, "sha256")
            begun = self._digests[key_id] = hmac.new(own, digestmod="sha256")
        digest = begun.copy()  # a third of the time that beginning anew takes
        digest.update(data)
        return digest.digest()

    def holds(self, sealed: Sealed, data: bytes) -> bool:
        """True if ``sealed`` is ``data``, without opening it. Raises ``UnknownSealingKey``."""
        same = hmac.compare_digest(sealed.digest, self.digest(data, sealed.key_id))
        return same and sealed.length == len(data)

    def rotate(self) -> SealingKey:
        """Draw a new key, seal with it from now on, and return it to be kept."""
        key = new_sealing_key(self._entropy, self.key_id + 1)
        self._add(key)
        return key

    def reseal(self, sealed: Sealed) -> Sealed:
        """The same payload under the newest key; itself if it already is."""
        return sealed if sealed.key_id == self.key_id else self.seal(self.open(sealed))

    def forget(self, key_id: int) -> None:
        """Drop an old key: payloads still sealed under it are lost. Never the one that seals."""
        assert key_id != self.key_id, "the key that seals cannot be dropped"
        if self._keys.pop(key_id, None) is None:
            raise UnknownSealingKey(key_id)
        self._ciphers.pop(key_id, None)
        self._digests.pop(key_id, None)

    def _key(self, key_id: int) -> SealingKey:
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownSealingKey(key_id)
        return key

    def _cipher(self, key_id: int) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            cipher = self._ciphers[key_id] = AESGCM(self._key(key_id).key)
        return cipher


def _context(key_id: int, length: int) -> bytes:
    """What is authenticated beside the payload."""
    return b"%s %d %d" % (_PURPOSE, key_id, length)
