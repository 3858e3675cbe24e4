"""Log files on disk: what is torn, half written or of another version."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyswarm.agent import LogLine
from pyswarm.errors import Internal
from pyswarm.runtime.executors.logfiles import LogReader, generations, last_lines
from pyswarm.runtime.executors.supervisor import LINE_BYTES_MAX, MAGIC, RECORD, Log


def record(time: float, data: bytes) -> bytes:
    return RECORD.pack(time, 1, len(data)) + data


def line(time: float, data: bytes) -> LogLine:
    return LogLine("stdout", time, data)


def test_a_record_that_is_not_whole_yet_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "log.000001"
    reader = LogReader(tmp_path)
    assert reader.read() == []
    path.write_bytes(MAGIC[:3])
    assert reader.read() == []
    whole, torn = record(1.0, b"one"), record(2.0, b"two")
    path.write_bytes(MAGIC + whole + torn[:-1])
    assert reader.read() == [line(1.0, b"one")]
    assert reader.read() == []
    assert reader.position == (1, len(MAGIC + whole))
    path.write_bytes(MAGIC + whole + torn)
    assert reader.read() == [line(2.0, b"two")]
    reader.close()


def test_what_is_torn_before_the_next_file_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "log.000001").write_bytes(MAGIC + record(1.0, b"one") + record(2.0, b"two")[:-1])
    (tmp_path / "log.000002").write_bytes(MAGIC + record(3.0, b"three"))
    reader = LogReader(tmp_path)
    assert list(last_lines(reader, 0.0, None)) == [line(1.0, b"one"), line(3.0, b"three")]
    reader.close()


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "log.000001").write_bytes(b"pyswarm log 9\n")
    with pytest.raises(Internal, match="pyswarm log 9"):
        LogReader(tmp_path).read()


def test_a_reader_that_was_overtaken_goes_on_with_the_oldest(tmp_path: Path) -> None:
    log = Log(str(tmp_path), size_max=100, files_max=2)
    log.write(1, b"first\n")
    reader = LogReader(tmp_path)
    assert [x.data for x in reader.read()] == [b"first"]
    log.write(1, b"".join(b"line %d\n" % i for i in range(30)))
    kept = generations(tmp_path)
    assert len(kept) == 2
    lines: list[bytes] = []
    while more := reader.read():
        lines += [x.data for x in more]
    assert lines[-1] == b"line 29"
    numbers = [int(x.split()[1]) for x in lines]
    assert numbers == sorted(numbers)
    reader.close()


def test_lines_are_cut_and_rests_kept(tmp_path: Path) -> None:
    log = Log(str(tmp_path), size_max=10**6, files_max=1)
    assert not log.write(1, b"unfin")
    assert not log.write(2, b"other")
    assert log.write(1, b"ished\n")
    assert log.write(1, b"x" * (LINE_BYTES_MAX + 1))
    log.finish()
    reader = LogReader(tmp_path)
    found = [(x.stream, len(x.data)) for x in last_lines(reader, 0.0, None)]
    reader.close()
    assert found == [
        ("stdout", len("unfinished")),
        ("stdout", LINE_BYTES_MAX),
        ("stdout", 1),
        ("stderr", len("other")),
    ]


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    log = Log("/dev/full/nowhere", size_max=100, files_max=2)
    assert log.write(1, b"lost\n")
    log.directory = str(tmp_path)
    assert log.write(1, b"kept\n")
    reader = LogReader(tmp_path)
    assert [x.data for x in reader.read()] == [b"kept"]
    reader.close()
