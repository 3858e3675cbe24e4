"""What a secret or config may be called, how large it may be, and the sentences of refusal.

One place for both kinds, because all the rules are the same and only the word differs. The
sentences are Docker's (SwarmKit ``controlapi/secret.go``, ``config.go``, ``api/validation``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pyswarm.errors import AlreadyExists, InvalidArgument, NotFound
from pyswarm.model.specs import ConfigSpec, SecretSpec

Kind = Literal["secret", "config"]

DATA_BYTES_LIMIT = 512_000
"""Payloads are smaller than this, configs too (the guide's 500 KB; newer engines take configs of
1000 KiB): each is copied into the log, into every snapshot, and to each node that runs a task
which refers to it."""
NAME_CHARACTERS_MAX = 64
_NAME = re.compile(r"[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?\Z")


def check_name(name: str) -> None:
    """Raises ``InvalidArgument`` for a name that no secret or config may have."""
    if not name:
        raise InvalidArgument("name must be provided")
    if len(name) > NAME_CHARACTERS_MAX or not _NAME.match(name):
        raise InvalidArgument(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, "
            "and the start and end character must be [a-zA-Z0-9]",
            details={"name": name[:NAME_CHARACTERS_MAX]},
        )


def check_payload_size(kind: Kind, length: int) -> None:
    """Raises ``InvalidArgument`` unless ``1 <= length < DATA_BYTES_LIMIT``."""
    if not 1 <= length < DATA_BYTES_LIMIT:
        raise InvalidArgument(
            f"{kind} data must be larger than 0 and less than {DATA_BYTES_LIMIT} bytes",
            details={"length": length, "limit": DATA_BYTES_LIMIT},
        )


def check_only_labels_changed(
    before: SecretSpec | ConfigSpec, after: SecretSpec | ConfigSpec, same_data: bool
) -> None:
    """Raises ``InvalidArgument`` unless an update changes labels alone.

    ``same_data`` is True if the update brings no payload, or an equal one.
    """
    same = before.name == after.name and before.templating == after.templating
    same = same and before.templating_options == after.templating_options
    same = same and before.driver == after.driver
    if not (same and same_data):
        raise InvalidArgument(
            "only updates to Labels are allowed",
            hint="create another one under a new name and move its services over",
        )


def already_exists_error(kind: Kind, name: str) -> AlreadyExists:
    """The refusal of a second one of the same name (names are equal without regard to case)."""
    return AlreadyExists(f"{kind} {name} already exists", details={"name": name})


def not_found_error(kind: Kind, id: str) -> NotFound:
    """The refusal of a get or update of something that is not there."""
    return NotFound(f"{kind} {id} not found", details={"id": id})


def in_use_error(kind: Kind, name: str, service_names: Sequence[str]) -> InvalidArgument:
    """The refusal to remove what the current spec of some service refers to."""
    assert service_names
    services = "service" if len(service_names) == 1 else "services"
    return InvalidArgument(
        f"{kind} '{name}' is in use by the following {services}: {', '.join(service_names)}",
        hint=f"remove the {kind} from the services first",
        details={"name": name, "services": list(service_names)},
    )
