"""The table of differences: it is shown as it is, and names no call twice."""

from __future__ import annotations

import re
from pathlib import Path

from recorded.differences import DIFFERENCES, KNOWN, table

PAGE = Path(__file__).parents[2] / "docs" / "docker-cli.md"
PLACE = re.compile(r"(?<=<!-- differences -->\n).*(?=\n<!-- end -->)", re.S)


def test_the_page_shows_the_table(rewrite: bool) -> None:
    text = PAGE.read_text()
    if rewrite:
        PAGE.write_text(PLACE.sub(lambda _: table(), text))
        return
    (shown,) = PLACE.findall(text)
    assert shown == table()


def test_each_call_has_one_reason() -> None:
    assert len(KNOWN) == sum(len(list(one.all())) for one in DIFFERENCES)
