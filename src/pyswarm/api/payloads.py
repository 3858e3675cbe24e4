"""``/secrets`` and ``/configs``: create, list, inspect, update, remove.

The two differ in words, in the filter ``names``, and in that a config's payload is shown. Payloads
are sealed before they become part of a command.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, TypeAlias

from pyswarm.api.asks import CheckDriver, Do, Live, OpenSealed, Read, Seal
from pyswarm.api.bodies import decode
from pyswarm.api.convert import Said, config_spec_of, secret_spec_of, show_config, show_secret
from pyswarm.api.convert.shapes import CONFIG_SPEC, SECRET_SPEC
from pyswarm.api.errors import Refused
from pyswarm.api.filters import Filters, filters_of, version_of
from pyswarm.api.lookup import find, found, in_order, labels_match
from pyswarm.api.messages import Conversation, Handler, HttpRequest, Response, Route
from pyswarm.api.rendering import array, created, fragment
from pyswarm.errors import NotFound
from pyswarm.model import Config, Driver, Sealed, Secret
from pyswarm.model.requests import (
    CreateConfig,
    CreateSecret,
    RemoveConfig,
    RemoveSecret,
    UpdateConfig_,
    UpdateSecret,
)
from pyswarm.store import Reader

Kind: TypeAlias = Literal["secret", "config"]

SECRET_FILTERS = ("names", "name", "id", "label")
CONFIG_FILTERS = ("name", "id", "label")
DONE = Response(200, content_type="")
GONE = Response(204, content_type="")


# -- secrets


def create_secret(request: HttpRequest) -> Conversation:
    """A new secret; answered with its id."""
    body = Said(decode(request, SECRET_SPEC))
    spec = secret_spec_of(body)
    payload = yield from _sealed(body.data("Data"))
    if spec.driver is not None:
        yield from _check_driver(spec.driver)
    secret: Secret = yield Do(CreateSecret(spec, payload))
    return created(secret.id)


def _check_driver(driver: Driver) -> Generator[Any, Any, None]:
    try:
        yield CheckDriver(driver.name)
    except NotFound as error:  # SwarmKit's registry of plugins names no code
        text = f"rpc error: code = Unknown desc = {error.message}"
        raise Refused(500, text) from None


def list_secrets(request: HttpRequest) -> Conversation:
    """The secrets, without what they hold."""
    filters = filters_of(request, SECRET_FILTERS)

    def question(reader: Reader, live: Live) -> bytes:
        chosen = _chosen(reader, "secret", filters)
        return array(live.rendered.of(secret, show_secret) for secret in chosen)

    return Response(200, (yield Read(question)))


def inspect_secret(request: HttpRequest, reference: str) -> Conversation:
    """One secret, without what it holds."""

    def question(reader: Reader, live: Live) -> bytes:
        return live.rendered.of(find(reader, live, "secret", reference), show_secret)

    return Response(200, (yield Read(question)) + b"\n")


# -- configs


def create_config(request: HttpRequest) -> Conversation:
    """A new config; answered with its id."""
    body = Said(decode(request, CONFIG_SPEC))
    payload = yield from _sealed(body.data("Data"))
    config: Config = yield Do(CreateConfig(config_spec_of(body), payload))
    return created(config.id)


def list_configs(request: HttpRequest) -> Conversation:
    """The configs with what they hold."""
    filters = filters_of(request, CONFIG_FILTERS)
    configs: list[Config] = yield Read(lambda reader, _: _chosen(reader, "config", filters))
    items = []
    for config in configs:
        items.append((yield from _opened(config)))
    return Response(200, array(items))


def inspect_config(request: HttpRequest, reference: str) -> Conversation:
    """One config with what it holds."""
    config: Config = yield Read(found("config", reference))
    return Response(200, (yield from _opened(config)) + b"\n")


def _opened(config: Config) -> Generator[Any, Any, bytes]:
    data = b"" if config.payload is None else (yield OpenSealed(config.payload))
    return fragment(show_config(config, data))


# -- both


def _sealed(data: bytes) -> Generator[Any, Any, Sealed | None]:
    """No payload at all is for the managers to refuse."""
    return (yield Seal(data)) if data else None


def _chosen(reader: Reader, kind: Kind, filters: Filters) -> Sequence[Any]:
    return [
        one
        for one in in_order(reader.all(kind))
        if not getattr(one, "internal", False)
        and _is_named(one, filters)
        and labels_match(filters.get("label", ()), one.spec.labels)
    ]


def _is_named(one: Secret | Config, filters: Filters) -> bool:
    """Of ids, names and beginnings of names one that fits is enough, in any case of letters: so
    are those of secrets and configs looked up in Docker, and of them alone."""
    ids, names, starts = (filters.get(key, ()) for key in ("id", "names", "name"))
    if not ids and not names and not starts:
        return True
    name = one.spec.name.lower()
    return (
        one.id.startswith(ids)
        or name in map(str.lower, names)
        or name.startswith(tuple(map(str.lower, starts)))
    )


def _update(
    kind: Kind, request: HttpRequest, reference: str, command: Callable[..., Any]
) -> Conversation:
    """New labels; a body that says anything else anew is refused."""
    body = Said(decode(request, SECRET_SPEC if kind == "secret" else CONFIG_SPEC))
    version = version_of(request, kind)
    current = yield Read(found(kind, reference))
    payload = yield from _sealed(body.data("Data"))
    if body.text("Name") != current.spec.name or not _is_same(payload, current.payload):
        raise Refused(
            400, "rpc error: code = InvalidArgument desc = only updates to Labels are allowed"
        )
    yield Do(command(current.id, version, body.map("Labels")))
    return DONE


def _is_same(payload: Sealed | None, current: Sealed | None) -> bool:
    """Whether the payload is not said, or the one that is there."""
    return payload is None or (current is not None and payload.digest == current.digest)


def _remove(kind: Kind, reference: str, command: Callable[[str], Any]) -> Conversation:
    current = yield Read(found(kind, reference))
    yield Do(command(current.id))
    return GONE


def update_secret(request: HttpRequest, reference: str) -> Conversation:
    """New labels for a secret."""
    return (yield from _update("secret", request, reference, UpdateSecret))


def update_config(request: HttpRequest, reference: str) -> Conversation:
    """New labels for a config."""
    return (yield from _update("config", request, reference, UpdateConfig_))


def remove_secret(request: HttpRequest, reference: str) -> Conversation:
    """Remove a secret that no service uses."""
    return (yield from _remove("secret", reference, RemoveSecret))


def remove_config(request: HttpRequest, reference: str) -> Conversation:
    """Remove a config that no service uses."""
    return (yield from _remove("config", reference, RemoveConfig))


def _routes(path: str, handlers: Sequence[Handler]) -> tuple[Route, ...]:
    listing, creating, inspecting, updating, removing = handlers
    return (
        Route("GET", path, listing),
        Route("POST", f"{path}/create", creating),
        Route("GET", f"{path}/{{id}}", inspecting),
        Route("POST", f"{path}/{{id}}/update", updating),
        Route("DELETE", f"{path}/{{id}}", removing),
    )


ROUTES: tuple[Route, ...] = (
    *_routes(
        "/secrets", (list_secrets, create_secret, inspect_secret, update_secret, remove_secret)
    ),
    *_routes(
        "/configs", (list_configs, create_config, inspect_config, update_config, remove_config)
    ),
)
