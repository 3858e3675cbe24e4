"""What a task finds around it, made in namespaces of its own: mounts, files, names, sysctls.

This file is given as text to the process that supervisors are forked from, and what it defines is
called in the task's own process, before its program: so it uses the standard library alone.
Everything it makes hangs on namespaces that end with the last process in them, so nothing of it can
be left on the host, however the task or its node ends.

A target that does not exist on the host is not made there. The directory it belongs to is covered
by a small one in memory, in which every entry of the covered one is bound to its place
(:meth:`_Tree. cover`); what a task creates in such a directory itself goes with the task. Inside a
volume or a bound directory, where a container engine would make the missing target too, it is
really made.

The plan is JSON: ``hostname``, ``ipc`` (whether System V and POSIX queues are its own),
``sysctls``, ``read_only``, ``writable`` (directories that stay so), ``staging`` (an empty
directory), ``mounts`` (``kind`` bind, file or tmpfs, ``source``, ``subpath`` (what of it, where
nothing can lead out of it) or ``given`` (the number of a descriptor), ``target``, ``read_only``,
``recursive``: read-only also what is mounted below: "", "try" or "must"; ``flat``: without what is
mounted below; ``follows``: what the host mounts there later comes too: "", "slave", or "rslave":
also further below; ``options``), ``drop`` (capabilities by number).
"""

import ctypes
import json
import os
import stat
import struct

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE, MS_SLAVE = 4096, 8192, 16384, 1 << 18, 1 << 19
MNT_DETACH = 2
# The same numbers on all machines.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_OPENAT2, SYS_MOUNT_SETATTR = 428, 429, 437, 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
OPEN_TREE_CLONE, MOVE_FROM_DESCRIPTOR = 1, 4
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, ATTR_RDONLY = -100, 0x1000, 0x8000, 1
RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 2, 8
PR_CAPBSET_DROP = 24
ENTRIES_MAX = 4096  # of a directory that is covered: a mount each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

libc = ctypes.CDLL(None, use_errno=True)


class Problem(Exception):
    """Why the task cannot be given what it was promised."""


def call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number).lower()}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    texts = [os.fsencode(text) or None for text in (source, target, kind, data)]
    done = libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    call(f"mount {target}", done)


def set_read_only(target: str, *, recursive: bool, on: bool = True) -> None:
    """Make a mount read-only (or not), by the call that can do so for all below it."""
    attributes = struct.pack("QQQQ", ATTR_RDONLY if on else 0, 0 if on else ATTR_RDONLY, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    done = libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, attributes, len(attributes)
    )
    call(f"mount {target}", done)


def inside(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


class _Tree:
    """The file tree of the task, while it is made."""

    def __init__(self, staging: str) -> None:
        self.staging = staging
        self.own: list[str] = []  # where a missing target is simply made: newest last
        self.covers: list[str] = []
        self.count = 0

    def stage(self, options: str) -> str:
        """A new directory in memory, somewhere out of the way."""
        if not self.count:
            mount("tmpfs", self.staging, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700,size=64k")
        self.count += 1
        path = f"{self.staging}/{self.count}"
        os.mkdir(path)
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)
        return path

    def cover(self, directory: str) -> None:
        """Put a directory in memory over one of the host's, with the same entries."""
        entries = os.listdir(directory)
        if len(entries) > ENTRIES_MAX:
            raise Problem(f"{directory} has too many entries to make a place for a mount in it")
        info = os.stat(directory)
        mode = stat.S_IMODE(info.st_mode)
        new = self.stage(f"mode={mode:o},uid={info.st_uid},gid={info.st_gid},size=64m")
        # First what the new directory is in: it is bound while that is still empty.
        for name in sorted(entries, key=lambda name: not inside(new, f"{directory}/{name}")):
            source, target = os.path.join(directory, name), f"{new}/{name}"
            try:
                mode = os.lstat(source).st_mode
                if stat.S_ISLNK(mode):
                    os.symlink(os.readlink(source), target)
                    continue
                if stat.S_ISDIR(mode):
                    os.mkdir(target)
                else:
                    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
                mount(source, target, "", MS_BIND | MS_REC)
            except FileNotFoundError:
                pass  # it went meanwhile
        if directory == "/":
            self.enter(new)
        else:
            mount(new, directory, "", MS_MOVE)
        self.own.append(directory)
        self.covers.append(directory)

    def enter(self, new: str) -> None:
        """Make ``new`` the root, and let the old one go."""
        os.chdir(new)
        number = SYS_PIVOT_ROOT.get(os.uname().machine)
        if number is None:
            raise Problem("a mount right below / is not possible on this machine")
        call("pivot_root", libc.syscall(number, b".", b"."))
        call("umount", libc.umount2(b".", MNT_DETACH))
        os.chdir("/")
        self.count = 0  # the staging place is another mount now

    def place(self, target: str, is_directory: bool) -> str:
        """Where to mount: ``target`` without symbolic links, made if it is missing."""
        path = os.path.realpath(target)
        if os.path.exists(path):
            if os.path.isdir(path) != is_directory:
                raise Problem(f"{target}: not a {'directory' if is_directory else 'file'}")
            return path
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            if os.path.lexists(parent):
                raise Problem(f"{target}: {parent} is not a directory")
            parent = os.path.dirname(parent)
        if not self.is_own(parent):
            self.cover(parent)
        os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
        if not is_directory:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        return path

    def is_own(self, directory: str) -> bool:
        """Whether new things may be made there: it is in memory, or in a volume of the task.

        Of a directory in memory only it itself and what was made in it, not what is bound there.
        """
        device = os.stat(directory).st_dev
        return any(
            inside(directory, top) and os.stat(top).st_dev == device for top in reversed(self.own)
        )


def enter(text: str, given: "list[int]") -> None:
    """Do what the plan says; afterwards this process lives in it."""
    plan = json.loads(text)
    flags = CLONE_NEWNS
    flags |= CLONE_NEWUTS if plan["hostname"] else 0
    flags |= CLONE_NEWIPC if plan["ipc"] else 0
    call("unshare", libc.unshare(flags))
    mount("", "/", "", MS_REC | MS_SLAVE)
    following = {
        number: followed(str(one["source"]), flat=one["flat"])
        for number, one in enumerate(plan["mounts"])
        if one["follows"]
    }
    mount("", "/", "", MS_REC | MS_PRIVATE)
    if plan["hostname"]:
        name = os.fsencode(plan["hostname"])
        call("sethostname", libc.sethostname(name, len(name)))
    for name, value in plan["sysctls"].items():
        set_sysctl("/proc/sys/" + name.replace(".", "/"), value)
    tree = _Tree(plan["staging"])
    sources = [
        following[number] if number in following else opened(one, given)
        for number, one in enumerate(plan["mounts"])
    ]
    if plan["read_only"]:
        for path in plan["writable"]:
            mount(path, path, "", MS_BIND | MS_REC)
        set_read_only("/", recursive=True)
        for path in plan["writable"]:
            set_read_only(path, recursive=True, on=False)
        tree.own += plan["writable"]
    for one, source in zip(plan["mounts"], sources, strict=True):
        put(tree, one, source)
    if plan["read_only"]:
        for path in tree.covers:
            set_read_only(path, recursive=False)
    for source in sources:
        if source >= 0:
            os.close(source)
    drop(plan)


def drop(plan: "dict[str, Any]") -> None:
    """Give up what the task is to do without."""
    for number in plan["drop"]:
        call("capabilities", libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0))


def set_sysctl(path: str, value: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(value)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise OSError(error.errno, f"write {path}: {why}") from None


def opened(one: "dict[str, object]", given: "list[int]") -> int:
    """What is mounted, as it is before anything is put over it or made read-only."""
    if one["kind"] == "tmpfs":
        return -1
    number = one["given"]
    if isinstance(number, int) and number >= 0:
        return given[number]
    return clone(str(one["source"]), str(one["subpath"]), flat=bool(one["flat"]))


def followed(source: str, *, flat: bool) -> int:
    """A copy of what is mounted at a path, to which comes what is mounted there later."""
    path, point, hears = os.path.realpath(source), "", False
    for place, tags in mounted():
        if inside(path, place) and len(place) >= len(point):
            point, hears = place, any(tag.startswith("master:") for tag in tags)
    if not hears:
        what = "it is not a shared or slave mount"
        raise Problem(f"path {source} is mounted on {point} but {what}")
    return clone(source, flat=flat)


def mounted() -> "list[tuple[str, list[str]]]":
    """What is mounted where, oldest first, and how it propagates."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = [os.fsdecode(field) for field in line.split()]
            point = fields[4]
            for code, character in (
                ("\\040", " "),
                ("\\011", "\t"),
                ("\\012", "\n"),
                ("\\134", "\\"),
            ):
                point = point.replace(code, character)
            found.append((point, fields[6 : fields.index("-")]))
    return found


def clone(source: str, subpath: str = "", *, flat: bool = False) -> int:
    """A copy of what is mounted at a path, as a descriptor."""
    try:
        places = [os.open(source, os.O_PATH | os.O_CLOEXEC)]
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise OSError(error.errno, f"mount {source}: {why}") from None
    try:
        if subpath:
            places.append(beneath(places[0], subpath))
        flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | os.O_CLOEXEC | (0 if flat else AT_RECURSIVE)
        found: int = libc.syscall(SYS_OPEN_TREE, places[-1], b"", flags)
    finally:
        for place in places:
            os.close(place)
    call(f"mount {source}", min(found, 0))
    return found


def beneath(top: int, path: str) -> int:
    """What is at a path below a directory; links that lead out of it lead nowhere."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path.lstrip("/") or ".")
    found: int = libc.syscall(SYS_OPENAT2, top, name, how, len(how))
    call(f"mount {path}", min(found, 0))
    return found


def put(tree: _Tree, one: "dict[str, object]", source: int) -> None:
    """One mount of the plan."""
    target = str(one["target"])
    if one["kind"] == "tmpfs":
        path = tree.place(target, True)
        options = str(one["options"]).split(",")
        flags = MS_NOSUID | MS_NODEV | (MS_NOEXEC if "noexec" in options else 0)
        plain = [part for part in options if part not in ("exec", "noexec")]
        mount("tmpfs", path, "tmpfs", flags, ",".join(plain))
        tree.own.append(path)
    else:
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        path = tree.place(target, is_directory)
        done = libc.syscall(
            SYS_MOVE_MOUNT, source, b"", AT_FDCWD, os.fsencode(path), MOVE_FROM_DESCRIPTOR
        )
        call(f"mount {path}", done)
        if one["follows"] == "slave":
            for point in {place for place, _ in mounted() if inside(place, path)} - {path}:
                mount("", point, "", MS_PRIVATE)
        if is_directory and not one["read_only"]:
            tree.own.append(path)
    if one["read_only"]:
        try:
            set_read_only(path, recursive=bool(one["recursive"]))
        except OSError:
            if one["recursive"] == "must":
                raise
            set_read_only(path, recursive=False)


def join(pid: int, text: str) -> None:
    """Go where another process of the task is, for what runs beside it; with no more than that."""
    for name, kind in (("mnt", CLONE_NEWNS), ("uts", CLONE_NEWUTS), ("ipc", CLONE_NEWIPC)):
        descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        call("setns", libc.setns(descriptor, kind))
        os.close(descriptor)
    drop(json.loads(text))
