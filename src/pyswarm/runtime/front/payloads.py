"""Secrets and configs: sealed here, before they leave this process's hands.

The size is checked where the payload is still plain; what goes into a request, the log and the
store is sealed. Nothing ever gives a secret back: only the tasks that refer to it see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pyswarm.errors import InvalidArgument
from pyswarm.model import Config, ConfigSpec, Sealed, Secret, SecretSpec
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateConfig_,
    UpdateSecret,
)
from pyswarm.runtime.front.handles import Collection, H, Handle
from pyswarm.secretstore import check_name, check_payload_size


class SecretHandle(Handle[Secret]):
    """One secret, without its payload."""

    kind = "secret"

    async def update(self, *, labels: Mapping[str, str]) -> None:
        """Replace the labels; nothing else of a secret can change."""

        async def change(current: Secret) -> UpdateSecret:
            return UpdateSecret(current.id, current.version, labels=labels)

        await self._change(change)

    async def remove(self) -> None:
        """Remove it; refused (``InvalidArgument``) while a service refers to it."""
        await self._member.request(RemoveSecret(self.id))


class ConfigHandle(Handle[Config]):
    """One config."""

    kind = "config"

    async def data(self) -> bytes:
        """The payload; configs are no secrets."""
        config = await self.refresh()
        assert config.payload is not None
        return await self._member.open_sealed(config.payload)

    async def update(self, *, labels: Mapping[str, str]) -> None:
        """Replace the labels; nothing else of a config can change."""

        async def change(current: Config) -> UpdateConfig_:
            return UpdateConfig_(current.id, current.version, labels=labels)

        await self._change(change)

    async def remove(self) -> None:
        """Remove it; refused (``InvalidArgument``) while a service refers to it."""
        await self._member.request(RemoveConfig(self.id))


class _Payloads(Collection[H]):
    """What secrets and configs have in common."""

    spec_class: ClassVar[type[SecretSpec] | type[ConfigSpec]]

    async def _create(
        self, name: str, data: bytes | str, labels: Mapping[str, str] | None, templating: str
    ) -> tuple[Any, Sealed]:
        kind = self.handle.kind
        assert kind in ("secret", "config")
        spec = self.spec_class(name=name, labels=labels or {}, templating=templating)
        check_name(spec.name)
        plain = payload_bytes(kind, data)
        check_payload_size(kind, len(plain))  # type: ignore[arg-type]
        return spec, await self._member.seal(plain)


class Secrets(_Payloads[SecretHandle]):
    """``cluster.secrets``."""

    handle = SecretHandle
    spec_class = SecretSpec

    async def create(
        self,
        name: str,
        data: bytes | str,
        *,
        labels: Mapping[str, str] | None = None,
        templating: str = "",
    ) -> SecretHandle:
        """Store a secret (1 to 511,999 bytes; text is encoded as UTF-8).

        Raises ``InvalidArgument`` (name, size), ``AlreadyExists``.
        """
        spec, sealed = await self._create(name, data, labels, templating)
        return self._wrap(await self._member.request(CreateSecret(spec, sealed)))


class Configs(_Payloads[ConfigHandle]):
    """``cluster.configs``."""

    handle = ConfigHandle
    spec_class = ConfigSpec

    async def create(
        self,
        name: str,
        data: bytes | str,
        *,
        labels: Mapping[str, str] | None = None,
        templating: str = "",
    ) -> ConfigHandle:
        """Store a config (1 to 511,999 bytes; text is encoded as UTF-8).

        Raises ``InvalidArgument`` (name, size), ``AlreadyExists``.
        """
        spec, sealed = await self._create(name, data, labels, templating)
        return self._wrap(await self._member.request(CreateConfig(spec, sealed)))


def payload_bytes(kind: str, data: bytes | str) -> bytes:
    """The payload as bytes; anything but bytes and text is refused without being shown."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise InvalidArgument(f"{kind} data must be bytes or text, not {type(data).__name__}")
