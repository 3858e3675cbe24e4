"""Foreign bytes never break the authority: they are refused, in the tree of errors."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.ca import (
    Identity,
    InvalidCertificate,
    InvalidJoinToken,
    JoinToken,
    NodeCertificate,
    RootCA,
    create_csr,
    create_key,
)
from pyswarm.env import Rng
from pyswarm.errors import SwarmError
from pyswarm.ids import base36
from pyswarm.model.states import Role

NOW = 1_795_370_897.0
ROOT = RootCA.create(NOW, entropy=Rng("root").bytes)
KEY = create_key(Rng("node").bytes)
CSR = create_csr(KEY)
NODE = Identity("node000000000000000000000", Role.MANAGER, "swarm00000000000000000000")
CHAIN = ROOT.sign(CSR, NODE, NOW)


def body(pem: bytes) -> bytes:
    return b64decode(b"".join(pem.splitlines()[1:-1]))


def rewritten(pem: bytes, changes: list[tuple[int, int]]) -> bytes:
    """The PEM with some bytes of its DER replaced."""
    first, *_, last = pem.splitlines()
    der = bytearray(body(pem))
    for at, value in changes:
        der[at % len(der)] = value
    return b"\n".join([first, b64encode(bytes(der)), last, b""])


changes = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3)


@given(changes)
@settings(max_examples=300, deadline=None)
def test_an_altered_certificate_is_refused_or_the_same(changed: list[tuple[int, int]]) -> None:
    altered = rewritten(CHAIN, changed)
    try:
        certificate = ROOT.verify(altered, NOW)
    except SwarmError:
        return
    assert certificate.identity == NODE
    assert body(altered)[:-80] == body(CHAIN)[:-80], "only the signature may be written otherwise"


@given(changes)
@settings(max_examples=200, deadline=None)
def test_an_altered_request_or_root_is_refused(changed: list[tuple[int, int]]) -> None:
    for attempt in (
        lambda: ROOT.sign(rewritten(CSR, changed), NODE, NOW),
        lambda: RootCA.load(rewritten(ROOT.cert_pem, changed), ROOT.key_pem),
        lambda: RootCA.load(ROOT.cert_pem, rewritten(KEY, changed)),
    ):
        try:
            attempt()
        except InvalidCertificate as refused:
            assert "PRIVATE" not in str(refused)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused(noise: bytes) -> None:
    wrapped = b"-----BEGIN CERTIFICATE-----\n" + b64encode(noise) + b"\n-----END CERTIFICATE-----\n"
    for pem in (noise, wrapped):
        for attempt in (NodeCertificate.parse, RootCA.load):
            try:
                attempt(pem)
            except InvalidCertificate:
                continue
            raise AssertionError("accepted")


@given(st.integers(0, 2**256 - 1), st.binary(min_size=16, max_size=16), st.booleans())
def test_tokens_come_back_as_they_were(digest: int, secret: bytes, fips: bool) -> None:
    class Root:
        pass

    root = Root()
    root.digest = base36(digest, 50)  # type: ignore[attr-defined]
    token = JoinToken.generate(root, entropy=lambda size: secret, fips=fips)  # type: ignore[arg-type]
    again = JoinToken.parse(str(token))
    assert again == token
    assert int(again.secret, 36).to_bytes(16, "big") == secret
    assert (len(again.digest), len(again.secret), again.fips) == (50, 25, fips)


@given(
    st.text(max_size=100)
    | st.lists(
        st.sampled_from(["SWMTKN", "1", "2", "0", "a" * 50, "b" * 25, "z" * 50, "", "é" * 25]),
        max_size=6,
    ).map("-".join)
)
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with suppress(InvalidJoinToken):
        assert str(JoinToken.parse(text)) == text
