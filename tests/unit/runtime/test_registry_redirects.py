"""Where a registry sends its client, what the client was given does not go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pyswarm.errors import Unavailable
from pyswarm.runtime.registry import http
from pyswarm.runtime.registry.http import Answer, fetch

HERE = "https://here/token?account=me"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, str], bytes]]:
    """What was asked. Whoever is asked for a token sends the client elsewhere."""
    found: list[tuple[str, Mapping[str, str], bytes]] = []

    async def once(url: str, method: str, headers: Any, body: bytes, *_: Any) -> Answer:
        found.append((url, dict(headers), body))
        is_sent_on = "token" in url
        return (
            Answer(307, {"location": "https://there/"}, b"") if is_sent_on else Answer(200, {}, b"")
        )

    monkeypatch.setattr(http, "_once", once)
    return found


async def test_an_authorization_stays(asked: list[Any]) -> None:
    await fetch(HERE, headers={"Authorization": "Basic eA==", "Accept": "x"})
    assert asked[1] == ("https://there/", {"Accept": "x"}, b"")


async def test_a_body_stays(asked: list[Any]) -> None:
    with pytest.raises(Unavailable, match='"https://here/token": it leads to another host'):
        await fetch(HERE, method="POST", body=b"refresh_token=hunter2")
    assert [url for url, _, _ in asked] == [HERE]


async def test_who_asked_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(url: str, *_: Any) -> Answer:
        return Answer(302, {"location": url}, b"")

    monkeypatch.setattr(http, "_once", once)
    with pytest.raises(Unavailable) as caught:
        await fetch(HERE)
    assert str(caught.value).startswith('Get "https://here/token": too many redirects')
