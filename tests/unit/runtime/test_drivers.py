"""Drivers of secrets and configs: what may be a payload, and what is a mistake."""

from __future__ import annotations

from typing import Any

import pytest

from pyswarm.agent import FileSource, TaskRejected
from pyswarm.model.session import Driven
from pyswarm.model.specs import Driver
from pyswarm.runtime.drivers import Drivers
from pyswarm.store import Store

SOURCE = FileSource("secret", "id", "key", "/run/secrets/key", Driven(Driver("vault"), {}, ""))


def vault(answer: Any) -> Drivers:
    drivers = Drivers(Store, lambda addr, message: None)

    async def bring(request: object) -> Any:
        return answer

    drivers.register("vault", bring)
    return drivers


@pytest.mark.parametrize("answer", ["text", b"text", bytearray(b"text"), memoryview(b"text")])
async def test_text_and_bytes_are_payloads(answer: Any) -> None:
    assert (await vault(answer).fetch(SOURCE)).data == b"text"


@pytest.mark.parametrize("answer", [16, None, [1, 2], True])
async def test_nothing_else_is_one(answer: Any) -> None:
    """A number least of all: it would make a secret of so many zeros."""
    with pytest.raises(TaskRejected, match=r"^secret key: driver vault failed: TypeError$"):
        await vault(answer).fetch(SOURCE)
