"""The words of a volume's options: what stands in the place of a name, and what nobody sees."""

from __future__ import annotations

import pytest

from pyswarm.runtime.executors import volumemounts
from pyswarm.runtime.executors.volumeoptions import masked


def test_only_the_servers_own_word_gets_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumemounts, "address_of", lambda name: f"<{name}>")
    words = "mountaddr=files,addr=files,ro"
    assert volumemounts.resolved("nfs", ":/x", words) == (":/x", "mountaddr=files,addr=<files>,ro")
    assert volumemounts.resolved("cifs", "//files/x", "ro") == ("//<files>/x", "ro")
    assert volumemounts.resolved("tmpfs", "tmpfs", words) == ("tmpfs", words)


@pytest.mark.parametrize(
    "words",
    ["password=hunter2", "user=a,pass=hunter2,ro", "pass2=hunter2", "password=a,password=hunter2"],
)
def test_no_password_is_told(words: str) -> None:
    assert "hunter2" not in masked(f"mount //files/x, data: {words}: permission denied", words)
