"""The unlock key's text form (spec: security, 7)."""

from __future__ import annotations

import re

import pytest

from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument
from pyswarm.secretstore import InvalidUnlockKey, UnlockKey


def test_form_and_back() -> None:
    key = UnlockKey.generate(Rng(1).bytes)
    assert re.fullmatch(r"SWMKEY-1-[A-Za-z0-9+/]{43}", key.text)
    assert UnlockKey.parse(key.text) == key
    assert UnlockKey.parse(f"  {key.text}\n") == key
    assert UnlockKey.parse("SWMKEY-1-" + "A" * 43) == UnlockKey(b"\0" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SWMKEY-1-",
        "SWMKEY-2-" + "A" * 43,
        "SWMKEY-1-" + "A" * 42,
        "SWMKEY-1-" + "A" * 44,
        "SWMKEY-1-" + "A" * 43 + "=",
        "SWMKEY-1-" + "A" * 42 + "-",
        "SWMKEY-1-" + "A" * 42 + "é",
        "swmkey-1-" + "A" * 43,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidUnlockKey) as refused:
        UnlockKey.parse(text)
    assert str(refused.value) == "invalid key string"


def test_a_key_is_32_bytes() -> None:
    with pytest.raises(InvalidArgument):
        UnlockKey(b"short")


def test_repr_and_str_hide_it() -> None:
    key = UnlockKey(b"k" * 32)
    assert "kkk" not in repr(key) and key.text not in repr(key) + str(key)
