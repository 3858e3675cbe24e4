"""A sealed payload: opens under its key alone, shows nothing, cannot be exchanged."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest

from pyswarm.env import Rng
from pyswarm.model.objects import Sealed, SealingKey
from pyswarm.secretstore import PayloadDamaged, Sealer, UnknownSealingKey, new_sealing_key


def entropy(seed: int = 1):
    return Rng(seed).bytes


def test_what_is_sealed_opens() -> None:
    sealer = Sealer(entropy=entropy())
    for data in (b"x", b"\0\xff binary \r\n", b"a" * 511_999):
        sealed = sealer.seal(data)
        assert sealer.open(sealed) == data
        assert sealed.length == len(data)
        assert data not in sealed.ciphertext


def test_same_payload_twice_looks_different_but_has_one_digest() -> None:
    sealer = Sealer(entropy=entropy())
    one, two = sealer.seal(b"equal"), sealer.seal(b"equal")
    assert one.nonce != two.nonce and one.ciphertext != two.ciphertext
    assert one.digest == two.digest != sealer.seal(b"other").digest
    assert sealer.holds(one, b"equal") and not sealer.holds(one, b"other")


def test_digest_is_keyed() -> None:
    one, two = Sealer(entropy=entropy(1)), Sealer(entropy=entropy(2))
    assert one.seal(b"equal").digest != two.seal(b"equal").digest


def changes(sealed: Sealed) -> list[Sealed]:
    flipped = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    return [
        attrs.evolve(sealed, ciphertext=flipped),
        attrs.evolve(sealed, ciphertext=sealed.ciphertext[:-1]),
        attrs.evolve(sealed, ciphertext=b""),
        attrs.evolve(sealed, nonce=b"\0" * 12),
        attrs.evolve(sealed, nonce=b""),
        attrs.evolve(sealed, length=sealed.length + 1),
    ]


def test_anything_changed_is_refused_without_showing_anything() -> None:
    sealer = Sealer(entropy=entropy())
    for damaged in changes(sealer.seal(b"hunter2")):
        with pytest.raises(PayloadDamaged) as caught:
            sealer.open(damaged)
        assert "hunter2" not in repr(caught.value) + str(caught.value.details)


def test_key_of_another_swarm_with_the_same_id() -> None:
    sealed = Sealer(entropy=entropy(1)).seal(b"x")
    with pytest.raises(PayloadDamaged):
        Sealer(entropy=entropy(2)).open(sealed)


def test_rotation_keeps_old_payloads_readable_until_their_key_is_forgotten() -> None:
    sealer = Sealer(entropy=entropy())
    old = sealer.seal(b"x")
    key = sealer.rotate()
    assert (old.key_id, key.id, sealer.key_id) == (1, 2, 2)
    assert sealer.open(old) == b"x"
    new = sealer.reseal(old)
    assert new.key_id == 2 and sealer.reseal(new) is new
    sealer.forget(1)
    with pytest.raises(UnknownSealingKey, match="no sealing key with id 1"):
        sealer.open(old)
    assert Sealer([key]).open(new) == b"x"


def test_the_highest_id_seals_whatever_the_order() -> None:
    keys = [new_sealing_key(entropy(id), id) for id in (3, 1, 2)]
    sealer = Sealer(keys)
    assert sealer.seal(b"x").key_id == 3
    assert [key.id for key in sealer.keys] == [1, 2, 3]


def test_no_key_in_a_repr() -> None:
    key = SealingKey(1, b"k" * 32)
    assert "kkk" not in repr(key) + repr(Sealer([key])) + repr(Sealer([key]).seal(b"payload"))


def test_importing_the_package_loads_no_cryptography() -> None:
    code = "import sys, pyswarm.secretstore; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
