"""A task's rows of the host's table of processes."""

from __future__ import annotations

import pytest

from pyswarm.api.errors import Refused
from pyswarm.runtime.top import chosen, listed


def test_the_rows_of_others_are_left_out() -> None:
    table = "USER PID COMMAND\nroot 1 init\nme 12 sh -c x  y\nme 123 other\nshort\n"
    found = chosen(table, [12, 7])
    assert found.titles == ("USER", "PID", "COMMAND")
    assert found.rows == (("me", "12", "sh -c x  y"),)


def test_a_table_without_ids_shows_nothing() -> None:
    with pytest.raises(Refused, match="Couldn't find PID"):
        chosen("COMMAND\ninit\n", [1])
    with pytest.raises(Refused, match="Couldn't find PID"):
        chosen("", [1])


async def test_what_is_no_argument_of_a_program_is_refused() -> None:
    with pytest.raises(Refused, match="ps: invalid argument"):
        await listed([1], "-e\0f")
