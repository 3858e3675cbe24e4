"""In which order a registry that may be insecure is asked: by TLS, then without (as dockerd)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from pyswarm.errors import Unavailable
from pyswarm.model.images import ImageReference
from pyswarm.runtime.registry import RegistryClient, client
from pyswarm.runtime.registry.http import Answer

HOST = "127.0.0.1:5000"


class Line:
    """What answers at ``HOST``, by the schemes that it speaks; what it was asked."""

    def __init__(self, *schemes: str) -> None:
        self.schemes = schemes
        self.asked: list[str] = []

    async def fetch(self, url: str, **_: Any) -> Answer:
        self.asked.append(url)
        if urlsplit(url).scheme not in self.schemes:
            raise Unavailable(f'Get "{url}": connection refused')
        headers: Mapping[str, str] = {"content-type": "application/json"}
        return Answer(200, headers, json.dumps({"schemaVersion": 2}).encode())


@pytest.mark.parametrize("schemes", [("https", "http"), ("https",), ("http",), ()])
async def test_tls_comes_first(schemes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(*schemes)
    monkeypatch.setattr(client, "fetch", line.fetch)
    registry = RegistryClient()
    manifest, login = f"//{HOST}/v2/app/manifests/latest", f"//{HOST}/v2/"
    for place, ask in (
        (manifest, lambda: registry.resolve(ImageReference.parse(f"{HOST}/app"))),
        (login, lambda: registry.login(HOST, "")),
    ):
        line.asked.clear()
        if schemes:
            await ask()
        else:
            with pytest.raises(Unavailable, match=f"http:{place}"):
                await ask()
        expected = [f"https:{place}", f"http:{place}"]
        assert line.asked == (expected[:1] if "https" in schemes else expected)


async def test_without_tls_nothing_is_asked_where_it_must_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line("http")
    monkeypatch.setattr(client, "fetch", line.fetch)
    registry = RegistryClient(insecure=())
    for ask in (registry.resolve(ImageReference.parse(f"{HOST}/app")), registry.login(HOST, "")):
        with pytest.raises(Unavailable):
            await ask
    assert [urlsplit(url).scheme for url in line.asked] == ["https", "https"]
