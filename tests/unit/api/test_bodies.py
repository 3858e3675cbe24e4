"""Bodies: what Go's decoder takes and says (recorded from Docker 20.10; newer: api-cli A1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyswarm.api import bodies, gojson
from pyswarm.api.errors import Refused
from pyswarm.api.messages import HttpRequest

SPEC = bodies.Struct(
    "swarm.ServiceSpec",
    Name=bodies.STRING,
    Labels=bodies.Map(bodies.STRING),
    Args=bodies.List(bodies.STRING),
    Data=bodies.BYTES,
    Init=bodies.BOOL,
    Ratio=bodies.FLOAT,
    Mode=bodies.Struct(
        "swarm.ServiceMode",
        Replicated=bodies.Struct("swarm.ReplicatedService", Replicas=bodies.UINT64),
    ),
    Ports=bodies.List(bodies.Struct("swarm.PortConfig", PublishedPort=bodies.UINT32)),
    Ulimits=bodies.List(bodies.Struct("units.Ulimit"), pointers=True),
)
JSON = {"content-type": "application/json"}


def decoded(body: bytes, version: tuple[int, int] = (1, 41), headers: Any = JSON) -> Any:
    request = HttpRequest("POST", "/x", version, headers=headers, body=body)
    return bodies.decode(request, SPEC)


def refused(body: bytes, version: tuple[int, int] = (1, 41), headers: Any = JSON) -> str:
    with pytest.raises(Refused) as caught:
        decoded(body, version, headers)
    assert caught.value.status == 400
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "got EOF while reading request body"),
        (b"  \n", "got EOF while reading request body"),
        (b"{", "unexpected EOF"),
        (b'{"Name":', "unexpected EOF"),
        (b'{"Name', "unexpected EOF"),
        (b"{bad json", "invalid character 'b' looking for beginning of object key string"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"\xef\xbb\xbf{}", "invalid character '\u00ef' looking for beginning of value"),
        ("ä".encode(), "invalid character '\u00c3' looking for beginning of value"),
        (b'{"Name" 1}', "invalid character '1' after object key"),
        (b'{"Name":"a" "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"Args":["a" 1]}', "invalid character '1' after array element"),
        (b'{"Name":"a",}', "invalid character '}' looking for beginning of object key string"),
        (b'{"Name":"a\nb"}', "invalid character '\\n' in string literal"),
        (b'{"Name":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"Name":"\\u12g4"}', "invalid character 'g' in \\u hexadecimal character escape"),
        (b'{"Name":tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b'{"Name":NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"Ratio":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"Ratio":1e+}', "invalid character '}' in exponent of numeric literal"),
        (b'{"Ratio":-x}', "invalid character 'x' in numeric literal"),
        (b'{"Ratio":01}', "invalid character '1' after object key:value pair"),
        (b"[]", "json: cannot unmarshal array into Go value of type swarm.ServiceSpec"),
        (b"3", "json: cannot unmarshal number into Go value of type swarm.ServiceSpec"),
        (b'{"Data":"%%%"}', "illegal base64 data at input byte 0"),
        (b'{"Data":"YWFh*"}', "illegal base64 data at input byte 4"),
        (b'{"Data":"eA"}', "illegal base64 data at input byte 0"),
        (b'{"Data":"eA="}', "illegal base64 data at input byte 3"),
        (b'{"Data":"eA=x"}', "illegal base64 data at input byte 2"),
        (b'{"Data":"eA==x"}', "illegal base64 data at input byte 4"),
        (b'{"Data":"YWFh="}', "illegal base64 data at input byte 4"),
        (b'{"Data":"YWE=YWE="}', "illegal base64 data at input byte 4"),
        (
            b'{"Ulimits":1}',
            "json: cannot unmarshal number into Go struct field ServiceSpec.Ulimits of type "
            "[]*units.Ulimit",
        ),
    ],
)
def test_what_is_refused_as_go_says_it(body: bytes, text: str) -> None:
    assert refused(body) == text


@pytest.mark.parametrize(
    ("body", "value", "field"),
    [
        ({"Name": 3}, "number", "ServiceSpec.Name of type string"),
        ({"Name": True}, "bool", "ServiceSpec.Name of type string"),
        ({"Labels": []}, "array", "ServiceSpec.Labels of type map[string]string"),
        ({"Labels": {"a": 1}}, "number", "ServiceSpec.Labels of type string"),
        ({"Args": "x"}, "string", "ServiceSpec.Args of type []string"),
        ({"Args": [{}]}, "object", "ServiceSpec.Args of type string"),
        ({"Init": "yes"}, "string", "ServiceSpec.Init of type bool"),
        ({"Ratio": "1"}, "string", "ServiceSpec.Ratio of type float64"),
        ({"Data": 1}, "number", "ServiceSpec.Data of type []uint8"),
        ({"Mode": "x"}, "string", "ServiceSpec.Mode of type swarm.ServiceMode"),
        (
            {"Mode": {"Replicated": {"Replicas": -1}}},
            "number -1",
            "ReplicatedService.Mode.Replicated.Replicas of type uint64",
        ),
        (
            {"Mode": {"Replicated": {"Replicas": "3"}}},
            "string",
            "ReplicatedService.Mode.Replicated.Replicas of type uint64",
        ),
        (
            {"Mode": {"Replicated": {"Replicas": 1.5}}},
            "number 1.5",
            "ReplicatedService.Mode.Replicated.Replicas of type uint64",
        ),
        (
            {"Ports": [{"PublishedPort": 2**32}]},
            "number 4294967296",
            "PortConfig.Ports.PublishedPort of type uint32",
        ),
    ],
)
def test_a_wrong_type_names_the_field(body: Any, value: str, field: str) -> None:
    text = f"json: cannot unmarshal {value} into Go struct field {field}"
    raw = json.dumps(body).encode()
    assert refused(raw) == text
    assert refused(raw, (1, 44)) == f"invalid JSON: {text}"


def test_what_is_taken() -> None:
    body = {"name": "a", "NEW": {"x": [1]}, "Labels": None, "Args": [None, "b"], "Data": "YWFh"}
    assert decoded(json.dumps(body).encode()) == {"Name": "a", "Args": [None, "b"], "Data": b"aaa"}
    assert decoded(b"null") == {}
    assert decoded(b' {"Ratio": 3} ') == {"Ratio": 3}


def test_what_is_no_character_becomes_the_replacement() -> None:
    assert decoded(b'{"Name":"\\ud800x"}') == {"Name": "\ufffdx"}
    assert decoded(b'{"Name":"\xff"}') == {"Name": "\ufffd"}
    assert decoded(b'{"Name":"\\ud83d\\ude00"}') == {"Name": "\U0001f600"}


def test_text_after_the_value() -> None:
    assert decoded(b'{"Name":"a"} x') == {"Name": "a"}  # 20.10 reads one value
    assert refused(b'{"Name":"a"} x', (1, 44)) == "unexpected content after JSON"


def test_newer_clients_may_leave_the_body_out_but_must_name_its_type() -> None:
    assert decoded(b"", (1, 44), {}) == {}
    assert refused(b"{}", (1, 44), {"content-type": "text/plain"}) == (
        "unsupported Content-Type header (text/plain): must be 'application/json'"
    )
    assert decoded(b"{}", (1, 44), {"content-type": "application/json; charset=utf-8"}) == {}
    assert decoded(b"{}", (1, 41), {}) == {}


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_without_recursion(bracket: bytes) -> None:
    assert refused(bracket * 100_000) == "exceeded max depth"
    text = b'{"Name":"' + b"[" * 10_000 + b'"}'
    assert decoded(text) == {"Name": "[" * 10_000}


def test_a_number_of_very_many_digits_is_refused() -> None:
    assert "number" in refused(b'{"Ratio":' + b"9" * 5000 + b"}")
    assert gojson.parse(b"[" + b"9" * 300 + b"]")[0] == [int("9" * 300)]
