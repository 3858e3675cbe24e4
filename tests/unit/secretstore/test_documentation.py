"""The example of docs/secretstore.md does, line by line, what stands beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyswarm.errors import InvalidArgument, PermissionDenied, SwarmError

PAGE = Path(__file__).parents[3] / "docs" / "secretstore.md"
REFUSED: dict[str, type[SwarmError]] = {
    "PermissionDenied": PermissionDenied,
    "InvalidArgument": InvalidArgument,
}


def test_the_example() -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names: dict[str, Any] = {}
    refused = 0
    for line in example.splitlines():
        code, _, comment = line.partition("  # ")
        error = REFUSED.get(comment.partition(":")[0].strip())
        if error is not None:
            refused += 1
            with pytest.raises(error):
                exec(code, names)
        elif comment.strip().startswith("b'"):
            assert repr(eval(code, names)) == comment.strip()
        else:
            exec(code, names)
    assert refused == 2
    assert b"hunter2" not in repr(names["saved"]).encode()
