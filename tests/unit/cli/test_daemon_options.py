"""``pyswarm daemon``: what its options mean, and which are refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pyswarm.cli.commands import pyswarm
from pyswarm.cli.daemon import executor_maker, images, pairs, resources
from pyswarm.model import GenericResource


def test_labels() -> None:
    assert pairs(("a=b", "c", "d=e=f"), "--label") == {"a": "b", "c": "", "d": "e=f"}
    with pytest.raises(click.BadParameter):
        pairs(("=x",), "--label")


def test_generic_resources() -> None:
    assert resources(("gpu=2", "disk=A", "disk=B")) == (
        GenericResource("gpu", count=2),
        GenericResource("disk", names=("A", "B")),
    )


@pytest.mark.parametrize(
    "given", [("gpu",), ("=2",), ("gpu=",), ("gpu=1", "gpu=2"), ("g=1", "g=A")]
)
def test_generic_resources_that_are_none(given: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        resources(given)


def test_the_executor_says_what_the_node_has(tmp_path: Path) -> None:
    executor = executor_maker("process", tmp_path, resources(("gpu=2",)), {})()
    assert executor.describe().resources.generic == (GenericResource("gpu", count=2),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "tcp://192.0.2.1:2375"], "TCP is for loopback addresses only"),
        (["--host", "nothing"], "cannot listen at 'nothing'"),
        (["--label", "=x"], "has no key"),
        (["--executor", "nothing"], "'nothing' is not"),
        (["--hostname", ""], "must not be empty"),
        (["--control", "x" * 200], "AF_UNIX path too long"),
        (["--state-dir", f"{__file__}/a"], f"cannot write the state directory {__file__}/a: Not"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: list[str], words: str) -> None:
    state_dir = str(tmp_path / "a")
    result = CliRunner().invoke(pyswarm, ["daemon", "--state-dir", state_dir, *options])
    assert result.exit_code in (1, 2)
    assert words in result.output
    assert not (tmp_path / "a" / "control.sock").exists()


def test_images_are_names_and_what_they_run() -> None:
    found = images(("nginx=sleep 'a b'", "busybox="))
    assert found["nginx"].command == ("sleep", "a b")
    assert found["busybox"].command == ()
    for wrong in ("nginx", "=sleep", "nginx=sleep 'a"):
        with pytest.raises(click.BadParameter):
            images((wrong,))
