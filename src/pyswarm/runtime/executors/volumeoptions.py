"""Options of a volume of the driver ``local``, in Docker's words: what is to be mounted there.

``type``, ``device`` and ``o`` are for mount(2), as mount(8) has them; a word of ``o`` that is no
flag of the kernel's is for the file system. ``size`` would be a quota, which nothing here has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_SILENT = 1, 32, 4096, 16384, 32768
PROPAGATIONS = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
"""Unbindable, private, slave, shared: flags of a call of their own."""

NEEDS = (("device", "type"), ("type", "device"), ("o", "device"), ("o", "type"))
KEYS = ("type", "o", "device", "size")

_SIZE = re.compile(r"(\d+(?:\.\d+)*) ?[kmgtp]?i?b?", re.IGNORECASE | re.ASCII)

FLAGS: Mapping[str, int] = {
    "ro": MS_RDONLY,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "remount": MS_REMOUNT,
    "mand": 64,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "unbindable": 1 << 17,
    "private": 1 << 18,
    "slave": 1 << 19,
    "shared": 1 << 20,
    "runbindable": 1 << 17 | MS_REC,
    "rprivate": 1 << 18 | MS_REC,
    "rslave": 1 << 19 | MS_REC,
    "rshared": 1 << 20 | MS_REC,
}
CLEARED: Mapping[str, str] = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "async": "sync",
    "nomand": "mand",
    "atime": "noatime",
    "diratime": "nodiratime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
}
"""Words that take back what another said."""

PASSWORDS = ("password", "pass", "password2", "pass2")
"""As CIFS has them, in ``o``."""


def problem_of(options: Mapping[str, str]) -> str:
    """What is wrong with the options of a new volume; "" if nothing is."""
    for key in options:
        if key not in KEYS:
            return f'invalid option: "{key}"'
    if "size" in options:
        found = _SIZE.fullmatch(options["size"])
        if found is None:
            return f"invalid size: '{options['size']}'"
        if found[1].strip("0."):
            return "quota size requested but no quota support"
    for key, other in NEEDS:
        if key in options and other not in options:
            return f'missing required option: "{other}"'
    return ""


def needs_mount(options: Mapping[str, str]) -> bool:
    """Whether anything is mounted at all."""
    return bool(options.get("device") or options.get("type"))


def parsed(words: str) -> tuple[int, str]:
    """The flags for the kernel, and the rest for the file system."""
    flags, data = 0, []
    for word in words.split(","):
        if word in FLAGS:
            flags |= FLAGS[word]
        elif word in CLEARED:
            flags &= ~FLAGS[CLEARED[word]]
        else:
            data.append(word)
    return flags, ",".join(data)


def value_of(words: str, key: str) -> str:
    """What ``key=…`` among the words says, or ""."""
    for word in words.split(","):
        name, _, value = word.partition("=")
        if name == key:
            return value
    return ""


def masked(text: str, words: str) -> str:
    """The text without the passwords that are among the words."""
    for word in words.split(","):
        key, _, secret = word.partition("=")
        if key in PASSWORDS and secret:
            text = text.replace(word, f"{key}=********")
    return text
