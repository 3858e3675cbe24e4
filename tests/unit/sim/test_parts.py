"""The simulated network, disk and executor, and the world that moves them."""

from __future__ import annotations

import pytest

from pyswarm.agent import Exited, Operation, OperationDone, Perform, Started
from pyswarm.env import Rng
from pyswarm.model import ContainerSpec, NodeDescription, Role, Task, TaskSpec
from pyswarm.raft import Entry, EntryKind, HardState, Ready
from pyswarm.sim import Faults, World
from pyswarm.sim.disk import DiskFaults, Outcome, SimulatedDisk
from pyswarm.sim.executor import ExecutorFaults, SimulatedExecutor
from pyswarm.sim.network import NetworkFaults, SimulatedNetwork

NODE = NodeDescription()

# -- network


def test_a_link_keeps_its_order() -> None:
    network = SimulatedNetwork(NetworkFaults(), Rng(1))
    times = [now + network.arrivals("a", "b", now)[0] for now in (0.0, 0.0001, 0.0002, 0.0003)]
    assert times == sorted(times)
    assert all(0.0002 <= one <= 0.0054 for one in times)


def test_slow_messages_are_overtaken() -> None:
    network = SimulatedNetwork(NetworkFaults(slow=0.5), Rng(1))
    times = [network.arrivals("a", "b", 0.0)[0] for _ in range(50)]
    assert times != sorted(times)
    assert network.counts["slow"] > 10


def test_loss_and_duplication_have_their_chances() -> None:
    network = SimulatedNetwork(NetworkFaults(loss=0.2, duplication=0.2), Rng(1))
    copies = [len(network.arrivals("a", "b", 0.0)) for _ in range(1000)]
    assert 120 < copies.count(0) < 280
    assert 100 < copies.count(2) < 240
    assert network.counts["lost"] == copies.count(0)
    assert network.counts["duplicated"] == copies.count(2)


def test_cuts_may_be_one_way() -> None:
    network = SimulatedNetwork(NetworkFaults(), Rng(1))
    network.cut("a", "b")
    assert network.is_cut
    assert not network.arrivals("a", "b", 0.0)
    assert network.arrivals("b", "a", 0.0)
    network.heal()
    network.partition(["a"], ["b", "c"])
    assert not network.arrivals("a", "c", 0.0)
    assert not network.arrivals("c", "a", 0.0)
    assert network.arrivals("b", "c", 0.0)
    network.heal()
    assert network.arrivals("a", "b", 0.0)


# -- disk


def ready(number: int, index: int, term: int = 1) -> Ready:
    entry = Entry(index, term, EntryKind.NORMAL, b"x")
    return Ready(number=number, hard_state=HardState(term=term), entries=(entry,))


def test_writes_are_done_in_order_and_confirmed_ones_stay() -> None:
    disk = SimulatedDisk(DiskFaults(), Rng(1))
    first, second = ready(1, 1), ready(2, 2)
    assert disk.write(0.0, first) < disk.write(0.0, second)
    with pytest.raises(AssertionError, match="in order"):
        disk.done(second)
    assert disk.done(first) is Outcome.SAFE
    disk.crash()
    assert [one.index for one in disk.log(1).entries] in ([1], [1, 2])
    assert disk.log(1).hard_state.term == 1


def test_a_crash_keeps_a_prefix() -> None:
    kept = set()
    for seed in range(40):
        disk = SimulatedDisk(DiskFaults(), Rng(seed))
        for index in (1, 2, 3):
            disk.write(0.0, ready(index, index))
        disk.crash()
        indexes = [one.index for one in disk.log(1).entries]
        assert indexes == list(range(1, len(indexes) + 1))
        kept.add(len(indexes))
    assert kept == {0, 1, 2, 3}


def test_a_new_leader_overwrites_what_was_not_committed() -> None:
    disk = SimulatedDisk(DiskFaults(), Rng(1))
    for number, (index, term) in enumerate([(1, 1), (2, 1), (3, 1), (2, 2)]):
        one = ready(number, index, term)
        disk.write(0.0, one)
        disk.done(one)
    assert [(one.index, one.term) for one in disk.log(1).entries] == [(1, 1), (2, 2)]
    late = ready(9, 3, 2)
    disk.write(0.0, late)
    disk.drop_log()
    assert disk.done(late) is Outcome.DROPPED, "it was for a log that is gone"
    assert disk.log(1).entries == ()
    assert disk.log(1).hard_state == HardState()


def test_small_records() -> None:
    disk = SimulatedDisk(DiskFaults(), Rng(1))
    assert disk.record is None
    disk.save("x", b"1")
    disk.crash()
    disk.save("x", None)
    disk.save_task("t", None, None)
    assert disk.tasks == {}


# -- executor


def task(*command: str) -> Task:
    container = ContainerSpec(image="simulated", command=command)
    return Task(id="t", spec=TaskSpec(container=container), service_id="s", slot=1)


def perform(
    executor: SimulatedExecutor, operation: Operation, one: Task, now: float = 0.0
) -> OperationDone:
    number, later = executor.perform(now, Perform(one, operation, NODE))
    assert later.delay >= 0
    assert executor.is_current("t", number)
    if later.delay != float("inf"):
        executor.deliver(now + later.delay, later.event)
    return later.event


def test_a_task_runs_until_it_is_told_to_end() -> None:
    executor, one = SimulatedExecutor(ExecutorFaults(), Rng(1)), task("run")
    assert perform(executor, Operation.PREPARE, one).error is None
    started = perform(executor, Operation.START, one)
    assert isinstance(started.result, Started)
    assert executor.running == ("t",)
    number, later = executor.perform(0.0, Perform(one, Operation.WAIT, NODE))
    assert later.delay == float("inf")
    assert perform(executor, Operation.SHUTDOWN, one).result == Exited(137)
    assert not executor.is_current("t", number), "the shutdown took the place of the waiting"
    assert executor.running == ()
    assert executor.kill("t") is None


@pytest.mark.parametrize(
    ("command", "code", "delay"), [(("exit", "3"), 3, 0.001), (("sleep", "10"), 0, 10.0)]
)
def test_a_task_may_end_by_itself(command: tuple[str, ...], code: int, delay: float) -> None:
    executor, one = SimulatedExecutor(ExecutorFaults(), Rng(1)), task(*command)
    perform(executor, Operation.START, one)
    _, later = executor.perform(0.0, Perform(one, Operation.WAIT, NODE))
    assert (later.event.result, later.delay) == (Exited(code), delay)


def test_tasks_fail_as_often_as_asked() -> None:
    faults = ExecutorFaults(rejects=0.5, fails_to_start=0.5, mean_life_s=10.0)
    executor, one = SimulatedExecutor(faults, Rng(1)), task("run")
    rejected = failed = 0
    for _ in range(100):
        rejected += perform(executor, Operation.PREPARE, one).error is not None
        failed += perform(executor, Operation.START, one).error is not None
    assert 30 < rejected < 70
    assert 30 < failed < 70
    while perform(executor, Operation.START, one).error is not None:
        pass
    _, later = executor.perform(0.0, Perform(one, Operation.WAIT, NODE))
    assert later.delay <= 20.0
    killed = executor.kill("t")
    assert killed is not None
    assert killed.event.result == Exited(137)


def test_nothing_is_known_of_a_task_that_never_ran() -> None:
    executor = SimulatedExecutor(ExecutorFaults(), Rng(1))
    assert perform(executor, Operation.WAIT, task("run")).error is not None


# -- world


def test_time_moves_from_event_to_event() -> None:
    world = World(1)
    seen: list[tuple[float, str]] = []
    for delay, name in ((2.0, "b"), (1.0, "a"), (2.0, "c"), (float("inf"), "never")):
        world.at(delay, lambda name=name: seen.append((world.now, name)))
    world.run(5.0)
    assert seen == [(1.0, "a"), (2.0, "b"), (2.0, "c")]
    assert world.now == 5.0
    assert not world.run_until(lambda: False, 1.0)
    assert world.run_until(lambda: True, 1.0)
    assert world.now == 6.0


def test_a_world_forms_a_swarm_and_hosts_come_back() -> None:
    world = World(1)
    first, second = world.add_host("one"), world.add_host("two")
    world.found(first)
    assert world.run_until(lambda: world.leader() is first, 5.0)
    answers = []
    world.join(second, Role.MANAGER, first, lambda value, error: answers.append(error))
    assert world.run_until(lambda: len(list(world.managers())) == 2, 10.0)
    assert answers == [None]
    world.run(2.0)
    id = second.node_id
    world.crash(second)
    assert not second.is_up
    assert world.leader() in (first, None)
    world.run(3.0)
    world.start(second)
    assert second.node_id == id
    assert second.incarnation == 2
    assert world.run_until(lambda: world.leader() is not None, 10.0)
    world.stop(second)
    assert world.run_until(lambda: not second.is_up, 10.0)


def test_each_seed_has_its_own_mixture_of_faults() -> None:
    drawn = [Faults.drawn(Rng(seed)) for seed in range(30)]
    assert drawn[0] == Faults.drawn(Rng(0))
    assert len({repr(one) for one in drawn}) > 20
    assert any(not one.crash_every_s for one in drawn)
    assert any(one.crash_every_s for one in drawn)
    assert Faults.none().network.loss == 0.0


def test_a_dropped_log_s_writes_are_not_confirmed() -> None:
    disk = SimulatedDisk(DiskFaults(), Rng(1))
    old, new = ready(1, 1), ready(1, 1, term=2)
    disk.write(0.0, old)
    disk.drop_log()
    disk.write(0.0, new)
    assert disk.done(old) is Outcome.DROPPED
    assert disk.done(new) is Outcome.SAFE
    assert disk.log(2).hard_state.term == 2
