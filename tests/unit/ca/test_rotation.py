"""Replacing the root: what each request means, and that nobody is locked out."""

from __future__ import annotations

import pytest

from pyswarm.ca import (
    CertificateRejected,
    Identity,
    InvalidCertificate,
    NodeCertificate,
    RootCA,
    create_csr,
    create_key,
    decide_rotation,
)
from pyswarm.ca.certificate import load_bundle
from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model.states import Role

NOW = 1_795_370_897.0
YEAR = 365 * 86_400.0
OLD = RootCA.create(NOW, entropy=Rng("old").bytes)
NEW = RootCA.create(NOW, entropy=Rng("new").bytes)
KEY = create_key(Rng("node").bytes)
CSR = create_csr(KEY)
NODE = Identity("node000000000000000000000", Role.WORKER, "swarm00000000000000000000")


def test_both_roots_accept_what_is_signed_in_between() -> None:
    rotation = OLD.rotate(NOW, to=NEW)
    chain = rotation.signer.sign(CSR, NODE, NOW)
    assert len(load_bundle(chain)) == 2
    assert OLD.verify(chain, NOW).identity == NODE
    assert NEW.verify(chain, NOW).identity == NODE
    assert rotation.signer.digest == OLD.digest, "what is trusted stays until the end"
    before = NodeCertificate.parse(OLD.sign(CSR, NODE, NOW))
    assert not rotation.done_by(before.issuer(OLD.cert_pem))
    assert rotation.done_by(NodeCertificate.parse(chain).issuer(OLD.cert_pem))
    with pytest.raises(InvalidCertificate):
        before.issuer(NEW.cert_pem)
    with pytest.raises(CertificateRejected):
        NEW.verify(before.chain_pem, NOW)


def test_the_cross_signed_certificate() -> None:
    (crossed,) = load_bundle(OLD.cross_sign(NEW.cert_pem))
    (old,), (new,) = load_bundle(OLD.cert_pem), load_bundle(NEW.cert_pem)
    assert crossed.subject == new.subject
    assert crossed.public_key() == new.public_key()
    assert crossed.not_valid_after_utc == new.not_valid_after_utc
    crossed.verify_directly_issued_by(old)
    with pytest.raises(FailedPrecondition):
        RootCA.load(OLD.cert_pem).cross_sign(NEW.cert_pem)


def test_without_a_wish_nothing_changes() -> None:
    running = OLD.rotate(NOW)
    assert decide_rotation(OLD, None, now=NOW) == (OLD, None)
    assert decide_rotation(OLD, running, now=NOW) == (OLD, running)


def test_force_makes_a_new_root() -> None:
    root, rotation = decide_rotation(OLD, None, force=True, now=NOW)
    assert root == OLD
    assert rotation is not None
    assert rotation.target.key_pem not in (None, OLD.key_pem)
    _, again = decide_rotation(OLD, rotation, force=True, now=NOW)
    assert again is not None
    assert again.target != rotation.target


def test_a_given_root() -> None:
    root, rotation = decide_rotation(OLD, None, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, now=NOW)
    assert root == OLD
    assert rotation is not None
    assert rotation.target == NEW
    again = decide_rotation(OLD, rotation, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, now=NOW)
    assert again == (OLD, rotation), "the running target goes on"
    back = decide_rotation(OLD, rotation, cert_pem=OLD.cert_pem, key_pem=OLD.key_pem, now=NOW)
    assert back == (OLD, None), "the present root ends the rotation"


def test_a_key_is_adopted() -> None:
    keyless = RootCA.load(OLD.cert_pem)
    adopted = decide_rotation(keyless, None, cert_pem=OLD.cert_pem, key_pem=OLD.key_pem, now=NOW)
    assert adopted == (OLD, None)


CURRENT = "there must be at least one valid, reachable external CA corresponding to the current"


def test_what_is_refused() -> None:
    def refused(message: str, current: RootCA = OLD, **wish: object) -> None:
        with pytest.raises(InvalidArgument) as error:
            decide_rotation(current, None, now=NOW, **wish)  # type: ignore[arg-type]
        assert str(error.value).startswith(message)

    refused(
        "if a signing CA key is provided, the signing CA cert must also be provided",
        key_pem=NEW.key_pem,
    )
    refused(
        "the desired CA certificate cannot contain multiple certificates",
        cert_pem=NEW.cert_pem + OLD.cert_pem,
        key_pem=NEW.key_pem,
    )
    refused("certificate key mismatch", cert_pem=NEW.cert_pem, key_pem=OLD.key_pem)
    refused(CURRENT, current=RootCA.load(OLD.cert_pem), force=True)
    refused(CURRENT.replace("current", "desired"), cert_pem=NEW.cert_pem)
    twin = RootCA.create(NOW + 3600, entropy=Rng("old").bytes)  # the same key, another certificate
    refused(
        "Cannot update to a cert with an identical key",
        cert_pem=twin.cert_pem,
        key_pem=twin.key_pem,
    )
    ending = RootCA.create(NOW - 19.5 * YEAR)
    refused("CA certificate expires too soon", cert_pem=ending.cert_pem, key_pem=ending.key_pem)


def test_many_rotations_in_a_row() -> None:
    root = OLD
    for _ in range(3):
        rotation = root.rotate(NOW)
        chain = rotation.signer.sign(CSR, NODE, NOW)
        assert root.verify(chain, NOW) == rotation.target.verify(chain, NOW)
        root = rotation.target
    with pytest.raises(CertificateRejected):
        OLD.verify(root.sign(CSR, NODE, NOW), NOW)
