"""Text to plain data: JSON, or YAML as its version 1.2 reads it.

PyYAML follows version 1.1, in which ``22:22`` is the number 1342 and ``on`` is true: both stand in
files that speak of ports and states. So the loader here knows the scalars of 1.2's core schema only
(null, true and false, integers, floats); everything else is text.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from pyswarm.errors import InvalidArgument

CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
)


def load_document(text: str | bytes, where: str) -> Any:
    """The data that ``text`` says; ``where`` names it in the error, an :class:`InvalidArgument`."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{where}: not text in UTF-8: {error}") from None
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise InvalidArgument(f"{where}: nested too deeply") from None
    except ValueError as error:
        if where.endswith(".json") or not isinstance(error, json.JSONDecodeError):
            raise InvalidArgument(f"{where}: not JSON: {error}") from None
    import yaml

    try:
        return yaml.load(text, Loader=core_loader())
    except RecursionError:
        raise InvalidArgument(f"{where}: nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidArgument(f"{where}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidArgument(f"{where}: neither JSON nor YAML: {at}{problem}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; with a key twice it says two things, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} is there twice in one object")
    return found


@cache
def core_loader() -> Any:
    """A safe loader with the core schema's scalars; built once, when YAML is first read."""
    import yaml

    class CoreLoader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and form
            first: [pair for pair in pairs if pair[0] == "tag:yaml.org,2002:merge"]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    for name, pattern, first in CORE_SCHEMA:
        starts = [*first, ""] if name == "null" else list(first)
        expression = re.compile(f"^(?:{pattern})$")
        CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", expression, starts)

    # 1.1 reads a leading zero as octal; 1.2 as a plain decimal.
    def plain_integer(loader: Any, node: Any) -> int:
        return int(loader.construct_scalar(node))

    CoreLoader.add_constructor("tag:yaml.org,2002:int", plain_integer)
    return CoreLoader
