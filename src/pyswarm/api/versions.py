"""API versions: from 1.41 (answers as Docker 20.10 gave them) to the newest the CLI here speaks."""

from __future__ import annotations

from pyswarm.api.errors import Refused
from pyswarm.api.messages import ApiVersion

MIN_VERSION: ApiVersion = (1, 41)
MAX_VERSION: ApiVersion = (1, 50)

RECORDED: ApiVersion = (1, 41)
"""Where Docker changed a text or a shape, this version and older ones get the one of 20.10."""


def version_text(version: ApiVersion) -> str:
    """``1.41``."""
    return f"{version[0]}.{version[1]}"


def supported(major: str, minor: str) -> ApiVersion:
    """The version that a path asks for; ``Refused`` where we do not speak it."""
    version = (int(major), int(minor))
    if version < MIN_VERSION:
        raise Refused(
            400,
            f"client version {version_text(version)} is too old. Minimum supported API version is "
            f"{version_text(MIN_VERSION)}, please upgrade your client to a newer version",
        )
    if version > MAX_VERSION:
        raise Refused(
            400,
            f"client version {version_text(version)} is too new. Maximum supported API version is "
            f"{version_text(MAX_VERSION)}",
        )
    return version


def as_recorded(version: ApiVersion) -> bool:
    """Whether a client of this version gets the texts and shapes of Docker 20.10."""
    return version <= RECORDED
