"""What an image is called: ``[domain/]path[:tag][@digest]``, as registries have it.

The first part is a domain if it has a dot or a port, is ``localhost``, or has a capital letter;
otherwise the image is Docker Hub's, under ``library/`` if the path has one part. Docker prints the
short form: ``docker.io/library/busybox`` is ``busybox``. Where no tag and no digest is said, the
tag ``latest`` is meant.
"""

from __future__ import annotations

import re

import attrs

from pyswarm.errors import InvalidArgument

HUB = "docker.io"
OFFICIAL = "library/"
LATEST = "latest"
NAME_MAX = 255
"""Characters of domain and path together: what registries take."""

_path = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
_label = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_domain = re.compile(rf"(?:{_label}(?:\.{_label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_tag = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_digest = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_id = re.compile(r"[a-f0-9]{64}")
_sizes = {"sha256": 64, "sha384": 96, "sha512": 128}


@attrs.frozen
class ImageReference:
    """One image. ``tag`` and ``digest`` are empty where they were not said."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Raises ``InvalidArgument`` in Docker's words for what is no reference."""
        name, at, digest = text.partition("@")
        if _id.fullmatch(name):
            raise InvalidArgument(
                f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
            )
        head, slash, rest = name.partition("/")
        if not slash or not _is_domain(head):
            head, rest = HUB, name
        path, colon, tag = rest.partition(":")
        if path != path.lower():
            raise InvalidArgument("invalid reference format: repository name must be lowercase")
        well_formed = (
            _domain.fullmatch(head)
            and _path.fullmatch(path)
            and (not colon or _tag.fullmatch(tag))
            and (not at or _is_digest(digest))
        )
        if not well_formed:
            raise InvalidArgument("invalid reference format")
        head = HUB if head == f"index.{HUB}" else head
        if head == HUB and "/" not in path:
            path = OFFICIAL + path
        if len(head) + 1 + len(path) > NAME_MAX:
            raise InvalidArgument(f"repository name must not be more than {NAME_MAX} characters")
        return cls(head, path, tag, digest)

    @property
    def name(self) -> str:
        """Domain and path, in full: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Domain and path as Docker prints them: ``busybox``, ``acme/app``, ``host:5000/x``."""
        first, slash, _ = self.path.partition("/")
        if self.domain != HUB or (slash and _is_domain(first)):  # short, it would mean another one
            return self.name
        short = self.path.removeprefix(OFFICIAL)
        return self.path if "/" in short else short

    def __str__(self) -> str:
        """As Docker prints it."""
        return self.familiar_name + self._suffix

    @property
    def full(self) -> str:
        """With the domain, whatever it is."""
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def tagged(self) -> ImageReference:
        """The same, with the tag ``latest`` where neither tag nor digest is said."""
        return self if self.tag or self.digest else attrs.evolve(self, tag=LATEST)

    def pinned(self, digest: str) -> ImageReference:
        """The same, at this digest. Raises ``InvalidArgument`` for what is no digest."""
        if not _is_digest(digest):
            raise InvalidArgument("invalid checksum digest format")
        return attrs.evolve(self.tagged, digest=digest)

    def names_same_as(self, other: ImageReference) -> bool:
        """Whether both name the same tag of the same repository, whatever their digests."""
        return attrs.evolve(self.tagged, digest="") == attrs.evolve(other.tagged, digest="")


def is_image_reference(text: str) -> bool:
    """Whether a text names an image."""
    try:
        ImageReference.parse(text)
    except InvalidArgument:
        return False
    return True


def _is_domain(head: str) -> bool:
    return ":" in head or "." in head or head == "localhost" or head != head.lower()


def _is_digest(text: str) -> bool:
    if not _digest.fullmatch(text):
        return False
    algorithm, _, value = text.partition(":")
    size = _sizes.get(algorithm)
    return size is None or (len(value) == size and value == value.lower())
