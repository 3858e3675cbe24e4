"""The authority as the swarm keeps it, and what an external one may and may not sign."""

from __future__ import annotations

import attrs
import pytest

from pyswarm.ca import (
    CertificateRejected,
    Identity,
    InvalidCertificate,
    JoinToken,
    NodeCertificate,
    Renewal,
    RootCA,
    create_csr,
    create_key,
)
from pyswarm.ca.authority import decided, first_state, running_rotation, signer
from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument
from pyswarm.model import Role, TLSInfo

NOW = 1_795_370_897.0
OLD = RootCA.create(NOW, entropy=Rng("old").bytes)
NEW = RootCA.create(NOW, entropy=Rng("new").bytes)
KEY = create_key(Rng("node").bytes)
CSR = create_csr(KEY)
NODE = Identity("node000000000000000000000", Role.WORKER, "swarm00000000000000000000")
STATE = first_state(OLD, entropy=Rng("tokens").bytes)


def test_a_new_swarms_authority() -> None:
    assert (STATE.cert, STATE.key, STATE.digest) == (OLD.cert_pem, OLD.key_pem, OLD.digest)
    assert JoinToken.parse(STATE.worker_token).digest == OLD.digest
    assert STATE.worker_token != STATE.manager_token
    assert STATE.tls == TLSInfo(OLD.cert_pem, OLD.issuer.subject, OLD.issuer.public_key)
    assert signer(STATE).key_pem == OLD.key_pem


def test_a_rotation_brings_what_the_swarm_will_have() -> None:
    state = decided(STATE, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, now=NOW)
    rotation = state.rotation
    assert rotation is not None
    assert (state.cert, state.worker_token) == (STATE.cert, STATE.worker_token)
    assert (rotation.cert, rotation.key, rotation.digest) == (NEW.cert_pem, NEW.key_pem, NEW.digest)
    for token in (rotation.worker_token, rotation.manager_token):
        assert JoinToken.parse(token).digest == NEW.digest
    chain = signer(state).sign(CSR, NODE, NOW)
    issuer = NodeCertificate.parse(chain).issuer(OLD.cert_pem)
    assert state.has_signed(TLSInfo(OLD.cert_pem, issuer.subject, issuer.public_key))
    assert not state.has_signed(STATE.tls)
    again = decided(state, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, now=NOW)
    assert again == state, "the same wish changes nothing, tokens included"
    assert decided(state, cert_pem=OLD.cert_pem, now=NOW) == STATE, "called off"
    anew = decided(state, force=True, now=NOW)
    assert anew.rotation is not None
    assert anew.rotation.cert not in (OLD.cert_pem, NEW.cert_pem)


def test_a_fips_swarm_keeps_its_form_of_token() -> None:
    state = decided(first_state(OLD, fips=True), force=True, now=NOW)
    assert state.rotation is not None
    assert JoinToken.parse(state.rotation.worker_token).fips


def test_to_an_external_authority_and_back() -> None:
    with pytest.raises(InvalidArgument, match="corresponding to the desired CA certificate"):
        decided(STATE, cert_pem=NEW.cert_pem, now=NOW)
    state = decided(STATE, cert_pem=NEW.cert_pem, external=True, now=NOW)
    assert state.rotation is not None
    assert state.rotation.key == b""
    root = signer(state)
    assert root.key_pem is None
    chain = root.accept(NEW.sign(CSR, NODE, NOW), CSR, NODE, NOW)
    assert OLD.verify(chain, NOW).identity == NODE, "who trusts the old root believes it"

    outside = attrs.evolve(STATE, key=b"")
    with pytest.raises(InvalidArgument, match="corresponding to the current CA certificate"):
        decided(outside, force=True, external=True, now=NOW)
    with pytest.raises(InvalidArgument, match="different external CA is not supported"):
        decided(outside, cert_pem=NEW.cert_pem, external=True, now=NOW)
    bridge = OLD.cross_sign(NEW.cert_pem)
    begun = decided(
        outside, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, cross_signed_pem=bridge, now=NOW
    )
    running = running_rotation(begun)
    assert running is not None
    assert OLD.verify(running.signer.sign(CSR, NODE, NOW), NOW).identity == NODE
    other = RootCA.create(NOW, entropy=Rng("other").bytes)
    for wrong in (other.cross_sign(NEW.cert_pem), OLD.cross_sign(other.cert_pem), NEW.cert_pem):
        with pytest.raises(InvalidCertificate, match="cross-signed certificate"):
            decided(
                outside, cert_pem=NEW.cert_pem, key_pem=NEW.key_pem, cross_signed_pem=wrong, now=NOW
            )
    adopted = decided(outside, cert_pem=OLD.cert_pem, key_pem=OLD.key_pem, now=NOW)
    assert adopted == STATE, "the key of the present root may be handed in"


def test_what_an_external_authority_must_not_sign() -> None:
    root = RootCA.load(OLD.cert_pem)
    good = OLD.sign(CSR, NODE, NOW)
    assert root.accept(good, CSR, NODE, NOW) == good
    manager = attrs.evolve(NODE, role=Role.MANAGER)
    elsewhere = create_csr(create_key(Rng("elsewhere").bytes))
    wrong = [
        (OLD.sign(CSR, manager, NOW), "another identity"),
        (OLD.sign(elsewhere, NODE, NOW), "another key"),
        (NEW.sign(CSR, NODE, NOW), "not signed by this swarm's root"),
        (OLD.sign(CSR, NODE, NOW - 200 * 86_400.0), "expired"),
    ]
    for chain, sentence in wrong:
        with pytest.raises(CertificateRejected, match=sentence):
            root.accept(chain, CSR, NODE, NOW)
    with pytest.raises(InvalidCertificate):
        root.accept(b"no PEM", CSR, NODE, NOW)


def test_the_plan_of_a_renewal() -> None:
    renewal = Renewal(Rng("renewal"))
    renewal.issued(1000.0, 2000.0 + 60_000.0)
    assert 1000.0 + 30_000.0 <= renewal.at <= 1000.0 + 49_000.0
    assert not renewal.is_due(renewal.at - 1.0, forced=False)
    assert renewal.is_due(renewal.at - 1.0, forced=True)
    now = renewal.at
    assert renewal.is_due(now, forced=False)
    for count in range(1, 20):
        renewal.failed(now, forced=False)
        assert renewal.failures == count
        assert renewal.is_due(now + 3600.0, forced=False)
    renewal.failed(now, forced=True)
    assert renewal.is_due(now + 5.0, forced=True), "a role is not kept waiting"
    renewal.issued(now, now + 60_000.0)
    assert renewal.failures == 0
    assert not renewal.is_due(now, forced=False)
