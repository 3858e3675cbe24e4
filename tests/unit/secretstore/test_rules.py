"""Names, sizes and Docker's sentences (spec: secrets-configs, 1)."""

from __future__ import annotations

import pytest

from pyswarm.errors import AlreadyExists, InvalidArgument
from pyswarm.model.specs import ConfigSpec, Driver, SecretSpec
from pyswarm.secretstore import (
    already_exists_error,
    check_name,
    check_only_labels_changed,
    check_payload_size,
    in_use_error,
)


@pytest.mark.parametrize("name", ["a", "A1", "a-b_c.d", "0", "a" * 64, "a..b", "a--1"])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["-a", "a-", ".a", "a.", "_", "a b", "a/b", "a" * 65, "ä", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_name(name)
    assert str(caught.value) == (
        "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, "
        "and the start and end character must be [a-zA-Z0-9]"
    )


def test_no_name() -> None:
    with pytest.raises(InvalidArgument, match=r"^name must be provided$"):
        check_name("")


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_sizes(kind) -> None:
    check_payload_size(kind, 1)
    check_payload_size(kind, 511_999)
    for length in (0, 512_000):
        with pytest.raises(InvalidArgument) as caught:
            check_payload_size(kind, length)
        assert str(caught.value) == (
            f"{kind} data must be larger than 0 and less than 512000 bytes"
        )


def test_sentences() -> None:
    one = in_use_error("secret", "s", ["a"])
    two = in_use_error("config", "c", ["a", "b"])
    assert str(one) == "secret 's' is in use by the following service: a"
    assert str(two) == "config 'c' is in use by the following services: a, b"
    assert isinstance(one, InvalidArgument)
    exists = already_exists_error("config", "c")
    assert isinstance(exists, AlreadyExists) and str(exists) == "config c already exists"


def test_only_labels_may_change() -> None:
    spec = SecretSpec("s")
    check_only_labels_changed(spec, SecretSpec("s", labels={"a": "b"}), same_data=True)
    refused = [
        (SecretSpec("t"), True),
        (SecretSpec("s", templating="golang"), True),
        (SecretSpec("s", driver=Driver("d")), True),
        (SecretSpec("s", templating_options={"a": "b"}), True),
        (SecretSpec("s"), False),
    ]
    for after, same_data in refused:
        with pytest.raises(InvalidArgument) as refused:
            check_only_labels_changed(spec, after, same_data)
        assert str(refused.value) == "only updates to Labels are allowed"
    with pytest.raises(InvalidArgument):
        check_only_labels_changed(ConfigSpec("c"), ConfigSpec("d"), same_data=True)
