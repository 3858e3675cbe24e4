"""Paths, versions, filters and other values of a query."""

from __future__ import annotations

from typing import Any

import pytest

from api_talks import talk, told
from pyswarm.api import filters
from pyswarm.api.errors import Refused
from pyswarm.api.errors import told as told_of
from pyswarm.api.hosting import NoManager, NotLocked
from pyswarm.api.messages import HttpRequest, Response, Route
from pyswarm.api.routes import Router, request_of
from pyswarm.errors import AlreadyExists, NotFound, OutOfSequence, SwarmError, Unavailable


@pytest.mark.parametrize(
    ("method", "target", "status", "text"),
    [
        ("GET", "/v1.41/bogus", 404, "page not found"),
        ("GET", "/bogus", 404, "page not found"),
        ("GET", "*", 404, "page not found"),
        ("GET", "", 404, "page not found"),
        ("PUT", "/v1.41/swarm/init", 404, "page not found"),
        ("GET", "/v1.41/swarm/bogus", 404, "page not found"),
        (
            "GET",
            "/v1.40/swarm",
            400,
            "client version 1.40 is too old. Minimum supported API version is 1.41, please upgrade "
            "your client to a newer version",
        ),
        (
            "GET",
            "/v1.51/swarm",
            400,
            "client version 1.51 is too new. Maximum supported API version is 1.50",
        ),
        ("POST", "/v1.41/build", 501, None),
    ],
)
def test_nobody_answers(method: str, target: str, status: int, text: str | None) -> None:
    found = told(talk(method, target)[0])
    assert found[0] == status
    assert text is None or found[1] == text


@pytest.mark.parametrize("target", ["/v1.41/swarm", "/bogus"])
def test_options_are_asked_of_every_path(target: str) -> None:
    answer = talk("OPTIONS", target)[0]
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, answer.headers) == (200, b"", ())


def _handler(request: HttpRequest, *params: str) -> Any:
    yield from ()
    return Response(200)


def test_patterns_take_parts_or_whole_tails_and_know_their_version() -> None:
    router = Router(
        [
            (
                Route("GET", "/images/{name...}/json", _handler),
                Route("GET", "/things/{id}", _handler, since=(1, 44)),
                Route("GET", "/things/{id}/{other}", _handler),
                Route("GET", "/things", _handler),
            )
        ]
    )
    assert router.find("GET", "/images/a/b:c/json", (1, 41)).params == ("a/b:c",)
    assert router.find("GET", "/things/a/b", (1, 41)).params == ("a", "b")
    assert router.find("GET", "/things/a", (1, 44)).params == ("a",)
    for path in ("/things/a", "/things/", "/things/a/b/c"):
        with pytest.raises(Refused):
            router.find("GET", path, (1, 41))


def test_a_request_is_taken_apart() -> None:
    request = request_of("GET", "/v1.44/x/a%2Fb?a=1&a=2&b=&c=%7B", {})
    assert (request.path, request.version) == ("/x/a/b", (1, 44))
    assert (request.query["a"], request.param("b"), request.param("c")) == (("1", "2"), "", "{")
    assert request_of("GET", "/_ping", {}).version == (1, 50)
    assert request_of("GET", "http://docker/v1.41/info?a=://", {}).path == "/info"
    assert request_of("GET", "/x/http://y", {}).path == "/x/http://y"
    with pytest.raises(Refused):
        request_of("GET", "/x?" + "a=1&" * 1000, {})


# -- filters


def found(text: str, version: tuple[int, int] = (1, 41)) -> Any:
    request = HttpRequest("GET", "/x", version, {"filters": (text,)})
    return filters.filters_of(request, ("name", "label"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("null", {}),
        ('{"name":["a","b"]}', {"name": ("a", "b")}),
        ('{"name":{"a":true}}', {"name": ("a",)}),
        ('{"name":[]}', {"name": ()}),
    ],
)
def test_filters(text: str, value: Any) -> None:
    assert found(text) == value


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("{bad", "invalid character 'b' looking for beginning of object key string"),
        ('{"name"', "unexpected end of JSON input"),
        ("{}x", "invalid character 'x' after top-level value"),
        ("3", "json: cannot unmarshal number into Go value of type map[string]map[string]bool"),
        ('{"name":3}', "json: cannot unmarshal number into Go value of type map[string]bool"),
    ],
)
def test_filters_that_cannot_be_read(text: str, old: str) -> None:
    with pytest.raises(Refused) as caught:
        found(text)
    assert (caught.value.status, str(caught.value)) == (500, old)
    with pytest.raises(Refused) as caught:
        found(text, (1, 44))
    assert str(caught.value) == "invalid filter"


def test_an_unknown_filter() -> None:
    for version, word in (((1, 41), "Invalid"), ((1, 42), "invalid")):
        with pytest.raises(Refused) as caught:
            found('{"bogus":["x"]}', version)
        assert str(caught.value) == f"{word} filter 'bogus'"


def test_all_labels_must_be_there() -> None:
    labels = {"a": "1", "b": ""}
    assert filters.has_labels(labels, ("a", "a=1", "b="))
    assert not filters.has_labels(labels, ("a", "a=2"))
    assert not filters.has_labels(labels, ("c",))


@pytest.mark.parametrize(
    ("text", "value"),
    [("", False), ("0", False), ("no", False), ("None", False), ("1", True), ("bogus", True)],
)
def test_docker_reads_flags_loosely(text: str, value: bool) -> None:
    assert filters.is_true(text) is value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            "swarm",
            "x",
            "invalid swarm version 'x': strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        ("node", "", "invalid node version '': strconv.ParseUint: parsing \"\": invalid syntax"),
        (
            "service",
            "99999999999999999999",
            "invalid service version '99999999999999999999': strconv.ParseUint: parsing "
            '"99999999999999999999": value out of range',
        ),
        ("secret", "-1", "invalid secret version"),
    ],
)
def test_a_version_that_is_none(kind: str, text: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        filters.version_of(HttpRequest("POST", "/x", (1, 41), {"version": (text,)}), kind)
    assert (caught.value.status, str(caught.value)) == (400, message)


# -- errors


@pytest.mark.parametrize(
    ("error", "relayed", "status", "text"),
    [
        (NotFound("service x not found"), False, 404, "service x not found"),
        (
            AlreadyExists("secret a already exists"),
            True,
            409,
            "rpc error: code = AlreadyExists desc = secret a already exists",
        ),
        (
            OutOfSequence("whatever"),
            True,
            500,
            "rpc error: code = Unknown desc = update out of sequence",
        ),
        (
            Unavailable("no leader", details={"managers": 3, "reachable": 1}),
            True,
            500,
            "rpc error: code = Unknown desc = no leader",
        ),
        (NoManager("not here"), False, 503, "not here"),
        (NotLocked(), False, 409, "swarm is not locked"),
        (Refused(418, "no"), True, 418, "no"),
    ],
)
def test_errors_as_docker_says_them(
    error: SwarmError, relayed: bool, status: int, text: str
) -> None:
    assert told_of(error, relayed=relayed) == (status, text)
