"""Docker's add and remove forms of an update: ``env_add=…``, ``publish_rm=…``, ``secret_add=…``.

A form changes one list or mapping of a service's spec and leaves the rest of it alone. Each entry
has a *key* that tells it from the others (of a variable its name, of a mount its target, of a port
what it publishes); adding an entry under a key that is there replaces it, where Docker does so too.
Removals are made first, so that a secret can be rotated in one change: ``secret_rm=["key"]``,
``secret_add=[{"source": "key_v2", "target": "key"}]``.

Contradictions are refused, with nothing changed: an entry that is removed and added as it was, one
that is given twice, a list that is given as a whole and by forms, a name that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

import attrs

from pyswarm.errors import InvalidArgument, NotFound
from pyswarm.model import build
from pyswarm.model.objects import Config, Network, Secret
from pyswarm.model.parse import parse_mount, parse_ports, parse_preference
from pyswarm.model.resources import GenericResource
from pyswarm.model.specs import (
    ConfigReference,
    DNSConfig,
    EndpointSpec,
    Mount,
    NetworkAttachmentConfig,
    PortConfig,
    Preference,
    SecretReference,
    ServiceSpec,
    Ulimit,
)

Path = tuple[str, ...]


class ChangeForms(TypedDict, total=False):
    """The keywords. A single text stands for a list of one."""

    env_add: Mapping[str, str | None] | Sequence[str] | str
    env_rm: Sequence[str] | str
    label_add: Mapping[str, str] | Sequence[str] | str
    label_rm: Sequence[str] | str
    container_label_add: Mapping[str, str] | Sequence[str] | str
    container_label_rm: Sequence[str] | str
    sysctl_add: Mapping[str, str] | Sequence[str] | str
    sysctl_rm: Sequence[str] | str
    constraint_add: Sequence[str] | str
    constraint_rm: Sequence[str] | str
    placement_pref_add: Sequence[str | Preference] | str | Preference
    placement_pref_rm: Sequence[str | Preference] | str | Preference
    publish_add: Sequence[int | str | PortConfig] | int | str | PortConfig
    publish_rm: Sequence[int | str | PortConfig] | int | str | PortConfig
    mount_add: Sequence[str | Mount] | str | Mount
    mount_rm: Sequence[str] | str
    network_add: Sequence[str | Network | NetworkAttachmentConfig] | str
    network_rm: Sequence[str | Network] | str
    secret_add: Sequence[str | Secret | SecretReference | Mapping[str, Any]] | str
    secret_rm: Sequence[str | Secret] | str
    config_add: Sequence[str | Config | ConfigReference | Mapping[str, Any]] | str
    config_rm: Sequence[str | Config] | str
    group_add: Sequence[str] | str
    group_rm: Sequence[str] | str
    host_add: Sequence[str] | str
    host_rm: Sequence[str] | str
    dns_add: Sequence[str] | str
    dns_rm: Sequence[str] | str
    dns_search_add: Sequence[str] | str
    dns_search_rm: Sequence[str] | str
    dns_option_add: Sequence[str] | str
    dns_option_rm: Sequence[str] | str
    ulimit_add: Sequence[str | Ulimit] | str | Ulimit
    ulimit_rm: Sequence[str] | str
    generic_resource_add: Mapping[str, int] | Sequence[str | GenericResource] | str
    generic_resource_rm: Sequence[str] | str


@attrs.frozen
class Form:
    """One list or mapping of a spec: ``what`` it holds, where, and how its entries are told apart.

    ``is_value`` says that the key is the whole entry, or that an entry replaces one of its key:
    then removing and adding the same key is a contradiction whatever else it says.
    """

    what: str
    path: Path
    whole: str
    parse: Callable[[Any], Iterable[Any]]
    key: Callable[[Any], Any]
    removed: Callable[[Any], Any] = lambda item: item
    is_value: bool = True
    is_mapping: bool = False
    replaces: bool = True

    def made(self, item: Any) -> tuple[Any, ...]:
        """The entries that something given stands for; ``InvalidArgument`` if it makes no sense."""
        try:
            return tuple(self.parse(item))
        except (TypeError, ValueError, AttributeError):
            raise InvalidArgument(f"invalid {self.what}: {type(item).__name__}") from None

    def gone(self, item: Any) -> Any:
        """The key of what is to be removed."""
        try:
            key = self.removed(item)
            dict.fromkeys((key,))  # it must be able to be one
        except (TypeError, ValueError, AttributeError):
            raise InvalidArgument(f"invalid {self.what}: {type(item).__name__}") from None
        return key


def _text(item: Any) -> tuple[str]:
    if not isinstance(item, str) or not item:
        raise InvalidArgument(f"expected a text, not {item!r}")
    return (item,)


def _pair(item: Any) -> tuple[tuple[str, str]]:
    if isinstance(item, str):
        key, _, content = item.partition("=")
        item = (key, content)
    key, content = item
    if not isinstance(key, str) or not isinstance(content, str) or not key:
        raise InvalidArgument(f"expected KEY=VALUE, not {item!r}")
    return ((key, content),)


def _variable(item: Any) -> tuple[str, ...]:
    if isinstance(item, tuple):
        item = build.environment({item[0]: item[1]})[0]
    if not isinstance(item, str) or not item.partition("=")[0]:
        raise InvalidArgument(f"expected NAME=VALUE, not {item!r}")
    return (item,)


def _port_key(port: PortConfig) -> Any:
    return (port.target_port, port.protocol)


def _removed_port(item: Any) -> Any:
    (port,) = parse_ports(item)
    return _port_key(port)


def _removed_mount(item: Any) -> str:
    return item.target if isinstance(item, Mount) else str(item)


def _removed_name(item: Any) -> str:
    """The name of a secret or config: its own, or that of an object or handle."""
    if isinstance(item, (SecretReference, ConfigReference)):
        return item.secret_name if isinstance(item, SecretReference) else item.config_name
    if isinstance(item, str):
        return item
    return str(build.reference(item)[1])


def _removed_network(item: Any) -> str:
    return build.network(item).target


def _ulimit(item: Any) -> tuple[Ulimit]:
    if isinstance(item, Ulimit):
        return (item,)
    name, _, amounts = str(item).partition("=")
    soft, _, hard = amounts.partition(":")
    try:
        return (Ulimit(name, int(soft), int(hard or soft)),)
    except ValueError:
        raise InvalidArgument(
            f"invalid ulimit: {item!r}", hint='write it like "nofile=1024:2048"'
        ) from None


def _generic(item: Any) -> tuple[GenericResource]:
    if isinstance(item, GenericResource):
        return (item,)
    kind, count = item if isinstance(item, tuple) else str(item).partition("=")[::2]
    try:
        return (GenericResource(kind, int(count)),)
    except (TypeError, ValueError):
        raise InvalidArgument(
            f"invalid generic resource: {item!r}", hint='write it like "gpu=2"'
        ) from None


def _itself(item: Any) -> Any:
    return item


def _first(pair: Any) -> Any:
    return pair[0]


_CONTAINER = ("task", "container")
_PLACEMENT = ("task", "placement")
_DNS = (*_CONTAINER, "dns")

FORMS: dict[str, Form] = {
    "env": Form(
        "environment variable",
        (*_CONTAINER, "env"),
        "env",
        _variable,
        lambda item: item.partition("=")[0],
    ),
    "label": Form("label", ("labels",), "labels", _pair, _first, is_mapping=True),
    "container_label": Form(
        "container label", (*_CONTAINER, "labels"), "container_labels", _pair, _first,
        is_mapping=True,
    ),
    "sysctl": Form("sysctl", (*_CONTAINER, "sysctls"), "sysctls", _pair, _first, is_mapping=True),
    "constraint": Form(
        "constraint", (*_PLACEMENT, "constraints"), "constraints", _text, _itself
    ),
    "placement_pref": Form(
        "placement preference", (*_PLACEMENT, "preferences"), "preferences",
        lambda item: (parse_preference(item),), _itself, parse_preference,
    ),
    "publish": Form(
        "published port", ("endpoint", "ports"), "ports", parse_ports, _port_key, _removed_port,
        is_value=False, replaces=False,
    ),
    "mount": Form(
        "mount", (*_CONTAINER, "mounts"), "mounts", lambda item: (parse_mount(item),),
        lambda mount: mount.target, _removed_mount, is_value=False,
    ),
    "network": Form(
        "network", ("task", "networks"), "networks", lambda item: (build.network(item),),
        lambda config: config.target, _removed_network, is_value=False, replaces=False,
    ),
    "secret": Form(
        "secret", (*_CONTAINER, "secrets"), "secrets", lambda item: (build.secret(item),),
        lambda ref: ref.secret_name, _removed_name, is_value=False, replaces=False,
    ),
    "config": Form(
        "config", (*_CONTAINER, "configs"), "configs", lambda item: (build.config(item),),
        lambda ref: ref.config_name, _removed_name, is_value=False, replaces=False,
    ),
    "group": Form("group", (*_CONTAINER, "groups"), "groups", _text, _itself),
    "host": Form("host entry", (*_CONTAINER, "hosts"), "hosts", _text, _itself),
    "dns": Form("name server", (*_DNS, "nameservers"), "dns", _text, _itself),
    "dns_search": Form("search domain", (*_DNS, "search"), "dns", _text, _itself),
    "dns_option": Form("DNS option", (*_DNS, "options"), "dns", _text, _itself),
    "ulimit": Form(
        "ulimit", (*_CONTAINER, "ulimits"), "ulimits", _ulimit, lambda limit: limit.name
    ),
    "generic_resource": Form(
        "generic resource", ("task", "resources", "reservations", "generic"), "generic",
        _generic, lambda resource: resource.kind,
    ),
}  # fmt: skip
"""Name → form; with ``_add`` and ``_rm`` they are the keywords of :class:`ChangeForms`."""

ABSENT: dict[Path, Any] = {("endpoint",): EndpointSpec(), _DNS: DNSConfig()}
"""What a part of a spec is before its first entry, where it may be missing."""


def split_forms(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(keywords that replace, keywords of forms). Raises :class:`InvalidArgument` where a list is
    given as a whole and by forms."""
    forms = {key: content for key, content in options.items() if key in ChangeForms.__annotations__}
    plain = {key: content for key, content in options.items() if key not in forms}
    for key in forms:
        whole = FORMS[_name(key)].whole
        if whole in plain:
            raise InvalidArgument(
                f"{whole} and {key} contradict each other",
                hint="give the whole, or what to add and remove",
            )
    return plain, forms


def apply_forms(
    spec: ServiceSpec,
    forms: Mapping[str, Any],
    *,
    network_id: Callable[[str], str] = _itself,
) -> ServiceSpec:
    """``spec`` with entries removed and added.

    ``network_id`` finds the id of a network by what people call it. Raises
    :class:`InvalidArgument` for a contradiction or a value that cannot be right, and
    :class:`NotFound` for the removal of what is not there.
    """
    for name in dict.fromkeys(_name(key) for key in forms):
        form = FORMS[name]
        removed = [form.gone(item) for item in _items(forms.get(f"{name}_rm", ()))]
        added = [one for item in _items(forms.get(f"{name}_add", ())) for one in form.made(item)]
        if name == "network":
            removed = [network_id(target) for target in removed]
            added = [attrs.evolve(one, target=network_id(one.target)) for one in added]
        spec = _changed(spec, form, removed, added)
    return spec


def form_networks(forms: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``network_add`` and ``network_rm`` call the networks they are about."""
    keys = ("network_add", "network_rm")
    return tuple(build.network(item).target for key in keys for item in _items(forms.get(key, ())))


def _name(key: str) -> str:
    return key.rpartition("_")[0]


def _items(content: Any) -> list[Any]:
    """What is given, as a list: a mapping's pairs, a lone text or object."""
    if isinstance(content, Mapping):
        return [content] if "source" in content or "name" in content else list(content.items())
    if isinstance(content, (str, bytes, int)) or not isinstance(content, Iterable):
        return [content]
    return list(content)


def _changed(spec: ServiceSpec, form: Form, removed: list[Any], added: list[Any]) -> ServiceSpec:
    present = _present(spec, form)
    _check(spec, form, present, removed, added)
    gone = dict.fromkeys(removed)
    kept = [item for item in present if form.key(item) not in gone]
    for item in added:
        key = form.key(item)
        place = next((i for i, one in enumerate(kept) if form.key(one) == key), None)
        if item in kept:
            continue
        if place is not None and form.replaces:
            kept[place] = item
        else:
            kept.append(item)
    content = dict(kept) if form.is_mapping else tuple(kept)
    result: ServiceSpec = put(spec, form.path, content)
    return result


def _check(
    spec: ServiceSpec, form: Form, present: list[Any], removed: list[Any], added: list[Any]
) -> None:
    """Refuse what makes no sense, before anything is changed."""
    keys = dict.fromkeys(form.key(item) for item in present)
    for key in removed:
        if key not in keys:
            raise NotFound(f"service {spec.name} has no {form.what} {_shown(key)}")
        if removed.count(key) > 1:
            raise InvalidArgument(f"{form.what} {_shown(key)} is removed twice")
    gone = dict.fromkeys(removed)
    seen: list[Any] = []
    for item in added:
        key = form.key(item)
        if item in seen or (form.replaces and key in map(form.key, seen)):
            raise InvalidArgument(f"{form.what} {_shown(key)} is added twice")
        if key in gone and (form.is_value or item in present or _same(item, key, present)):
            raise InvalidArgument(
                f"{form.what} {_shown(key)} is both removed and added",
                hint="to change it, add it alone; to rotate a secret, add one of another name",
            )
        seen.append(item)
    if form.what == "network":
        for item in added:
            if item.target in keys and item.target not in gone:
                raise InvalidArgument(f"service is already attached to network {item.target}")


def _same(item: Any, key: Any, present: list[Any]) -> bool:
    """Whether a reference by name says what is there already, by id."""
    return isinstance(item, (SecretReference, ConfigReference)) and _plain(item, key) in [
        _plain(one, key) for one in present
    ]


def _plain(ref: Any, name: str) -> Any:
    """A reference as people write it: by name, with the target said."""
    id = "secret_id" if isinstance(ref, SecretReference) else "config_id"
    return attrs.evolve(ref, **{id: "", "target": ref.target or name})


def _present(spec: ServiceSpec, form: Form) -> list[Any]:
    content: Any = spec
    for depth, name in enumerate(form.path):
        content = getattr(content, name)
        if content is None:
            if form.path[: depth + 1] == _CONTAINER:
                raise InvalidArgument(f"service {spec.name} has no containers to change")
            return []
    return list(content.items() if form.is_mapping else content)


def _shown(key: Any) -> str:
    if isinstance(key, Preference):
        return f"spread={key.spread}"
    if isinstance(key, tuple):
        return f"{key[0]}/{key[1]}"
    return str(key)


def put(value: Any, path: Path, content: Any, _above: Path = ()) -> Any:
    """``value`` with ``content`` at ``path``; what is missing on the way is made."""
    name, *rest = path
    if rest:
        inner = getattr(value, name)
        if inner is None:
            inner = ABSENT[(*_above, name)]
        content = put(inner, tuple(rest), content, (*_above, name))
    return attrs.evolve(value, **{name: content})
