"""Registry credentials in a service's spec: sealed, as text.

The field is a text in Docker's API, so a sealed one is a text too, with a mark in front. It is
sealed by the manager that takes the request and opened when it goes to the node that runs a task;
in between nobody can read it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgpack

from pyswarm.model.objects import Sealed

MARK = "sealed:1:"
"""Magic and version. Docker's own texts are base64 and have no colon."""


def auth_text(sealed: Sealed) -> str:
    """Sealed credentials as the field holds them."""
    fields = (sealed.key_id, sealed.nonce, sealed.ciphertext, sealed.length, sealed.digest)
    data: bytes = msgpack.packb(fields)
    return MARK + b64encode(data).decode()


def sealed_auth(text: str) -> Sealed | None:
    """What :func:`auth_text` made a text of; None for any other text."""
    if not text.startswith(MARK):
        return None
    try:
        fields = msgpack.unpackb(b64decode(text[len(MARK) :], validate=True))
        return Sealed(*fields)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
