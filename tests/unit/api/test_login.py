"""``POST /auth``: what is asked of registries, and Docker's texts (of a real 20.10)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest

from api_talks import talk, told
from pyswarm.api.asks import LogIn
from pyswarm.errors import Unauthenticated, Unavailable

GIVEN = {"username": "u", "password": "pass"}


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("", ""),
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://[::1]:5000/v2/?x", "[::1]:5000"),
        ("UPPER/x", "UPPER"),
    ],
)
def test_where_it_is_asked(address: str, server: str) -> None:
    body = {**GIVEN, "serveraddress": address}
    answer, asked = talk("POST", "/v1.41/auth", body, {LogIn: "token"})
    assert json.loads(answer.body) == {"IdentityToken": "token", "Status": "Login Succeeded"}
    (ask,) = asked
    assert ask.server == server
    assert json.loads(urlsafe_b64decode(ask.auth)) == GIVEN
    assert ask.auth not in repr(ask)


HOST = 'unable to parse server address: parse "https://{}": '


@pytest.mark.parametrize(
    ("version", "body", "status", "text"),
    [
        ("1.41", {"username": 1}, 500, "json: cannot unmarshal number into Go struct field"),
        ("1.41", b"[", 500, "unexpected EOF"),
        ("1.41", b"", 500, "EOF"),
        ("1.50", b"[", 400, "invalid JSON: unexpected EOF"),
        ("1.41", {"serveraddress": "bad host:::"}, 400, HOST.format("bad host:::") + "invalid ch"),
        ("1.50", {"serveraddress": "u@h"}, 400, HOST.format("u@h") + 'invalid character "@" in '),
        ("1.50", {"serveraddress": "[::1"}, 400, HOST.format("[::1") + "invalid host or port"),
        ("1.50", {"serveraddress": "h:99999"}, 400, HOST.format("h:99999") + "invalid host or"),
    ],
)
def test_what_makes_no_sense(version: str, body: Any, status: int, text: str) -> None:
    got, message = told(talk("POST", f"/v{version}/auth", body)[0])
    assert (got, message[: len(text)]) == (status, text)


@pytest.mark.parametrize(
    ("version", "error", "status"),
    [
        ("1.41", Unauthenticated("no"), 500),
        ("1.50", Unauthenticated("no"), 401),
        ("1.50", Unavailable("no"), 500),
    ],
)
def test_what_registries_refuse(version: str, error: Any, status: int) -> None:
    answer, _ = talk("POST", f"/v{version}/auth", GIVEN, {LogIn: error})
    assert told(answer) == (status, "no")
