"""Which VXLAN id does an overlay's subnet get?

Serially from 4096 to 2^24 - 1, as in Docker: the ids below are left to switches and to users, who
may fix any id by the option ``com.docker.network.driver.overlay.vxlanid_list``.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyswarm.errors import InvalidArgument

from .errors import NotLeased, VxlanIdsExhausted
from .journal import Journal
from .serial import Serial

VXLAN_ID_FIRST = 4096
VXLAN_ID_LAST = (1 << 24) - 1
"""VXLAN's identifier has 24 bits (RFC 7348)."""


class VxlanIds:
    """Leases VXLAN ids."""

    __slots__ = ("_serial",)

    def __init__(self, *, journal: Journal | None = None) -> None:
        self._serial = Serial(VXLAN_ID_FIRST, VXLAN_ID_LAST + 1, journal)

    def allocate(self, vxlan_id: int | None = None) -> int:
        """The next free id, or the one asked for.

        Raises:
            VxlanIdsExhausted: none is free.
            InvalidArgument: the one asked for is leased, or needs more than 24 bits.
        """
        if vxlan_id is None:
            found = self._serial.take_next()
            if found is None:
                raise VxlanIdsExhausted
            return found
        if not 0 < vxlan_id <= VXLAN_ID_LAST:
            raise InvalidArgument(f"VXLAN id {vxlan_id} is not between 1 and {VXLAN_ID_LAST}")
        if not self._serial.take(vxlan_id):
            raise InvalidArgument(f"VXLAN id {vxlan_id} is already in use")
        return vxlan_id

    def release(self, vxlan_id: int) -> None:
        """Give an id back.

        Raises:
            NotLeased: it is not leased.
        """
        if vxlan_id < 0 or not self._serial.give_back(vxlan_id):
            raise NotLeased(f"VXLAN id {vxlan_id} is not leased")

    def restore(self, vxlan_ids: Iterable[int]) -> None:
        """Lease these again, in the order their networks were created, and go on after the last."""
        for vxlan_id in vxlan_ids:
            self.allocate(vxlan_id)
            self.search_after(vxlan_id)

    def search_after(self, vxlan_id: int) -> None:
        """Let the next search start after this id."""
        self._serial.cursor = vxlan_id + 1

    def __contains__(self, vxlan_id: int) -> bool:
        return vxlan_id in self._serial

    def __len__(self) -> int:
        return len(self._serial)

    def __repr__(self) -> str:
        return f"<VxlanIds: {len(self)} leased>"
