"""Small state: in memory at once, on disk soon, a journal that does not grow for ever."""

from __future__ import annotations

from storage_helpers import Answers

from pyswarm.env import Rng
from pyswarm.runtime.storage import DiskThread, KeyRing, StateFile
from pyswarm.runtime.storage import statefile as module
from pyswarm.runtime.storage.files import SystemFiles
from pyswarm.runtime.storage.memory import MemoryState
from pyswarm.secretstore import UnlockKey


def opened(tmp_path, sealed=True) -> StateFile:
    files = SystemFiles()
    ring = None
    if sealed:
        path = tmp_path / "keys"
        ring = KeyRing.load(path, files) if path.exists() else KeyRing.create(path, files)
    return StateFile(tmp_path / "state", ring, DiskThread(lambda job: job()), files=files)


def test_saved_names_come_back(tmp_path) -> None:
    state = opened(tmp_path)
    assert state.names() == [] and state.load("a") is None
    answers = Answers()
    state.save("a", b"1")
    state.save("tasks/2", b"two")
    state.save("tasks/1", b"one")
    state.save("a", b"3")
    state.delete("tasks/2")
    state.delete("nothing", answers)
    assert state.load("a") == b"3", "at once"
    assert state.names() == ["a", "tasks/1"] and state.names("tasks/") == ["tasks/1"]
    assert answers.wait(1) == [None]
    state.disk.close()
    state.close_blocking()
    assert b"one" not in (tmp_path / "state").read_bytes()
    found = opened(tmp_path)
    assert [(name, found.load(name)) for name in found.names()] == [
        ("a", b"3"),
        ("tasks/1", b"one"),
    ]


def test_nothing_is_written_by_opening(tmp_path) -> None:
    opened(tmp_path, sealed=False)
    assert list(tmp_path.iterdir()) == []


def test_the_journal_is_written_anew_when_it_grows(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "COMPACT_SLACK_BYTES", 1024)
    state = opened(tmp_path)
    for number in range(300):
        assert state.write([{f"tasks/{number % 10}": b"x" * 100}]) is None
    assert (tmp_path / "state").stat().st_size < 1024 + 4 * 1000 + 1000
    state.close_blocking()
    assert len(opened(tmp_path).names()) == 10


def test_thousands_in_one_group(tmp_path) -> None:
    state = opened(tmp_path)
    assert state.write([{f"tasks/{number:05}": bytes(1000)} for number in range(5000)]) is None
    state.close_blocking()
    assert len(opened(tmp_path).names("tasks/")) == 5000


def test_in_order_comes_before_what_others_submit_afterwards(tmp_path) -> None:
    """A busy disk, a log's batch, a record, another batch: nobody overtakes the record."""

    class Other:
        def write(self, items):
            order.extend(items)

    order: list = []
    state = opened(tmp_path)
    other, answers = Other(), Answers()
    for number in range(50):
        state.disk.submit(other, number)
    state.update({"node": b"seat"}, lambda error: order.append("record"), in_order=True)
    state.disk.submit(other, 50, answers)
    answers.wait(1)
    state.disk.close()
    state.close_blocking()
    assert order == [*range(50), "record", 50]


def test_a_new_data_key(tmp_path) -> None:
    state = opened(tmp_path)
    assert state.write([{"a": b"1"}]) is None
    assert state.ring is not None
    assert state.ring.rewrap(UnlockKey(b"k" * 32), 1)
    state.rewrite()
    assert state.key_id == 2
    state.ring.forget({state.key_id})
    state.ring.rewrap(None, 2)
    state.close_blocking()
    assert opened(tmp_path).load("a") == b"1"


async def test_memory_has_the_same_manners() -> None:
    state = MemoryState()
    state.save("tasks/1", b"1")
    assert state.load("tasks/1") == b"1"
    await state.flush()
    state.save("tasks/2", b"2")
    state.delete("tasks/1")
    assert state.names("tasks/") == ["tasks/2"]
    state.crash()
    assert state.names() == ["tasks/1"]


def test_entropy_is_asked_for_each_file(tmp_path) -> None:
    """Two rewrites of the same content share no byte of ciphertext: a salt each."""
    ring = KeyRing.create(tmp_path / "keys", SystemFiles(), entropy=Rng(1).bytes)
    state = StateFile(tmp_path / "state", ring, DiskThread())
    assert state.write([{"a": b"same" * 50}]) is None
    first = (tmp_path / "state").read_bytes()
    state.rewrite()
    second = (tmp_path / "state").read_bytes()
    state.close_blocking()
    assert len(first) == len(second)
    same = sum(a == b for a, b in zip(first[280:], second[280:], strict=True))
    assert same < len(first[280:]) // 8
