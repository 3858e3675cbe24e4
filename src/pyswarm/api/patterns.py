"""Names found by a pattern of a client's: a regular expression that cannot keep a node busy.

Docker matches some filters as Go's expressions, which take linear time. Python's do not: so only a
few repetitions are allowed, and none of a group.
"""

from __future__ import annotations

import re

from pyswarm.api.errors import Refused

LENGTH_MAX = 256
REPETITIONS_MAX = 3
"""Names are shorter than 200 characters: at most some million steps."""

_REPETITION = re.compile(r"(?<!\\)[*+?{]")


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is the text or is found in it. Raises ``Refused`` for one that is no
    pattern, or too complex."""
    if pattern in text:
        return True
    found = _compiled(pattern).search(text)
    return found is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    repetitions = len(_REPETITION.findall(pattern))
    is_complex = repetitions > REPETITIONS_MAX or (repetitions and "(" in pattern)
    if len(pattern) > LENGTH_MAX or is_complex:
        raise Refused(400, f"the pattern is too complex: {pattern[:LENGTH_MAX]}")
    try:
        return re.compile(pattern)
    except re.error as problem:
        raise Refused(400, f"error parsing regexp: {problem.msg}: `{pattern}`") from None
