"""What every test directory shares: async tests, the flag that rewrites golden files, profiles.

An ``async def test_...`` runs under a trio loop of its own; one that hangs is cancelled after
:data:`ASYNC_TEST_SECONDS_MAX`, so that the summary names it instead of the run never ending.
Tests that read a golden file take the ``rewrite`` fixture: with ``pytest --rewrite`` they write
what they got in place of comparing it, and a person reads the difference before committing it.
"""

from __future__ import annotations

import inspect

import pytest
import trio
from hypothesis import HealthCheck, settings

ASYNC_TEST_SECONDS_MAX = 150  # far above any of ours on a busy machine: a guard, not a measure

# `derandomize`: the same examples in every run, so that a red run is red for everyone.
settings.register_profile(
    "normal",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# `pytest --hypothesis-profile=search` looks for new examples, many more of them.
settings.register_profile("search", parent=settings.get_profile("normal"), derandomize=False)
settings.load_profile("normal")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write golden outputs anew instead of comparing"
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test under trio."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def guarded() -> None:
        with trio.move_on_after(ASYNC_TEST_SECONDS_MAX) as scope:
            await test(**arguments)
        if scope.cancelled_caught:
            pytest.fail(f"did not end within {ASYNC_TEST_SECONDS_MAX} s")

    trio.run(guarded)
    return True
