"""Secrets and configs: sealed here, before they leave this process's hands.

The size is checked where the payload is still plain; what goes into a request, the log and the
store is sealed. Nothing ever gives a secret back: only the tasks that refer to it see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import Config, ConfigSpec, Driver, Sealed, Secret, SecretSpec
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateConfig_,
    UpdateSecret,
)
from pyswarm.runtime.drivers import DriverFunction
from pyswarm.runtime.front.handles import Collection, H, Handle
from pyswarm.runtime.front.rotation import rotate
from pyswarm.runtime.front.sources import Source, read_payload
from pyswarm.secretstore import check_name, check_payload_size
from pyswarm.templating import check_payload


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
        if config.payload is None:
            raise FailedPrecondition("a driver brings this config, to tasks only")
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
    create_class: ClassVar[type[CreateSecret] | type[CreateConfig]]

    def register_driver(self, name: str, function: DriverFunction) -> None:
        """Let a function of yours bring payloads: see :mod:`pyswarm.runtime.drivers`. The leader
        calls it, so register it on every manager, under the same name."""
        self._member.node.drivers.register(name, function)

    async def _create(
        self,
        name: str,
        data: Source | None,
        labels: Mapping[str, str] | None,
        templating: str,
        driver: str,
        driver_options: Mapping[str, str] | None,
    ) -> H:
        """Everything is checked and sealed before anything is asked for."""
        check_name(name)
        chosen = Driver(driver, driver_options or {}) if driver else None
        spec = self.spec_class(name=name, labels=labels or {}, templating=templating, driver=chosen)
        sealed = None
        if chosen is not None:
            if data is not None:
                raise InvalidArgument("give a payload, or a driver that brings it, not both")
            self._member.node.drivers.check(driver)
        else:
            if data is None:
                raise InvalidArgument(f"{self.handle.kind} needs a payload, or a driver")
            sealed = await self._sealed(data, templating)
        create: Any = self.create_class
        return self._wrap(await self._member.request(create(spec, sealed)))

    async def _sealed(self, data: Source, templating: str = "") -> Sealed:
        kind: Any = self.handle.kind
        plain = await read_payload(kind, data)
        check_payload_size(kind, len(plain))
        check_payload(plain, templating)
        return await self._member.seal(plain)

    async def rotate(
        self, name: str, data: Source, *, timeout: float | None = None, remove_old: bool = True
    ) -> H:
        """Put a new version in the place of the one called ``name``, wherever it is used.

        The next version (``name_v2``, ``name_v3`` …) is created with the same labels; every service
        that uses the old one gets the new one under the same target, by a rolling update; once
        nobody uses the old one it is removed. The new one is returned. ``name`` may also be
        the name that the first version had.

        Raises ``NotFound``, ``InvalidArgument`` (size, or no room for a longer name),
        ``FailedPrecondition`` if a service did not take the new one (its update was paused or
        rolled back: the old one stays), ``DeadlineExceeded`` after ``timeout`` seconds.
        """
        kind: Any = self.handle.kind
        sealed = await self._sealed(data)
        return self._wrap(
            await rotate(self._member, kind, name, sealed, timeout=timeout, remove_old=remove_old)
        )


class Secrets(_Payloads[SecretHandle]):
    """``cluster.secrets``."""

    handle = SecretHandle
    spec_class = SecretSpec
    create_class = CreateSecret

    async def create(
        self,
        name: str,
        data: Source | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        templating: str = "",
        driver: str = "",
        driver_options: Mapping[str, str] | None = None,
    ) -> SecretHandle:
        """Store a secret of 1 to 511,999 bytes.

        ``data`` is bytes, text (UTF-8), a ``pathlib.Path`` or anything with ``read``; or a
        ``driver`` (see :meth:`register_driver`) brings it when a task needs it. Raises
        ``InvalidArgument`` (name, size), ``AlreadyExists``, ``NotFound`` (the driver).
        """
        return await self._create(name, data, labels, templating, driver, driver_options)


class Configs(_Payloads[ConfigHandle]):
    """``cluster.configs``."""

    handle = ConfigHandle
    spec_class = ConfigSpec
    create_class = CreateConfig

    async def create(
        self,
        name: str,
        data: Source | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        templating: str = "",
        driver: str = "",
        driver_options: Mapping[str, str] | None = None,
    ) -> ConfigHandle:
        """Store a config of 1 to 511,999 bytes; arguments and errors as of ``secrets.create``."""
        return await self._create(name, data, labels, templating, driver, driver_options)
