"""Who has company, and who is alone."""

from __future__ import annotations

from pyswarm.runtime.company import LATELY_S, Company

SOON = LATELY_S / 4
LATER = LATELY_S * 2


def told(*visits: tuple[str, float]) -> list[bool]:
    """What each of the visits (who, and how long after the last one) was told."""
    company, now, found = Company(), 100.0, []
    for who, after in visits:
        now += after
        found.append(company.has(who, now))
    return found


def test_who_comes_again_and_again_is_alone() -> None:
    assert told(("a", 0), ("a", 0), ("a", SOON), ("a", LATER)) == [False] * 4


def test_who_comes_soon_after_another_has_company() -> None:
    assert told(("a", 0), ("b", SOON)) == [False, True]
    assert told(("a", 0), ("b", LATER)) == [False, False]


def test_company_lasts_a_moment_whoever_comes() -> None:
    visits = ("a", 0.0), ("b", SOON), ("b", SOON), ("b", SOON), ("b", LATER), ("b", SOON)
    assert told(*visits) == [False, True, True, True, False, False]
