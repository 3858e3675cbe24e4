"""Join tokens: Docker's format to the letter, secrets unseen."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from pyswarm.ca import (
    FingerprintMismatch,
    InvalidJoinToken,
    JoinToken,
    RootCA,
    WrongJoinToken,
    role_of_token,
)
from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument
from pyswarm.model.states import Role

RECORDED = json.loads(
    (Path(__file__).parents[2] / "golden" / "api" / "swarm.json").read_text(encoding="utf-8")
)["response"]
DIGEST = "0g8jmfu2lhus98globeb8j1mvf8mg7uax29ivrf7p1h7b90pkl"
SECRET = "59l69uvo0fnz6smiyuqb68kb0"


@attrs.frozen
class SomeRoot:
    digest: str = DIGEST


def test_the_digest_of_a_real_swarm() -> None:
    trusted = RECORDED["TLSInfo"]["TrustRoot"].encode()
    for text in RECORDED["JoinTokens"].values():
        token = JoinToken.parse(text)
        assert str(token) == text
        assert token.digest == RootCA.load(trusted).digest
        token.check_root(trusted)


def test_generate() -> None:
    token = JoinToken.generate(SomeRoot(), entropy=Rng(1).bytes)
    assert len(str(token)) == 85
    assert str(token).startswith(f"SWMTKN-1-{DIGEST}-")
    assert JoinToken.parse(str(token)) == token
    assert not token.fips
    assert JoinToken.generate(SomeRoot()) != JoinToken.generate(SomeRoot())
    zero = JoinToken.generate(SomeRoot(), entropy=bytes)
    assert zero.secret == "0" * 25, "padded to its length"
    full = JoinToken.generate(SomeRoot(), entropy=lambda size: b"\xff" * size)
    assert full.secret == "f5lxx1zz5pnorynqglhzmsp33"


def test_fips() -> None:
    token = JoinToken.generate(SomeRoot(), fips=True, entropy=Rng(1).bytes)
    assert str(token).startswith(f"SWMTKN-2-1-{DIGEST}-")
    assert JoinToken.parse(str(token)) == token
    assert token.fips
    assert token.rotated().fips
    optional = f"SWMTKN-2-0-{DIGEST}-{SECRET}"
    assert not JoinToken.parse(optional).fips
    assert str(JoinToken.parse(optional)) == optional


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SWMTKN",
        "SWMTKN-1",
        "SWMTKN-1-bad",
        f"SWMTKN-1-{DIGEST}",
        f"SWMTKN-1-{DIGEST}-{SECRET}-",
        f"SWMTKN-1-1-{DIGEST}-{SECRET}",
        f"SWMTKN-2-{DIGEST}-{SECRET}",
        f"SWMTKN-2-2-{DIGEST}-{SECRET}",
        f"SWMTKN-2-1-{DIGEST}",
        f"SWMTKN-3-{DIGEST}-{SECRET}",
        f"SWMKEY-1-{DIGEST}-{SECRET}",
        f"SWMTKN-1-{DIGEST[1:]}-{SECRET}",
        f"SWMTKN-1-{DIGEST}0-{SECRET}",
        f"SWMTKN-1-{DIGEST}-{SECRET[1:]}",
        f"SWMTKN-1-{DIGEST}-{SECRET}0",
        f"SWMTKN-1-{'!' * 50}-{SECRET}",
        f"SWMTKN-1-{'z' * 50}-{SECRET}",
    ],
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(InvalidJoinToken) as refused:
        JoinToken.parse(text)
    assert str(refused.value) == "invalid join token"
    assert isinstance(refused.value, InvalidArgument)


def test_nothing_shows_the_secret() -> None:
    token = JoinToken.parse(f"SWMTKN-1-{DIGEST}-{SECRET}")
    assert SECRET not in repr(token)
    assert SECRET not in repr([token])
    assert SECRET in str(token)
    with pytest.raises(InvalidJoinToken) as refused:
        JoinToken.parse(f"SWMTKN-1-{DIGEST[1:]}-{SECRET}")
    assert SECRET not in str(refused.value) + repr(refused.value.to_wire())


def test_a_token_decides_the_role() -> None:
    worker = JoinToken.generate(SomeRoot())
    manager = worker.rotated()
    assert worker.digest == manager.digest
    assert role_of_token(str(worker), manager=manager, worker=worker) is Role.WORKER
    assert role_of_token(str(manager), manager=manager, worker=worker) is Role.MANAGER
    for wrong in (str(worker.rotated()), "", "\u00e9\udc80", str(worker).upper()):
        with pytest.raises(WrongJoinToken) as refused:
            role_of_token(wrong, manager=manager, worker=worker)
        assert str(refused.value) == "A valid join token is necessary to join this cluster"


def test_a_foreign_root_is_not_trusted() -> None:
    token = JoinToken.generate(SomeRoot())
    with pytest.raises(FingerprintMismatch) as refused:
        token.check_root(b"-----BEGIN CERTIFICATE-----\n")
    expected = f"{int(DIGEST, 36):064x}"
    assert str(refused.value) == f"remote CA does not match fingerprint. Expected: {expected}"


def test_tokens_are_values() -> None:
    token = JoinToken.parse(f"SWMTKN-1-{DIGEST}-{SECRET}")
    assert token == JoinToken.parse(str(token))
    assert hash(token) == hash(JoinToken.parse(str(token)))
    assert token != str(token)
