"""Handles: an object as last seen, and verbs that act and look again.

``handle.value`` is the immutable object of :mod:`pyswarm.model`; its attributes read through
(``service.spec``, ``node.state``). A verb sends one request, waits until it is settled, and puts
the new object into ``value``. Two handles of one object know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Generic, TypeVar

from pyswarm.errors import NotFound, OutOfSequence
from pyswarm.model import StoreObject
from pyswarm.runtime.front.member import Member

T = TypeVar("T", bound=StoreObject)
V = TypeVar("V")

CHANGE_TRIES = 10
"""How often a change of what is there now ("add this label") is tried when others change the same
object at the same moment; each try loses only to somebody else's success."""


class Handle(Generic[T]):
    """One object of the swarm. ``value`` is what it was when this handle last looked."""

    kind: ClassVar[str]

    def __init__(self, member: Member, value: T) -> None:
        self._member = member
        self.value: T = value

    @property
    def id(self) -> str:
        """The object's id."""
        return self.value.id

    @property
    def name(self) -> str:
        """The name people gave it."""
        value: Any = self.value
        return str(value.spec.name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "value":
            raise AttributeError(name)
        return getattr(self.value, name)

    async def refresh(self, *, stale: bool = False) -> T:
        """Look again. Raises ``NotFound`` if it is gone."""
        self.value = await self._member.read(self._current, stale=stale)
        return self.value

    def _current(self, store: Any) -> T:
        found: T | None = store.get(self.kind, self.id)
        if found is None:
            raise NotFound(f"{self.kind} {self.id} not found")
        return found

    async def _ask(self, body: Any) -> None:
        """One request that writes this object."""
        self.value = await self._member.request(body)

    async def _change(self, make: Callable[[T], Awaitable[Any]]) -> None:
        """Request ``make(current object)``, again if somebody else was faster."""
        for left in reversed(range(CHANGE_TRIES)):
            await self.refresh()
            try:
                return await self._ask(await make(self.value))
            except OutOfSequence:
                if not left:
                    raise
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.kind == other.kind and self.id == other.id

    def __hash__(self) -> int:
        return hash((self.kind, self.id))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.id}>"


H = TypeVar("H", bound="Handle[Any]")


class Collection(Generic[H]):
    """All objects of one kind. Reads are linearizable unless asked to be ``stale``."""

    handle: ClassVar[type[Handle[Any]]]

    def __init__(self, member: Member) -> None:
        self._member = member

    def _wrap(self, value: Any) -> H:
        return self.handle(self._member, value)  # type: ignore[return-value]

    async def get(self, reference: str, *, stale: bool = False) -> H:
        """The one with this id, name or unique prefix of an id.

        Raises ``NotFound``, or ``InvalidArgument`` where a prefix fits several.
        """
        return self._wrap(await self._member.find(self.handle.kind, reference, stale=stale))

    async def list(self, *, stale: bool = False, **filters: Any) -> list[H]:
        """Those that meet every filter; a filter's several values are alternatives.

        Common filters: ``id``, ``name`` (prefixes), ``label`` (``"key"`` or ``"key=value"``); the
        others are in :func:`pyswarm.node.lookup.list_objects`. Raises ``InvalidArgument``.
        """
        found = await self._member.list(self.handle.kind, filters, stale=stale)
        return [self._wrap(value) for value in found]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
