"""Text to numbers and back, and what a network may ask for.

A subnet is (bits of its family, first address, prefix length) underneath; a CIDR text with host
bits set means its network, as in Docker. The forms that Python's ``ipaddress`` accepts beyond
Docker's (no prefix, a netmask, a zone) are refused.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from pyswarm.errors import InvalidArgument

IPV4_BITS = 32
IPV6_BITS = 128


def parse_address(text: str) -> tuple[int, int]:
    """(bits of the family, number) of an address; ValueError when it is none."""
    if ":" not in text:
        return IPV4_BITS, int(IPv4Address(text))
    if "%" in text:
        raise AddressValueError(f"zones are not allowed in {text!r}")
    return IPV6_BITS, int(IPv6Address(text))


def parse_cidr(text: str) -> tuple[int, int, int]:
    """(bits, first address, prefix length) of a CIDR text; ValueError when it is none."""
    address, slash, prefix_text = text.partition("/")
    if not slash or not (prefix_text.isascii() and prefix_text.isdigit()):
        raise ValueError(f"invalid CIDR address: {text}")
    bits, number = parse_address(address)
    prefix = int(prefix_text)
    if prefix > bits or len(prefix_text) > 3:
        raise ValueError(f"invalid CIDR address: {text}")
    host_bits = bits - prefix
    return bits, number >> host_bits << host_bits, prefix


def format_address(bits: int, number: int) -> str:
    """The usual text of an address."""
    if bits == IPV4_BITS:
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return str(IPv6Address(number))


def format_cidr(bits: int, number: int, prefix: int) -> str:
    """The usual text of a subnet, or of an address with its network's prefix."""
    return f"{format_address(bits, number)}/{prefix}"


def _contains(outer: tuple[int, int, int], bits: int, number: int) -> bool:
    shift = outer[0] - outer[2]
    return outer[0] == bits and outer[1] >> shift == number >> shift


def check_ipam_config(subnet: str, gateway: str | None = None, range: str | None = None) -> None:
    """Refuse what no network can have.

    Raises:
        InvalidArgument: with Docker's sentence, each beginning ``ipam configuration: ``.
    """
    try:
        outer = parse_cidr(subnet)
    except ValueError:
        raise InvalidArgument(f"ipam configuration: invalid subnet {subnet}") from None
    if range:
        try:
            inner = parse_cidr(range)
        except ValueError:
            raise InvalidArgument(f"ipam configuration: invalid range {range}") from None
        if not _contains(outer, *inner[:2]) or inner[2] < outer[2]:
            raise InvalidArgument(
                f"ipam configuration: subnet {subnet} does not contain range {range}"
            )
    if gateway:
        try:
            bits, number = parse_address(gateway)
        except ValueError:
            raise InvalidArgument(f"ipam configuration: invalid gateway {gateway}") from None
        if not _contains(outer, bits, number):
            raise InvalidArgument(
                f"ipam configuration: subnet {subnet} does not contain gateway {gateway}"
            )
