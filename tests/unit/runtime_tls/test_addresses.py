"""Where to listen and what to advertise, with Docker's sentences."""

from __future__ import annotations

import socket

import pytest

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.tls import addresses
from pyswarm.runtime.tls.addresses import Address, advertise_address, listen_address
from pyswarm.runtime.tls.interfaces import Interface, interfaces


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 2377),
        ("192.0.2.1:9", "192.0.2.1", 9),
        ("[::1]:9", "::1", 9),
        ("::1", "::1", 2377),
        ("[2001:db8::1]", "2001:db8::1", 2377),
        ("host.example:80", "host.example", 80),
    ],
)
def test_addresses_are_split(text: str, host: str, port: int) -> None:
    assert addresses.split(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", ":9", "1.2.3.4:x", "1.2.3.4:99999", "1.2.3.4:-1"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        addresses.split(text)


def test_the_default_is_every_address() -> None:
    assert listen_address(None) == Address("0.0.0.0", 2377)
    assert listen_address("lo:7").host == "127.0.0.1"
    assert listen_address(None, "127.0.0.5:4000") == Address("127.0.0.5", 4000)
    assert listen_address(None, "192.0.2.9:4000") == Address("0.0.0.0", 2377)  # behind a NAT


def test_bad_listening_addresses() -> None:
    with pytest.raises(InvalidArgument, match=r'could not parse listen address "1\.2\.3\.4:x"'):
        listen_address("1.2.3.4:x")
    with pytest.raises(InvalidArgument, match="listen address must be an IP address or network"):
        listen_address("nothing0")


def test_what_is_advertised() -> None:
    every, one = Address("0.0.0.0", 2377), Address("127.0.0.2", 9)
    assert advertise_address(None, one) == one
    assert advertise_address("192.0.2.1", one) == Address("192.0.2.1", 9)
    assert advertise_address("192.0.2.1:80", every) == Address("192.0.2.1", 80)
    assert advertise_address(None, every, "192.0.2.7:1") == Address("192.0.2.7", 1)
    for text in ("0.0.0.0", "nothing0", "::", ""):
        with pytest.raises(InvalidArgument, match="advertise address must be a non-zero IP"):
            advertise_address(text, every)


def test_the_only_address_of_the_system_is_advertised(monkeypatch: pytest.MonkeyPatch) -> None:
    every = Address("0.0.0.0", 2377)
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(addresses, "system_addresses", lambda version: found)
    with pytest.raises(InvalidArgument, match="could not find the system's IP address"):
        advertise_address(None, every)
    found.append(("eth0", "192.0.2.1"))
    assert advertise_address(None, every) == Address("192.0.2.1", 2377)
    found.append(("eth1", "192.0.2.2"))
    with pytest.raises(InvalidArgument) as raised:
        advertise_address(None, every)
    assert str(raised.value) == (
        "could not choose an IP address to advertise since this system has multiple addresses "
        "on different interfaces (192.0.2.1 on eth0 and 192.0.2.2 on eth1)"
    )
    found[1] = ("eth0", "192.0.2.2")
    with pytest.raises(InvalidArgument, match=r"on interface eth0 \(192.0.2.1 and 192.0.2.2\)"):
        advertise_address(None, every)


def link(name: str, *found: str, kind: str = "", is_up: bool = True) -> Interface:
    return Interface(name, is_up, name == "lo", kind, found)


LO = link("lo", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("links", "wanted"),
    [
        ([LO], []),
        ([LO, link("eth0", "192.0.2.1", "2001:db8::1")], ["192.0.2.1"]),
        ([LO, link("eth0", "2001:db8::1", "fe80::1")], []),
        ([LO, link("eth0", "192.0.2.1", "192.0.2.2")], ["192.0.2.1", "192.0.2.2"]),
        ([link("eth0", "192.0.2.1"), link("eth1", "192.0.2.2", is_up=False)], ["192.0.2.1"]),
        ([link("eth0", "192.0.2.1"), link("docker0", "172.17.0.1", kind="bridge")], ["192.0.2.1"]),
        ([LO, link("eth0"), link("br0", "192.0.2.1", kind="bridge")], ["192.0.2.1"]),
        ([link("eth0", "169.254.1.1"), link("eth1", "192.0.2.1")], ["192.0.2.1"]),
    ],
)
def test_where_a_system_may_be_found(
    monkeypatch: pytest.MonkeyPatch, links: list[Interface], wanted: list[str]
) -> None:
    monkeypatch.setattr(addresses, "interfaces", lambda: tuple(links))
    assert [address for _, address in addresses.system_addresses()] == wanted


def test_who_listens_with_ipv6_is_found_there(monkeypatch: pytest.MonkeyPatch) -> None:
    links = (LO, link("eth0", "192.0.2.1", "2001:db8::1", "fe80::1"))
    monkeypatch.setattr(addresses, "interfaces", lambda: links)
    assert advertise_address(None, Address("::", 9)) == Address("2001:db8::1", 9)
    assert advertise_address(None, Address("0.0.0.0", 9)) == Address("192.0.2.1", 9)


def test_an_interface_stands_for_its_only_address(monkeypatch: pytest.MonkeyPatch) -> None:
    every = Address("0.0.0.0", 2377)
    links = (link("one", "192.0.2.1"), link("two", "192.0.2.2", "192.0.2.3"), link("none"))
    monkeypatch.setattr(addresses, "interfaces", lambda: links)
    assert advertise_address("one:9", every) == Address("192.0.2.1", 9)
    several = r"interface two has more than one IPv4 address \(192\.0\.2\.2 and 192\.0\.2\.3\)"
    for name, words in (("two", several), ("none", "interface none has no usable IPv4 or IPv6")):
        with pytest.raises(InvalidArgument, match=words):
            listen_address(name)
        with pytest.raises(InvalidArgument, match=words):
            advertise_address(name, every)


def test_the_interfaces_of_this_host() -> None:
    found = {one.name: one for one in interfaces()}
    assert sorted(found) == sorted(name for _, name in socket.if_nameindex())
    assert found["lo"].is_loopback and "127.0.0.1" in found["lo"].addresses
