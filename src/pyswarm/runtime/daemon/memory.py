"""What a host remembers beside its node: where the node listens, in clear.

The node's own state may be locked; where it was to be found is said all the same. The file is
written when a swarm is entered and removed when it is left.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from pyswarm.errors import InvalidArgument
from pyswarm.runtime.storage.errors import disk_errors
from pyswarm.runtime.storage.files import SystemFiles, remove_file, replace_file

FILE = "host.json"
FORMAT = 1


@attrs.frozen(kw_only=True)
class Addresses:
    """Where a host's node listens and is found, as somebody asked for it; "" for the default."""

    listen: str = ""
    advertise: str = ""
    data_path: str = ""
    node: str = ""
    """What the node advertised in the end, with its port."""


class Memory:
    """The file in the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE
        self._files = SystemFiles()

    def load(self) -> Addresses:
        """What was saved; all defaults where nothing was. Raises ``InvalidArgument``."""
        try:
            raw: Any = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return Addresses()
        except ValueError as problem:
            raise InvalidArgument(f"{self._path} cannot be read: {problem}") from None
        if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
            raise InvalidArgument(f"{self._path} has another format than {FORMAT}")
        known = {field.name for field in attrs.fields(Addresses)}
        if not raw.keys() <= known or not all(isinstance(one, str) for one in raw.values()):
            raise InvalidArgument(f"{self._path} says more than this version understands")
        return Addresses(**raw)

    def save(self, addresses: Addresses) -> None:
        """Write it; on disk when this returns."""
        data = json.dumps({"format": FORMAT, **attrs.asdict(addresses)}).encode()
        with disk_errors(FILE):
            replace_file(self._files, self._path, data)

    def forget(self) -> None:
        """Remove it."""
        with disk_errors(FILE):
            remove_file(self._files, self._path)
