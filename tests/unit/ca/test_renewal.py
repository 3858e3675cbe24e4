"""When certificates are renewed, and what the package loads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pyswarm.ca
from pyswarm.ca import check_expiry, renewal_time, retry_delay
from pyswarm.env import Rng
from pyswarm.errors import InvalidArgument

DAYS_90 = 90 * 86_400.0
PAGE = Path(__file__).parents[3] / "docs" / "ca.md"


def test_renewal_is_a_whole_minute_between_half_and_four_fifths() -> None:
    rng = Rng(1)
    begin = 1_795_370_897.0
    chosen = [renewal_time(begin, begin + DAYS_90, rng) for _ in range(2000)]
    shares = [(moment - begin) / DAYS_90 for moment in chosen]
    assert 0.5 <= min(shares) < 0.51
    assert 0.79 < max(shares) < 0.8
    assert all((moment - begin) % 60 == 0 for moment in chosen)


@pytest.mark.parametrize(("validity", "after"), [(60.0, 0.0), (120.0, 60.0), (180.0, 60.0)])
def test_renewal_of_a_short_certificate(validity: float, after: float) -> None:
    assert renewal_time(0.0, validity, Rng(1)) == after


def test_retries_wait_longer_each_time() -> None:
    rng = Rng(1)
    assert retry_delay(0, rng) == 0.0
    for failures, longest in (
        (1, 10),
        (2, 15),
        (3, 25),
        (4, 45),
        (10, 2565),
        (11, 3600),
        (99, 3600),
    ):
        drawn = [retry_delay(failures, rng) for _ in range(300)]
        assert longest * 0.9 < max(drawn) < longest
        assert 0 <= min(drawn) < longest * 0.1


def test_expiry_is_an_hour_at_least() -> None:
    check_expiry(3600.0)
    with pytest.raises(InvalidArgument, match=r"^minimum certificate expiry time is: 1h0m0s$"):
        check_expiry(3599.0)


def test_tokens_load_no_cryptography() -> None:
    code = "import sys, pyswarm.ca; pyswarm.ca.JoinToken; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(pyswarm.ca, name) is not None for name in pyswarm.ca.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        pyswarm.ca.nothing  # noqa: B018


@pytest.mark.parametrize("number", [0, -1])  # those between need a swarm
def test_the_examples_of_the_page(number: int) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    exec(compile(examples[number], str(PAGE), "exec"), {})
