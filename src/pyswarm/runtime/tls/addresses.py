"""Where a node listens, and where it tells others to find it.

A listening address is ``host``, ``host:port`` or ``interface[:port]``; without a port it is 2377.
What is advertised defaults to the listening address where that names one host, else to the only
address that this system has; with several, someone must choose. Sentences are Docker's.
"""

from __future__ import annotations

import ipaddress
import socket

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.tls.interfaces import interfaces

DEFAULT_PORT = 2377
DEFAULT_LISTEN = f"0.0.0.0:{DEFAULT_PORT}"

BAD_LISTEN = "listen address must be an IP address or network interface (with optional port number)"
BAD_ADVERTISE = (
    "advertise address must be a non-zero IP address or network interface "
    "(with optional port number)"
)
BAD_DATA_PATH = (
    "data path address must be a non-zero IP address or network interface (without a port number)"
)
NO_ADDRESS = "could not find the system's IP address"


@attrs.frozen
class Address:
    """A host's address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_any(self) -> bool:
        """Whether it stands for all addresses of the system."""
        return ipaddress.ip_address(self.host).is_unspecified


def split(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """``host[:port]``; raises ``InvalidArgument``. The host is not looked at."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, str(default_port)
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidArgument(f"{text!r} is not an address")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def listen_address(text: str | None, preferred: str | None = None) -> Address:
    """Where to listen; ``preferred``: where the node advertised itself in an earlier life."""
    if text is None and preferred is not None:
        text = preferred if _is_own(split(preferred).host) else None
    text = text or DEFAULT_LISTEN
    try:
        address = split(text)
    except InvalidArgument:
        raise InvalidArgument(f"could not parse listen address {_quoted(text)}") from None
    return attrs.evolve(address, host=_resolve(address.host, BAD_LISTEN))


def advertise_address(text: str | None, listen: Address, preferred: str | None = None) -> Address:
    """What others are told. Raises ``InvalidArgument``, naming the candidates where there are
    several."""
    if text is not None:
        try:
            address = split(text, listen.port)
        except InvalidArgument:
            raise InvalidArgument(BAD_ADVERTISE) from None
        address = attrs.evolve(address, host=_resolve(address.host, BAD_ADVERTISE))
        if address.is_any or not address.port:
            raise InvalidArgument(BAD_ADVERTISE)
        return address
    if not listen.is_any:
        return listen
    if preferred is not None:
        return split(preferred)
    return Address(_only_address(system_addresses(_version(listen.host))), listen.port)


def is_here(text: str) -> bool:
    """Whether this system has the address ``host:port`` itself: not behind a NAT, and not after it
    was given another one."""
    return _is_own(split(text).host)


def moved_address(text: str) -> str:
    """Where a node of the address ``text`` is found now that this system does not have it any more:
    at the only one there is. With several, or none, the old one stays."""
    if is_here(text):
        return text
    try:
        old = split(text)
        return str(Address(_only_address(system_addresses(_version(old.host))), old.port))
    except InvalidArgument:
        return text


def data_path_address(text: str) -> str:
    """Where a node's traffic of networks is found. Raises ``InvalidArgument``."""
    host = _resolve(text, BAD_DATA_PATH)
    if ipaddress.ip_address(host).is_unspecified:
        raise InvalidArgument(BAD_DATA_PATH)
    return host


def _only_address(found: list[tuple[str, str]]) -> str:
    if not found:
        raise InvalidArgument(NO_ADDRESS, hint="name one: advertise_addr=…")
    if len(found) == 1:
        return found[0][1]
    (one, first), (other, second) = found[:2]
    where = (
        f"on interface {one} ({first} and {second})"
        if one == other
        else f"on different interfaces ({first} on {one} and {second} on {other})"
    )
    raise InvalidArgument(
        "could not choose an IP address to advertise since this system has multiple addresses "
        f"{where}",
        hint="specify one with advertise_addr=…",
        details={"candidates": [address for _, address in found]},
    )


def _resolve(host: str, sentence: str) -> str:
    """An IP address, or the address of the interface of this name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    named = next((one for one in interfaces() if one.name == host), None)
    if named is None:
        raise InvalidArgument(sentence)
    usable = named.usable(4) or named.usable(6)
    if not usable:
        raise InvalidArgument(f"interface {host} has no usable IPv4 or IPv6 address")
    if len(usable) > 1:
        raise InvalidArgument(
            f"interface {host} has more than one IPv{_version(usable[0])} address "
            f"({usable[0]} and {usable[1]})",
            hint="name the address instead of the interface",
            details={"candidates": list(usable)},
        )
    return usable[0]


def _is_own(host: str) -> bool:
    """Whether this system can listen at ``host``."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def system_addresses(version: int = 4) -> list[tuple[str, str]]:
    """(interface, address of IP ``version``): where others may find this system, in order.

    As Docker does, devices go before what is made of software (bridges to containers above all),
    which counts where no device has an address: a container's own interface is such a one.
    """
    up = [one for one in interfaces() if one.is_up and not one.is_loopback]
    devices = [one for one in up if not one.kind and one.usable(version)]
    return [(one.name, address) for one in devices or up for address in one.usable(version)]


def _version(host: str) -> int:
    return ipaddress.ip_address(host).version


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
