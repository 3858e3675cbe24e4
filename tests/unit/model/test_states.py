"""State tables cover every state, and words are Docker's."""

from __future__ import annotations

from pyswarm.model import DESIRED_STATES, UPDATE_TRANSITIONS, TaskState, UpdateState


def test_task_states_only_grow() -> None:
    names = [str(state) for state in sorted(TaskState)]
    assert " ".join(names) == (
        "new pending assigned accepted preparing ready starting running complete shutdown failed "
        "rejected remove orphaned"
    )
    assert list(DESIRED_STATES) == sorted(DESIRED_STATES)


def test_every_update_state_has_its_row() -> None:
    assert set(UPDATE_TRANSITIONS) == {None, *UpdateState}
    for state, following in UPDATE_TRANSITIONS.items():
        assert state not in following
    ended = [state for state, following in UPDATE_TRANSITIONS.items() if not following]
    assert ended == [
        UpdateState.PAUSED,
        UpdateState.COMPLETED,
        UpdateState.ROLLBACK_PAUSED,
        UpdateState.ROLLBACK_COMPLETED,
    ]
    assert UpdateState.ROLLBACK_STARTED in UPDATE_TRANSITIONS[UpdateState.UPDATING]
