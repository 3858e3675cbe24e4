"""The second half of a decision: which reconcilers are asked, and until when."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyswarm.env import Rng
from pyswarm.machine import Because
from pyswarm.model import Network, NetworkSpec, RequestRecord, Secret, SecretSpec
from pyswarm.node.turn import Work, decide, reconcile
from pyswarm.store import Change, Store, Transaction

WHY = Because("test")
SECRET = Secret(id="s", spec=SecretSpec(name="s"))
NETWORK = Network(id="n", spec=NetworkSpec(name="n"))


class Asked:
    """Notes the kinds it is shown."""

    def __init__(self, due_at: float | None = None) -> None:
        self.due_at = due_at
        self.shown: list[list[str]] = []

    def reconcile(
        self, tx: Transaction, changed: Sequence[Change], now: float, rng: Rng, /
    ) -> None:
        self.due_at = None
        self.shown.append([change.kind for change in changed])

    def wake_at(self) -> float | None:
        return self.due_at


@pytest.mark.parametrize(
    ("due_at", "objects", "shown"),
    [
        (None, (), []),
        (None, (SECRET, RequestRecord("r")), []),
        (None, (SECRET, NETWORK), [["secret", "network"]]),
        (5.0, (SECRET,), [["secret"]]),
        (15.0, (SECRET,), []),
    ],
)
def test_a_reconciler_is_asked_when_it_may_care_or_is_due(
    due_at: float | None, objects: tuple[object, ...], shown: list[list[str]]
) -> None:
    tx = Store().begin(1, 10.0)
    for one in objects:
        tx.create(one, WHY)
    asked = Asked(due_at)
    reconcile(tx, 10.0, [(asked, Rng(1))])
    assert asked.shown == shown


@pytest.mark.parametrize(
    ("made", "due", "asked"), [(SECRET, False, False), (NETWORK, False, True), (SECRET, True, True)]
)
def test_a_turn_says_whether_it_asked(made: object, due: bool, asked: bool) -> None:
    one = Asked()
    work = Work(lambda tx: tx.create(made, WHY), lambda value, error: None)
    turn = decide(Store(), 1, 10.0, [work], [(one, Rng(1))], due=due)
    assert turn.asked is asked
    assert bool(one.shown) is (made is NETWORK)
